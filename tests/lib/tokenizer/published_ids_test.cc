// Ids that others published: transformers.js's cases, .NET's GPT-2 ids, llama.cpp's vocabulary
// tests.
#include <catch2/catch.hpp>
#include <sstream>

#include "lib/base/value.h"
#include "lib/model/model_file.h"
#include "lib/tokenizer/tokenizer.h"
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

TEST_CASE("RoBERTa and T5 give transformers.js's ids") {
  const auto data = test::SharedData("tok-sentencepiece");
  if (!data) RAG_SKIP("no shared data");
  const Value cases = Json(*data / "cases_t5_xlmr_roberta_albert.json");
  const auto t5 = Tokenizer::Load((*data / "t5-small-tokenizer.json").string());
  REQUIRE_OK(t5);
  const auto roberta = Tokenizer::Load((*data / "roberta-base-tokenizer.json").string());
  REQUIRE_OK(roberta);
  CHECK(CheckCases(**t5, *cases.Find("google-t5/t5-small")->Find("cases")) > 10);
  CHECK(CheckCases(**t5, *cases.Find("Xenova/t5-small")->Find("cases")) > 10);
  CHECK(CheckCases(**roberta, *cases.Find("Xenova/all-distilroberta-v1")->Find("cases")) > 5);
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
