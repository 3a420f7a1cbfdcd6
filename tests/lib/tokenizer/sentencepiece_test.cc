// *.model files. The ids are those of the sentencepiece Python package 0.2.1
// (make_sentencepiece.py).
#include <algorithm>
#include <catch2/catch.hpp>

#include "lib/base/value.h"
#include "lib/tokenizer/tokenizer.h"
#include "tests/lib/model/model_bytes.h"
#include "tests/support/support.h"

namespace rag {
namespace {

TEST_CASE("SentencePiece models give the library's ids and texts") {
  const auto data = test::SharedData("tok-sentencepiece");
  if (!data) RAG_SKIP("no shared data");
  auto golden = ParseJson(test::ReadAll(test::Golden("tokenizers/sentencepiece.json")));
  REQUIRE_OK(golden);
  for (const auto& [name, rows] : golden->as_object()) {
    const auto tokenizer = Tokenizer::Load((*data / name).string());
    REQUIRE_OK(tokenizer);
    for (const Value& row : rows.as_array()) {
      const std::string& text = row.Find("text")->as_string();
      INFO(name << ": " << text);
      const Encoding encoding = (*tokenizer)->Encode(text);
      std::vector<TokenId> expected;
      for (const Value& id : row.Find("ids")->as_array()) {
        expected.push_back(static_cast<TokenId>(id.as_int()));
      }
      CHECK(encoding.ids == expected);
      CHECK((*tokenizer)->Decode(encoding.ids, false) == row.Find("decoded")->as_string());
      for (const auto& range : encoding.offsets) {
        CHECK(range.begin <= range.end);
        CHECK(range.end <= text.size());
      }
    }
  }
}

TEST_CASE("SentencePiece control pieces, truncation and broken text") {
  const auto data = test::SharedData("tok-sentencepiece");
  if (!data) RAG_SKIP("no shared data");
  const auto loaded = Tokenizer::Load((*data / "test_model.model").string());
  REQUIRE_OK(loaded);
  const Tokenizer& t = **loaded;
  CHECK(t.vocab_size() == 1000);
  CHECK(t.unk_id() == 0);
  CHECK(t.bos_id() == 1);
  CHECK(t.eos_id() == 2);
  CHECK(t.IsSpecial(1));
  CHECK(t.FindPiece("<s>") == 1);
  CHECK_FALSE(t.FindPiece("no such piece"));
  for (const TokenId id : t.Encode("a </s> b").ids) CHECK(id != 2);
  const Encoding parsed = t.Encode("a</s>b", {.parse_special_tokens = true});
  CHECK(std::count(parsed.ids.begin(), parsed.ids.end(), 2) == 1);
  const Encoding cut = t.Encode("one two three four", {.max_tokens = 3});
  CHECK(cut.ids.size() == 3);
  CHECK(cut.truncated > 0);
  const Encoding broken = t.Encode("ab\xFFz");
  CHECK(broken.invalid_bytes == 1);
  CHECK(broken.offsets.back().end == 4);
  const Encoding pair = t.EncodePair("one", "two");
  CHECK(pair.type_ids.front() == 0);
  CHECK(pair.type_ids.back() == 1);
}

TEST_CASE("damaged SentencePiece models are refused") {
  const auto data = test::SharedData("tok-sentencepiece");
  if (!data) RAG_SKIP("no shared data");
  const std::string model = test::ReadAll(*data / "test_model.model");
  const test::TemporaryFolder folder;
  const auto fails = [&](std::string_view bytes) {
    test::WriteBytes(folder.file("x.model"), bytes);
    const Status status = Tokenizer::Load(folder.file("x.model")).status();
    CHECK_FALSE(status.ok());
    CHECK_THAT(status.message(), Catch::Contains("x.model"));
  };
  fails("");
  fails("not a model");
  fails(std::string_view(model).substr(0, model.size() / 2));
}

}  // namespace
}  // namespace rag
