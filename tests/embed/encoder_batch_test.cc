// Batches, threads and cancellation.
#include <algorithm>
#include <thread>

#include "tests/embed/encoder_support.h"

namespace rag::test {
namespace {

std::vector<std::string> ManyTexts() {
  std::vector<std::string> texts;
  const std::vector<std::string> golden = GoldenTexts();
  for (size_t i = 0; i < 150; ++i) {
    texts.push_back(golden[i % golden.size()] + std::string(i % 7, 'a') + golden[i * 5 % 9]);
  }
  return texts;
}

bool SameRow(const Matrix& a, size_t i, const Matrix& b, size_t j) {
  return std::equal(a.row(i).begin(), a.row(i).end(), b.row(j).begin());
}

TEST_CASE("A text's vector does not depend on its companions or the threads, bit for bit") {
  const std::vector<std::string> texts = ManyTexts();
  const EncoderFolder folder("bert");
  const auto one = MakeRuntime("", 1);
  const auto encoder = folder.Load(*one);
  REQUIRE_OK(encoder);
  const Embeddings expected = EncodeAll(**encoder, texts);
  CHECK(expected.stats.tokens > 2000);  // several batches
  for (size_t i = 0; i < texts.size(); i += 10) {
    REQUIRE(SameRow(EncodeAll(**encoder, {texts[i]}).vectors, 0, expected.vectors, i));
  }
  for (const int threads : {2, 5}) {
    const auto runtime = MakeRuntime("", threads);
    const auto other = folder.Load(*runtime);
    REQUIRE_OK(other);
    const Embeddings embeddings = EncodeAll(**other, texts);
    for (size_t i = 0; i < texts.size(); ++i) {
      REQUIRE(SameRow(embeddings.vectors, i, expected.vectors, i));
    }
    // Fewer texts than threads: all threads on one text.
    REQUIRE(SameRow(EncodeAll(**other, {texts[6]}).vectors, 0, expected.vectors, 6));
  }
}

TEST_CASE("Encode may be called from several threads") {
  const std::vector<std::string> texts = ManyTexts();
  const auto runtime = MakeRuntime();
  const auto encoder = EncoderFolder("distilbert").Load(*runtime);
  REQUIRE_OK(encoder);
  const Embeddings expected = EncodeAll(**encoder, texts);
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  std::vector<Embeddings> results(4);
  {
    std::vector<std::jthread> callers;
    for (Embeddings& result : results) {
      callers.emplace_back([&] {
        Result<Embeddings> embeddings = (*encoder)->Encode(views, TextRole::kPlain);
        if (embeddings.ok()) result = std::move(embeddings).value();
      });
    }
  }
  for (const Embeddings& result : results) {
    REQUIRE(result.vectors.rows() == texts.size());
    for (size_t i = 0; i < texts.size(); ++i)
      REQUIRE(SameRow(result.vectors, i, expected.vectors, i));
  }
}

TEST_CASE("No text, and texts of nothing") {
  const auto runtime = MakeRuntime();
  const auto encoder = EncoderFolder("bert").Load(*runtime);
  REQUIRE_OK(encoder);
  const Embeddings none = EncodeAll(**encoder, {});
  CHECK(none.vectors.rows() == 0);
  CHECK(none.stats.texts == 0);
  const Embeddings blank = EncodeAll(**encoder, {"", " \n", ""});
  CHECK(blank.stats.tokens == 6);  // [CLS] and [SEP] of each
  CHECK(SameRow(blank.vectors, 0, blank.vectors, 1));
  CHECK(SameRow(blank.vectors, 0, blank.vectors, 2));
}

TEST_CASE("Control tokens written in a text stay ordinary characters") {
  const auto runtime = MakeRuntime();
  const auto encoder = EncoderFolder("bert").Load(*runtime);
  REQUIRE_OK(encoder);
  const Embeddings embeddings = EncodeAll(**encoder, {"[SEP]", "[CLS] a [MASK]", "a"});
  CHECK(embeddings.stats.tokens > 3 + 5 + 3);
  CHECK_FALSE(SameRow(embeddings.vectors, 0, EncodeAll(**encoder, {""}).vectors, 0));
}

TEST_CASE("A cancelled call says so") {
  const auto runtime = MakeRuntime();
  const auto encoder = EncoderFolder("bert").Load(*runtime);
  REQUIRE_OK(encoder);
  CancelToken cancel;
  cancel.Cancel();
  const std::string_view texts[] = {"one", "two"};
  const Result<Embeddings> result = (*encoder)->Encode(texts, TextRole::kPlain, &cancel);
  REQUIRE_FALSE(result.ok());
  CHECK(result.status().code() == StatusCode::kCancelled);
}

}  // namespace
}  // namespace rag::test
