// Ids that others published: transformers.js's cases, .NET's GPT-2 and cl100k ids, llama.cpp's
// vocabulary tests.
#include <catch2/catch.hpp>
#include <sstream>
#include <unordered_map>

#include "lib/base/base64.h"
#include "lib/base/value.h"
#include "lib/model/model_file.h"
#include "lib/text/utf8.h"
#include "lib/tokenizer/pre_tokenizer.h"
#include "lib/tokenizer/tokenizer.h"
#include "tests/lib/model/model_bytes.h"
#include "tests/support/support.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

Value Json(const fs::path& path) {
  auto json = ParseJson(test::ReadAll(path));
  REQUIRE_OK(json);
  return std::move(json).value();
}

std::vector<TokenId> Ids(const Value& json) {
  std::vector<TokenId> ids;
  for (const Value& id : json.as_array()) ids.push_back(static_cast<TokenId>(id.as_int()));
  return ids;
}

// Checks {name: {text, text_pair, ids}}; special tokens in these texts are meant as such.
size_t CheckCases(const Tokenizer& tokenizer, const Value& cases) {
  EncodeOptions options;
  options.parse_special_tokens = true;
  size_t checked = 0;
  for (const auto& [name, entry] : cases.as_object()) {
    const std::string& text = entry.Find("text")->as_string();
    INFO(name << ": " << text);
    const Value* second = entry.Find("text_pair");
    const Encoding encoding = second != nullptr
                                  ? tokenizer.EncodePair(text, second->as_string(), options)
                                  : tokenizer.Encode(text, options);
    CHECK(encoding.ids == Ids(*entry.Find("ids")));
    ++checked;
  }
  return checked;
}

std::unique_ptr<Tokenizer> LoadGpt2(const fs::path& data) {
  const test::TemporaryFolder folder;
  fs::copy(data / "encoder.json", folder.path() / "vocab.json");
  fs::copy(data / "vocab.bpe", folder.path() / "merges.txt");
  auto tokenizer = Tokenizer::Load(folder.path().string());
  REQUIRE_OK(tokenizer);
  return std::move(tokenizer).value();
}

std::unique_ptr<Tokenizer> LoadGguf(const fs::path& path) {
  const auto file = GgufFile::Open(path.string());
  REQUIRE_OK(file);
  auto tokenizer = Tokenizer::FromGguf(*file);
  REQUIRE_OK(tokenizer);
  return std::move(tokenizer).value();
}

TEST_CASE("CLIP gives transformers.js's ids") {
  const auto data = test::SharedData("tok-clip");
  if (!data) RAG_SKIP("no shared data");
  const auto tokenizer = Tokenizer::Load((*data / "tokenizer.json").string());
  REQUIRE_OK(tokenizer);
  CHECK(CheckCases(**tokenizer, Json(*data / "cases_clip.json")) == 25);
  CHECK((*tokenizer)->Decode((*tokenizer)->Encode("A photo of a cat").ids) == "a photo of a cat");
}

TEST_CASE("CLIP's vocab.json and merges.txt give the same ids") {
  const auto data = test::SharedData("tok-clip");
  if (!data) RAG_SKIP("no shared data");
  const test::TemporaryFolder folder;
  const Value json = Json(*data / "tokenizer.json");
  const Value& model = *json.Find("model");
  test::WriteBytes(folder.file("vocab.json"), ToJson(*model.Find("vocab")));
  std::string merges = "#version: 0.2\n";
  for (const Value& merge : model.Find("merges")->as_array()) merges += merge.as_string() + "\n";
  test::WriteBytes(folder.file("merges.txt"), merges);
  const auto tokenizer = Tokenizer::Load(folder.path().string());
  REQUIRE_OK(tokenizer);
  CHECK(CheckCases(**tokenizer, Json(*data / "cases_clip.json")) == 25);
  CHECK((*tokenizer)->Decode((*tokenizer)->Encode("A photo of a cat").ids) == "a photo of a cat");
}

