// WordPiece against published ids: SQuAD's questions and the cases of transformers.js.
#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <sstream>

#include "lib/base/value.h"
#include "lib/text/utf8.h"
#include "lib/tokenizer/tokenizer.h"
#include "tests/lib/model/model_bytes.h"
#include "tests/support/support.h"

namespace rag {
namespace {

Value Json(const std::filesystem::path& path) {
  auto json = ParseJson(test::ReadAll(path));
  REQUIRE_OK(json);
  return std::move(json).value();
}

std::vector<TokenId> Ids(const Value& json) {
  std::vector<TokenId> ids;
  for (const Value& id : json.as_array()) ids.push_back(static_cast<TokenId>(id.as_int()));
  return ids;
}

TEST_CASE("the default encoder's tokenizer") {
  const auto folder = test::DefaultEncoderFolder();
  if (!folder) RAG_SKIP("the default encoder is not set up");
  const auto tokenizer = Tokenizer::Load(folder->string());
  REQUIRE_OK(tokenizer);
  const Tokenizer& t = **tokenizer;
  const Encoding encoding = t.Encode("Hello, tokenizers!");
  CHECK(encoding.ids == std::vector<TokenId>{101, 7592, 1010, 19204, 17629, 2015, 999, 102});
  CHECK(encoding.offsets[0].end == 0);
  CHECK(encoding.offsets[4].begin == 12);
  CHECK(encoding.offsets[4].end == 16);
  CHECK(t.Decode(encoding.ids) == "hello, tokenizers!");
  CHECK(t.Decode(encoding.ids, false) == "[CLS] hello, tokenizers! [SEP]");
  CHECK(t.vocab_size() == 30522);
  CHECK(t.bos_id() == 101);
  CHECK(t.eos_id() == 102);
  CHECK(t.pad_id() == 0);
  CHECK(t.unk_id() == 100);
  CHECK(t.IsSpecial(102));
  CHECK_FALSE(t.IsSpecial(7592));
  CHECK(t.Piece(2015) == "##s");
  CHECK(t.Piece(-1).empty());
  CHECK(t.Piece(1 << 30).empty());
  CHECK(t.FindPiece("##s") == 2015);
  CHECK_FALSE(t.FindPiece("no such piece"));
  CHECK(t.TokenBytes(2015) == "s");
  CHECK(t.TokenBytes(7592) == " hello");

  // Special tokens written in a text are text unless they are asked for.
  CHECK(t.Encode("[SEP]").ids == std::vector<TokenId>{101, 1031, 19802, 1033, 102});
  EncodeOptions options;
  options.parse_special_tokens = true;
  CHECK(t.Encode("[SEP]", options).ids == std::vector<TokenId>{101, 102, 102});

  const Encoding pair = t.EncodePair("a b", "c");
  CHECK(pair.ids == std::vector<TokenId>{101, 1037, 1038, 102, 1039, 102});
  CHECK(pair.type_ids == std::vector<uint8_t>{0, 0, 0, 0, 1, 1});
  options.max_tokens = 5;
  const Encoding cut = t.EncodePair("a b", "c", options);
  CHECK(cut.ids == std::vector<TokenId>{101, 1037, 102, 1039, 102});
  CHECK(cut.truncated == 1);
  const Encoding shorter = t.Encode("one two three four five", options);
  CHECK(shorter.ids == std::vector<TokenId>{101, 2028, 2048, 2093, 102});
  CHECK(shorter.truncated == 2);
  options.max_tokens = 1;
  CHECK(t.Encode("one", options).ids.size() == 1);

  const Encoding broken = t.Encode("caf\xE9 \xF0\x9F\x98 x");
  CHECK(broken.invalid_bytes == 4);
  CHECK(broken.ids == t.Encode("caf x").ids);
  CHECK(t.Encode("").ids == std::vector<TokenId>{101, 102});
  CHECK(t.Encode(std::string(101, 'a')).ids == std::vector<TokenId>{101, 100, 102});
}

TEST_CASE("WordPiece gives the published ids of 10,570 questions") {
  const auto data = test::SharedData("tok-bert");
  if (!data) RAG_SKIP("no shared data");
  // The ids are kept gzipped; the test's own copy is unpacked by the shell.
  const test::TemporaryFolder folder;
  for (const char* name : {"squad_dev_question_ids", "squad_dev_question_tokens"}) {
    const std::string command =
        "gzip -dc '" + (*data / name).string() + ".json.gz' > '" + folder.file(name) + "'";
    REQUIRE(std::system(command.c_str()) == 0);
  }
  const Value ids = Json(folder.path() / "squad_dev_question_ids");
  const Value tokens = Json(folder.path() / "squad_dev_question_tokens");
  const auto tokenizer = Tokenizer::Load((*data / "bert-base-uncased-vocab.txt").string());
  REQUIRE_OK(tokenizer);
  EncodeOptions options;
  options.add_special_tokens = false;
  REQUIRE(ids.as_array().size() == 10570);
  size_t equal = 0;
  for (size_t i = 0; i < ids.as_array().size(); ++i) {
    const std::string& text = tokens.as_array()[i].Find("original")->as_string();
    const Encoding encoding = (*tokenizer)->Encode(text, options);
    if (encoding.ids == Ids(ids.as_array()[i])) {
      ++equal;
    } else {
      UNSCOPED_INFO("question " << i << ": " << text);
    }
  }
  CHECK(equal == 10570);
}

// Checks the cases of cases_bert.json's models whose name has `part`; gives how many there are.
size_t CheckBertCases(const Tokenizer& tokenizer, const Value& cases, const std::string& part) {
  size_t checked = 0;
  for (const auto& [model, list] : cases.as_object()) {
    if (model.find(part) == std::string::npos) continue;
    for (const auto& [name, entry] : list.Find("cases")->as_object()) {
      const std::string& text = entry.Find("text")->as_string();
      INFO(model << " " << name << ": " << text);
      const Value* second = entry.Find("text_pair");
      // "[SEP]" and its like in these texts are meant as such.
      const EncodeOptions options{.parse_special_tokens = true};
      const Encoding encoding = second != nullptr
                                    ? tokenizer.EncodePair(text, second->as_string(), options)
                                    : tokenizer.Encode(text, options);
      CHECK(encoding.ids == Ids(*entry.Find("ids")));
      ++checked;
    }
  }
  return checked;
}

// What Windows-1252 has at 0x80 to 0x9F where Latin-1 has controls; 0: nothing.
constexpr char32_t kWindows1252[32] = {
    0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017D, 0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};

// The published copy of the cased vocabulary is UTF-8 that was read as Windows-1252 and written as
// UTF-8 again. A piece that lost a byte on the way becomes "[lost N]".
std::string UndoWindows1252(std::string_view text) {
  std::string out;
  size_t lost = 0;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    std::string piece;
    for (size_t at = 0; at < line.size();) {
      const DecodedChar decoded = DecodeChar(line, at);
      at += decoded.length;
      const char32_t c = decoded.code_point;
      const auto* const found = std::find(std::begin(kWindows1252), std::end(kWindows1252), c);
      piece +=
          static_cast<char>(found == std::end(kWindows1252) ? c : 0x80 + (found - kWindows1252));
    }
    out += IsValidUtf8(piece) ? piece : StrCat("[lost ", lost++, "]");
    out += '\n';
  }
  CHECK(lost == 24);
  return out;
}

TEST_CASE("WordPiece gives the ids of transformers.js's BERT cases") {
  const auto data = test::SharedData("tok-bert");
  if (!data) RAG_SKIP("no shared data");
  const Value cases = Json(*data / "cases_bert.json");
  const auto uncased = Tokenizer::Load((*data / "bert-base-uncased-vocab.txt").string());
  REQUIRE_OK(uncased);
  CHECK(CheckBertCases(**uncased, cases, "-uncased") == 42);

  const test::TemporaryFolder folder;
  test::WriteBytes(folder.file("vocab.txt"),
                   UndoWindows1252(test::ReadAll(*data / "bert_basic_cased_vocab.txt")));
  std::ofstream(folder.file("tokenizer_config.json")) << R"({"do_lower_case": false})";
  const auto cased = Tokenizer::Load(folder.path().string());
  REQUIRE_OK(cased);
  CHECK(CheckBertCases(**cased, cases, "-cased") == 33);
}

}  // namespace
}  // namespace rag
