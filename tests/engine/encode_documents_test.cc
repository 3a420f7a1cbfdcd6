// From a batch's chunks to their vectors: what a document that a model refuses does to the others.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "engine/ingest/encode.h"
#include "tests/support/support.h"

namespace rag {
namespace {

// Gives a text's length; refuses texts that hold "bad", and fails where one holds "broken".
class FussyEncoder final : public Encoder {
 public:
  Result<Embeddings> Encode(std::span<const std::string_view> texts, TextRole,
                            const CancelToken*) const override {
    Embeddings embeddings;
    embeddings.vectors = Matrix(texts.size(), 1);
    embeddings.truncated.resize(texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      if (texts[i].find("bad") != texts[i].npos) return InvalidArgumentError("text ", i, " is bad");
      if (texts[i].find("broken") != texts[i].npos) return InternalError("broken");
      embeddings.vectors.row(i)[0] = static_cast<float>(texts[i].size());
    }
    return embeddings;
  }
  Result<Embeddings> EncodeImages(std::span<const Image>, const CancelToken*) const override {
    return FailedPreconditionError("no images");
  }
  const EncoderInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { std::abort(); }

 private:
  EncoderInfo info_;
};

std::vector<UnencodedDocument> Documents(const std::vector<std::vector<std::string>>& texts) {
  std::vector<UnencodedDocument> documents;
  for (const std::vector<std::string>& chunks : texts) {
    UnencodedDocument& document = documents.emplace_back();
    for (const std::string& chunk : chunks) {
      document.input.chunks.emplace_back().lexical_text = chunk;
    }
  }
  return documents;
}

TEST_CASE("a text that the encoder refuses is its own document's error") {
  const std::unique_ptr<Runtime> runtime = test::MakeRuntime();
  const FussyEncoder encoder;
  std::vector<UnencodedDocument> documents =
      Documents({{"one", "two too"}, {"good", "a bad one"}, {"three"}, {"bad"}, {"four", "five"}});
  const Result<EncodeReport> report =
      EncodeDocuments(documents, {.encoder = &encoder}, runtime->pool(), nullptr, nullptr);
  REQUIRE_OK(report);
  REQUIRE(report->refused.size() == 2);
  CHECK(report->refused[0].first == 1);
  CHECK(report->refused[1].first == 3);
  CHECK(report->refused[0].second.message() == "text 1 is bad");
  for (const size_t i : {0, 2, 4}) {
    for (const ChunkInput& chunk : documents[i].input.chunks) {
      REQUIRE(chunk.vector.size() == 1);
      CHECK(chunk.vector[0] == static_cast<float>(chunk.lexical_text.size()));
    }
  }
}

TEST_CASE("chunks are counted once, also where a text among them is refused") {
  const std::unique_ptr<Runtime> runtime = test::MakeRuntime();
  const FussyEncoder encoder;
  // More than are encoded at once, so that the first have been counted when one is refused.
  const std::vector<std::string> many(300, "good");
  for (const char* const last : {"fine", "bad"}) {
    std::vector<UnencodedDocument> documents = Documents({many, {"one", "two"}, {last}, {"four"}});
    IngestProgress progress;
    REQUIRE_OK(
        EncodeDocuments(documents, {.encoder = &encoder}, runtime->pool(), &progress, nullptr));
    CHECK(progress.chunks_done.load() == (last == std::string("bad") ? 303u : 304u));
  }
}

TEST_CASE("an encoder that fails otherwise fails all documents") {
  const std::unique_ptr<Runtime> runtime = test::MakeRuntime();
  const FussyEncoder encoder;
  for (const char* const first : {"fine", "bad"}) {
    std::vector<UnencodedDocument> documents = Documents({{first}, {"broken"}});
    CHECK(EncodeDocuments(documents, {.encoder = &encoder}, runtime->pool(), nullptr, nullptr)
              .status()
              .code() == StatusCode::kInternal);
  }
}

}  // namespace
}  // namespace rag