TEST_CASE("GPT-2 gives transformers.js's and .NET's ids") {
  const auto data = test::SharedData("tok-gpt2");
  if (!data) RAG_SKIP("no shared data");
  const auto tokenizer = LoadGpt2(*data);
  const Value cases = Json(*data / "cases_gpt.json");
  CHECK(CheckCases(*tokenizer, *cases.Find("Xenova/gpt2")->Find("cases")) == 26);
  const std::string text = test::ReadAll(*data / "dotnet_lib.rs.txt");
  const Encoding encoding = tokenizer->Encode(text);
  CHECK(encoding.ids == Ids(Json(*data / "dotnet_tokens_gpt2.json")));
  CHECK(tokenizer->Decode(encoding.ids) == text);
}

// A .tiktoken file: each token in base64 with its rank, which is its id. Two neighbouring tokens
// are joined when their bytes are a token, the one of lowest rank first: the same as merges of each
// token's last two parts.
class Tiktoken {
 public:
  explicit Tiktoken(const fs::path& path) {
    std::istringstream lines(test::ReadAll(path));
    std::string encoded;
    for (uint32_t rank = 0; lines >> encoded >> rank;) {
      auto token = DecodeBase64(encoded);
      REQUIRE_OK(token);
      ranks_.emplace(*token, rank);
      tokens_.push_back(std::move(token).value());
      REQUIRE(tokens_.size() == rank + 1);
    }
  }

  // The same as a tokenizer.json.
  std::string Json(std::string_view pattern) const {
    Value::Object vocabulary;
    Value::Array merges;
    for (size_t rank = 0; rank < tokens_.size(); ++rank) {
      vocabulary.Append(Piece(tokens_[rank]), Value(rank));
      if (tokens_[rank].size() == 1) continue;
      const auto parts = LastParts(tokens_[rank]);
      REQUIRE(parts.size() == 2);
      merges.push_back(Value(Value::Array{Value(Piece(parts[0])), Value(Piece(parts[1]))}));
    }
    const Value model = Value::Object{{"type", Value("BPE")},
                                      {"vocab", Value(std::move(vocabulary))},
                                      {"merges", Value(std::move(merges))}};
    const Value split = Value::Object{{"type", Value("Split")},
                                      {"pattern", Value(Value::Object{{"Regex", Value(pattern)}})},
                                      {"behavior", Value("Isolated")}};
    const Value bytes = Value::Object{{"type", Value("ByteLevel")},
                                      {"add_prefix_space", Value(false)},
                                      {"use_regex", Value(false)}};
    const Value steps = Value::Object{{"type", Value("Sequence")},
                                      {"pretokenizers", Value(Value::Array{split, bytes})}};
    return ToJson(
        Value(Value::Object{{"model", model},
                            {"pre_tokenizer", steps},
                            {"decoder", Value(Value::Object{{"type", Value("ByteLevel")}})}}));
  }

 private:
  // In the byte-level alphabet.
  static std::string Piece(const std::string& token) {
    std::string piece;
    for (const char byte : token) AppendUtf8(piece, ByteToChar(static_cast<unsigned char>(byte)));
    return piece;
  }
  // What is left of the token's bytes before it becomes one.
  std::vector<std::string> LastParts(const std::string& token) const {
    std::vector<std::string> parts;
    for (const char byte : token) parts.emplace_back(1, byte);
    while (parts.size() > 2) {
      size_t best = parts.size();
      uint32_t lowest = ~0u;
      for (size_t i = 0; i + 1 < parts.size(); ++i) {
        const auto found = ranks_.find(parts[i] + parts[i + 1]);
        if (found == ranks_.end() || found->second >= lowest) continue;
        lowest = found->second;
        best = i;
      }
      REQUIRE(best < parts.size());
      parts[best] += parts[best + 1];
      parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
    }
    return parts;
  }

  std::vector<std::string> tokens_;
  std::unordered_map<std::string, uint32_t> ranks_;
};

