// What must hold for every tokenizer and every text, and for damaged tokenizer files.
#include <catch2/catch.hpp>
#include <random>

#include "lib/base/value.h"
#include "lib/model/model_file.h"
#include "lib/text/utf8.h"
#include "lib/tokenizer/tokenizer.h"
#include "tests/lib/model/model_bytes.h"
#include "tests/support/support.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> Trained() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(test::Golden("tokenizers/trained"))) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::unique_ptr<Tokenizer> Load(const fs::path& path) {
  auto tokenizer = Tokenizer::Load(path.string());
  REQUIRE_OK(tokenizer);
  return std::move(tokenizer).value();
}

// Words, spaces, digits, marks, ideographs, emoji, and now and then a broken byte.
std::string RandomText(std::mt19937_64& random, bool broken) {
  static constexpr char32_t kStarts[] = {'a',    'A',    '0',    ' ',     '!',    0xE0,   0x300,
                                         0x430,  0x621,  0x905,  0xE01,   0x1100, 0x2010, 0x3041,
                                         0x4E00, 0xAC00, 0xFF01, 0x1F600, 0x200B, 0xE0061};
  std::string text;
  for (size_t i = 0, length = random() % 60; i < length; ++i) {
    if (broken && random() % 20 == 0) {
      text += static_cast<char>(0x80 + random() % 0x80);
    } else if (random() % 5 == 0) {
      text += " \n\t  "[random() % 5];
    } else {
      AppendUtf8(text,
                 kStarts[random() % std::size(kStarts)] + static_cast<char32_t>(random() % 20));
    }
  }
  return text;
}

TEST_CASE("byte ranges lie in the text, in order, and truncation keeps its promise") {
  std::mt19937_64 random(7);
  for (const fs::path& path : Trained()) {
    INFO(path.filename().string());
    const auto tokenizer = Load(path);
    for (int round = 0; round < 150; ++round) {
      const std::string text = RandomText(random, true);
      const Encoding encoding = tokenizer->Encode(text);
      REQUIRE(encoding.ids.size() == encoding.offsets.size());
      REQUIRE(encoding.ids.size() == encoding.type_ids.size());
      size_t broken = 0;
      RepairUtf8(text, &broken);
      CHECK(encoding.invalid_bytes == broken);
      uint32_t last = 0;
      for (size_t i = 0; i < encoding.ids.size(); ++i) {
        const auto range = encoding.offsets[i];
        CHECK(range.begin <= range.end);
        CHECK(range.end <= text.size());
        if (range.end == 0) continue;  // added
        CHECK(range.begin >= last);
        last = range.begin;
        CHECK(encoding.ids[i] >= 0);
        CHECK(static_cast<size_t>(encoding.ids[i]) < tokenizer->vocab_size());
      }
      const size_t limit = random() % 12 + 1;
      const Encoding cut = tokenizer->Encode(text, {.max_tokens = limit});
      CHECK(cut.ids.size() <= limit);
      if (encoding.ids.size() > limit) CHECK(cut.truncated >= encoding.ids.size() - limit);
      if (encoding.ids.size() <= limit) CHECK(cut.ids == encoding.ids);
      const Encoding pair = tokenizer->EncodePair(text, "second text", {.max_tokens = limit});
      CHECK(pair.ids.size() <= limit);
    }
  }
}

TEST_CASE("byte-level tokenizers give every text back") {
  std::mt19937_64 random(8);
  for (const char* name : {"bpe_llama3", "bpe_deepseek", "bpe_falcon"}) {
    const auto tokenizer = Load(test::Golden(StrCat("tokenizers/trained/", name, ".json")));
    for (int round = 0; round < 300; ++round) {
      const std::string text = RandomText(random, false);
      const Encoding encoding = tokenizer->Encode(text, {.add_special_tokens = false});
      CHECK(tokenizer->Decode(encoding.ids) == text);
      std::string joined;
      for (const TokenId id : encoding.ids) joined += tokenizer->TokenBytes(id);
      CHECK(joined == text);
    }
  }
}

// The fused passes are taken when nothing else is asked for; a normalizer that does nothing and an
// added token that never occurs send the same text through the parts instead.
TEST_CASE("the fused passes give what the parts give") {
  std::mt19937_64 random(9);
  const test::TemporaryFolder folder;
  for (const char* name : {"word_piece_cased", "bpe_gpt2", "bpe_llama3"}) {
    INFO(name);
    const fs::path path = test::Golden(StrCat("tokenizers/trained/", name, ".json"));
    auto json = ParseJson(test::ReadAll(path));
    REQUIRE_OK(json);
    Value::Object& object = json->as_object();
    if (std::string_view(name) == "bpe_gpt2") object.Set("added_tokens", Value(Value::Array()));
    test::WriteBytes(folder.file("fused.json"), ToJson(*json));
    Value normalizer = *object.Find("normalizer");
    Value::Array parts;
    if (!normalizer.is_null()) parts.push_back(normalizer);
    object.Set("normalizer", Value(Value::Object{{"type", Value("Sequence")},
                                                 {"normalizers", Value(std::move(parts))}}));
    test::WriteBytes(folder.file("parts.json"), ToJson(*json));
    const auto fused = Load(folder.file("fused.json"));
    const auto generic = Load(folder.file("parts.json"));
    for (int round = 0; round < 2000; ++round) {
      const std::string text = RandomText(random, true);
      const Encoding a = fused->Encode(text);
      const Encoding b = generic->Encode(text);
      INFO(text);
      REQUIRE(a.ids == b.ids);
      CHECK(a.invalid_bytes == b.invalid_bytes);
      for (size_t i = 0; i < a.ids.size(); ++i) {
        CHECK(a.offsets[i].begin == b.offsets[i].begin);
        CHECK(a.offsets[i].end == b.offsets[i].end);
      }
    }
  }
}