TEST_CASE("cl100k gives .NET's and transformers.js's ids") {
  const auto data = test::SharedData("tok-gpt2");
  if (!data) RAG_SKIP("no shared data");
  // The pattern of OpenAI's tiktoken.
  constexpr std::string_view kPattern =
      R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}|)"
      R"( ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
  const test::TemporaryFolder folder;
  test::WriteBytes(folder.file("tokenizer.json"),
                   Tiktoken(*data / "cl100k_base.tiktoken").Json(kPattern));
  const auto tokenizer = Tokenizer::Load(folder.file("tokenizer.json"));
  REQUIRE_OK(tokenizer);
  CHECK((*tokenizer)->vocab_size() == 100256);
  const std::string text = test::ReadAll(*data / "dotnet_lib.rs.txt");
  const Encoding encoding = (*tokenizer)->Encode(text);
  const std::vector<TokenId> expected = Ids(Json(*data / "dotnet_tokens.json"));
  CHECK(expected.size() == 5584);
  CHECK(encoding.ids == expected);
  CHECK((*tokenizer)->Decode(encoding.ids) == text);
  const Value cases = Json(*data / "cases_gpt.json");
  CHECK(CheckCases(**tokenizer, *cases.Find("Xenova/gpt-4")->Find("cases")) == 4);
}

TEST_CASE("CLIP's own merges are those of its tokenizer.json") {
  const auto data = test::SharedData("tok-clip");
  if (!data) RAG_SKIP("no shared data");
  const test::TemporaryFolder folder;
  const std::string command = "gzip -dc '" + (*data / "bpe_simple_vocab_16e6.txt.gz").string() +
                              "' > '" + folder.file("merges") + "'";
  REQUIRE(std::system(command.c_str()) == 0);
  // As CLIP's simple_tokenizer.py reads them: a header, 48,894 merges, and ids in that order behind
  // the 256 bytes, first as they are and then as ends of words.
  std::istringstream lines(test::ReadAll(folder.path() / "merges"));
  std::string line;
  std::getline(lines, line);
  Value::Array merges;
  Value::Object vocabulary;
  size_t next = 0;
  const auto add = [&](const std::string& piece) { vocabulary.Append(piece, Value(next++)); };
  for (const std::string end : {"", "</w>"}) {
    // The alphabet in its own order: printing bytes first.
    for (const bool printing : {true, false}) {
      for (int byte = 0; byte < 256; ++byte) {
        const char32_t c = ByteToChar(static_cast<unsigned char>(byte));
        if ((c == static_cast<char32_t>(byte)) != printing) continue;
        std::string piece;
        AppendUtf8(piece, c);
        add(piece + end);
      }
    }
  }
  while (merges.size() < 48894) {
    REQUIRE(std::getline(lines, line));
    const size_t space = line.find(' ');
    merges.push_back(
        Value(Value::Array{Value(line.substr(0, space)), Value(line.substr(space + 1))}));
    add(line.substr(0, space) + line.substr(space + 1));
  }
  add("<|startoftext|>");
  add("<|endoftext|>");
  CHECK(next == 49408);
  Value json = Json(*data / "tokenizer.json");
  Value::Object& model = json.as_object().Find("model")->as_object();
  model.Set("vocab", Value(std::move(vocabulary)));
  model.Set("merges", Value(std::move(merges)));
  test::WriteBytes(folder.file("tokenizer.json"), ToJson(json));
  const auto tokenizer = Tokenizer::Load(folder.file("tokenizer.json"));
  REQUIRE_OK(tokenizer);
  CHECK(CheckCases(**tokenizer, Json(*data / "cases_clip.json")) == 25);
  const auto published = Tokenizer::Load((*data / "tokenizer.json").string());
  REQUIRE_OK(published);
  for (TokenId id = 0; id < 49408; ++id) CHECK((*tokenizer)->Piece(id) == (*published)->Piece(id));
}

TEST_CASE("RoBERTa and T5 give transformers.js's ids") {
  const auto data = test::SharedData("tok-sentencepiece");
  if (!data) RAG_SKIP("no shared data");
  const Value cases = Json(*data / "cases_t5_xlmr_roberta_albert.json");
  const auto t5 = Tokenizer::Load((*data / "t5-small-tokenizer.json").string());
  REQUIRE_OK(t5);
  const auto roberta = Tokenizer::Load((*data / "roberta-base-tokenizer.json").string());
  REQUIRE_OK(roberta);
  CHECK(CheckCases(**t5, *cases.Find("google-t5/t5-small")->Find("cases")) == 29);
  CHECK(CheckCases(**t5, *cases.Find("Xenova/t5-small")->Find("cases")) == 29);
  CHECK(CheckCases(**roberta, *cases.Find("Xenova/all-distilroberta-v1")->Find("cases")) == 11);
}

// Texts and ids of one of llama.cpp's vocabulary tests. Returns how many were compared.
size_t CheckLlamaCases(const Tokenizer& tokenizer, const fs::path& data, const std::string& name) {
  constexpr std::string_view kMark = "\n__ggml_vocab_test__\n";
  const std::string texts = test::ReadAll(data / ("ggml-vocab-" + name + ".gguf.inp"));
  std::istringstream lines(test::ReadAll(data / ("ggml-vocab-" + name + ".gguf.out")));
  EncodeOptions options;
  options.add_special_tokens = false;
  size_t count = 0;
  for (size_t begin = 0; begin < texts.size();) {
    const size_t end = std::min(texts.find(kMark, begin), texts.size());
    const std::string text = texts.substr(begin, end - begin);
    begin = end + kMark.size();
    std::string line;
    if (!std::getline(lines, line)) break;
    std::istringstream numbers(line);
    std::vector<TokenId> expected;
    for (TokenId id; numbers >> id;) expected.push_back(id);
    INFO(name << " text " << count << ": '" << text << "'");
    CHECK(tokenizer.Encode(text, options).ids == expected);
    ++count;
  }
  return count;
}

TEST_CASE("GGUF vocabularies give llama.cpp's ids") {
  const auto data = test::SharedData("tok-llamacpp");
  if (!data) RAG_SKIP("no shared data");
  for (const char* name : {"bert-bge", "gpt-2", "phi-3", "llama-spm", "falcon"}) {
    const auto tokenizer = LoadGguf(*data / StrCat("ggml-vocab-", name, ".gguf"));
    CHECK(CheckLlamaCases(*tokenizer, *data, name) == 46);
  }
}

TEST_CASE("RoBERTa gives llama.cpp's ids") {
  const auto data = test::SharedData("tok-llamacpp");
  const auto vocabulary = test::SharedData("tok-sentencepiece");
  if (!data || !vocabulary) RAG_SKIP("no shared data");
  const auto tokenizer = Tokenizer::Load((*vocabulary / "roberta-base-tokenizer.json").string());
  REQUIRE_OK(tokenizer);
  CHECK(CheckLlamaCases(**tokenizer, *data, "roberta-bpe") == 46);
}

TEST_CASE("the stories model's tokenizer") {
  const auto data = test::SharedData("models");
  if (!data) RAG_SKIP("no shared data");
  const auto tokenizer = LoadGguf(*data / "stories260K/stories260K.gguf");
  const Value greedy = Json(*data / "stories260K/greedy.json");
  CHECK(tokenizer->bos_id() == 1);
  CHECK(tokenizer->eos_id() == 2);
  const Encoding encoding = tokenizer->Encode("Once upon a time");
  CHECK(encoding.ids == std::vector<TokenId>{1, 403, 407, 261, 378});
  CHECK(tokenizer->Decode(encoding.ids) == "Once upon a time");
  CHECK(tokenizer->TokenBytes(403) == " Once");
  CHECK(tokenizer->TokenBytes(13) == "\n");
}

}  // namespace
}  // namespace rag