TEST_CASE("long words take no quadratic time") {
  const auto tokenizer = Load(test::Golden("tokenizers/trained/bpe_byte_fallback.json"));
  const std::string text(400000, 'a');
  const Encoding encoding = tokenizer->Encode(text, {.add_special_tokens = false});
  CHECK(tokenizer->Decode(encoding.ids) == text);
}

TEST_CASE("damaged tokenizer files give an error or work, and never crash") {
  const test::TemporaryFolder folder;
  std::mt19937_64 random(10);
  const std::vector<fs::path> files = Trained();
  std::vector<std::string> texts;
  for (const fs::path& path : files) texts.push_back(test::ReadAll(path));
  for (int round = 0; round < 600; ++round) {
    std::string bytes = texts[static_cast<size_t>(round) % texts.size()];
    for (size_t i = 0, changes = 1 + random() % 3; i < changes; ++i) {
      const size_t at = random() % bytes.size();
      switch (random() % 3) {
        case 0:
          bytes[at] = "0123456789-\"[]{},:"[random() % 18];
          break;
        case 1:
          bytes.erase(at, random() % 20);
          break;
        default:
          bytes.insert(at, "9");
      }
      if (bytes.empty()) bytes = "{";
    }
    test::WriteBytes(folder.file("x.json"), bytes);
    const auto tokenizer = Tokenizer::Load(folder.file("x.json"));
    if (!tokenizer.ok()) continue;
    const Encoding encoding = (*tokenizer)->Encode("Hello, <s> wörld 한글 123");
    CHECK((*tokenizer)->Decode(encoding.ids).size() < 1000);
  }
  for (const char* text : {"", "{", "[]", "null", "{}", R"({"model":{}})",
                           R"({"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}})",
                           R"({"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}})",
                           R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}})",
                           R"({"model":{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}})",
                           R"({"model":{"type":"BPE","vocab":{"a":999999999999},"merges":[]}})",
                           R"({"model":{"type":"Unigram","vocab":[["a",0.0]],"unk_id":7}})",
                           R"({"model":{"type":"Unigram","vocab":[["a",1e999]],"unk_id":0}})",
                           R"({"model":{"type":"WordPiece","vocab":{"a":0},"unk_token":"b"}})"}) {
    test::WriteBytes(folder.file("x.json"), text);
    const auto tokenizer = Tokenizer::Load(folder.file("x.json"));
    INFO(text);
    REQUIRE_FALSE(tokenizer.ok());
    CHECK_THAT(tokenizer.status().message(), Catch::Contains("x.json"));
  }
  CHECK(Tokenizer::Load(folder.file("none")).status().code() == StatusCode::kNotFound);
  CHECK(Tokenizer::Load(folder.path().string()).status().code() == StatusCode::kNotFound);
}

TEST_CASE("damaged GGUF vocabularies give an error or work, and never crash") {
  const auto data = test::SharedData("models");
  if (!data) RAG_SKIP("no shared data");
  const std::string whole = test::ReadAll(*data / "stories260K/stories260K.gguf");
  const test::TemporaryFolder folder;
  std::mt19937_64 random(11);
  size_t loaded = 0;
  for (int round = 0; round < 300; ++round) {
    std::string bytes = whole;
    for (int i = 0; i < 3; ++i) {
      char& byte = bytes[random() % 14000];  // the metadata
      byte = random() % 2 ? static_cast<char>(random()) : static_cast<char>(byte ^ 1);
    }
    test::WriteBytes(folder.file("x.gguf"), bytes);
    const auto file = GgufFile::Open(folder.file("x.gguf"));
    if (!file.ok()) continue;
    const auto tokenizer = Tokenizer::FromGguf(*file);
    if (!tokenizer.ok()) continue;
    const Encoding encoding = (*tokenizer)->Encode("Once upon a time, <s> wörld 한글");
    (*tokenizer)->Decode(encoding.ids);
    ++loaded;
  }
  CHECK(loaded > 0);
}

TEST_CASE("components that are not known are named") {
  const test::TemporaryFolder folder;
  const auto fails = [&](const std::string& key, const std::string& type) {
    auto json = ParseJson(test::ReadAll(test::Golden("tokenizers/trained/bpe_llama3.json")));
    REQUIRE_OK(json);
    json->as_object().Set(key, Value(Value::Object{{"type", Value(type)}}));
    test::WriteBytes(folder.file("x.json"), ToJson(*json));
    const Status status = Tokenizer::Load(folder.file("x.json")).status();
    CHECK(status.code() == StatusCode::kUnsupported);
    CHECK_THAT(status.message(), Catch::Contains(type));
  };
  fails("normalizer", "NFX");
  fails("pre_tokenizer", "UnicodeScripts");
  fails("post_processor", "Strange");
  fails("decoder", "CTC");
}

}  // namespace
}  // namespace rag
