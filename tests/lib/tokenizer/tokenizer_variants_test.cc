// Folders whose settings differ from what was written, against transformers
// (tests/golden/tokenizer_variants/make_variants.py).
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <tuple>
#include <utility>

#include "lib/base/value.h"
#include "lib/tokenizer/tokenizer.h"
#include "tests/lib/model/model_bytes.h"
#include "tests/support/support.h"

namespace rag::test {
namespace {

namespace fs = std::filesystem;

Value ParseOk(const std::string& text) {
  auto json = ParseJson(text);
  REQUIRE_OK(json);
  return std::move(json).value();
}

// A string as it is, or as `names` calls it.
std::string Renamed(const Value& names, const std::string& name) {
  const Value* other = names.Find(name);
  return other != nullptr ? other->as_string() : name;
}

// The variant's tokenizer, as make_variants.py writes it.
void WriteTokenizer(const Value& variant, const fs::path& folder) {
  const std::string& source = variant.Find("source")->as_string();
  const Value& names = *variant.Find("names");
  Value tokenizer = ParseOk(ReadAll(Golden("encoder_families/tokenizers/" + source + ".json")));
  Value::Object& model = tokenizer.as_object().Find("model")->as_object();
  Value::Object vocabulary;
  std::vector<std::string> pieces(model.Find("vocab")->as_object().size());
  for (const auto& [piece, id] : model.Find("vocab")->as_object()) {
    const std::string name = Renamed(names, piece);
    pieces[static_cast<size_t>(id.as_int())] = name;
    vocabulary.Append(name, id);
  }
  model.Set("vocab", vocabulary);
  for (Value& added : tokenizer.as_object().Find("added_tokens")->as_array()) {
    Value& content = *added.as_object().Find("content");
    content = Value(Renamed(names, content.as_string()));
  }
  if (!names.as_object().empty()) tokenizer.as_object().Set("post_processor", Value());
  if (variant.Find("json")->as_bool()) {
    WriteBytes(folder / "tokenizer.json", ToJson(tokenizer));
  } else if (source == "word_piece") {
    std::string lines;
    for (const std::string& piece : pieces) lines += piece + "\n";
    WriteBytes(folder / "vocab.txt", lines);
  } else {
    WriteBytes(folder / "vocab.json", ToJson(Value(vocabulary)));
    std::string lines = "#version: 0.2\n";
    for (const Value& merge : model.Find("merges")->as_array()) {
      lines += merge.is_string()
                   ? merge.as_string()
                   : merge.as_array()[0].as_string() + " " + merge.as_array()[1].as_string();
      lines += "\n";
    }
    WriteBytes(folder / "merges.txt", lines);
  }
}

void WriteFiles(const Value& variant, const fs::path& folder) {
  for (const auto& [file, members] : variant.Find("files")->as_object()) {
    WriteBytes(folder / file, ToJson(members));
  }
}

void CheckIds(const Value& expected, const Value& variant, const fs::path& folder) {
  INFO(ToJson(*variant.Find("files")));
  const auto tokenizer = Tokenizer::Load(folder.string());
  REQUIRE_OK(tokenizer);
  std::vector<std::vector<TokenId>> ids;
  for (const Value& text : expected.Find("texts")->as_array()) {
    ids.push_back((*tokenizer)->Encode(text.as_string()).ids);
  }
  for (const Value& pair : expected.Find("pairs")->as_array()) {
    const Value::Array& texts = pair.as_array();
    if (variant.Find("source") == nullptr) continue;  // a model file says nothing of pairs
    ids.push_back((*tokenizer)->EncodePair(texts[0].as_string(), texts[1].as_string()).ids);
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    INFO(i);
    std::vector<TokenId> want;
    for (const Value& id : variant.Find("ids")->as_array()[i].as_array()) {
      want.push_back(static_cast<TokenId>(id.as_int()));
    }
    CHECK(ids[i] == want);
  }
}

TEST_CASE("Settings beside a vocabulary and tokenizer.json give the reference's ids") {
  const Value expected = ParseOk(ReadAll(Golden("tokenizer_variants/expected.json")));
  REQUIRE(expected.Find("variants")->as_array().size() == 56);
  for (const Value& variant : expected.Find("variants")->as_array()) {
    INFO(variant.Find("source")->as_string() << (variant.Find("json")->as_bool() ? ".json" : ""));
    const TemporaryFolder folder;
    WriteTokenizer(variant, folder.path());
    WriteFiles(variant, folder.path());
    CheckIds(expected, variant, folder.path());
  }
}

TEST_CASE("Settings that transformers refuses, or takes otherwise, are refused by their key") {
  const Value expected = ParseOk(ReadAll(Golden("tokenizer_variants/expected.json")));
  const auto find = [&](std::string_view source, bool json) -> const Value& {
    const Value::Array& variants = expected.Find("variants")->as_array();
    return *std::find_if(variants.begin(), variants.end(), [&](const Value& variant) {
      return *variant.Find("source") == Value(source) && variant.Find("json")->as_bool() == json;
    });
  };
  const std::vector<std::pair<std::string, std::pair<std::string, std::string>>> cases = {
      {"tokenizer_config.json",
       {R"({"tokenizer_class": "BertTokenizer", "cls_token": "[NEW]"})", "'[NEW]', the cls_token"}},
      {"tokenizer_config.json", {R"({"cls_token": 3})", "'cls_token' is 3"}},
      {"tokenizer_config.json", {R"({"mask_token": {"content": 1}})", "'mask_token' is"}},
      {"tokenizer_config.json",
       {R"({"tokenizer_class": "BertTokenizer", "sep_token": null})", "'sep_token' is null"}},
      {"tokenizer_config.json", {R"([])", "no JSON object"}},
      {"special_tokens_map.json", {R"([])", "no JSON object"}},
      {"special_tokens_map.json", {R"({"unk_token": ["[UNK]"]})", "'unk_token' is"}},
      {"special_tokens_map.json", {R"({"unk_token": "[NEW]"})", "unknown token '[NEW]'"}},
      {"added_tokens.json", {R"({"x": "y"})", "added_tokens.json gives 'x'"}},
      {"added_tokens.json", {R"({"x": -1})", "added_tokens.json gives 'x'"}},
      {"added_tokens.json", {R"({"x": 1e30})", "added_tokens.json gives 'x'"}},
      {"added_tokens.json", {R"({"x": 99999999999})", "added_tokens.json gives 'x'"}},
      {"added_tokens.json", {R"({"no piece": 700})", "the id 700, and transformers 600"}},
      {"added_tokens.json", {R"({"": 600})", "without content"}},
  };
  for (const bool json : {false, true}) {
    for (const auto& [file, test] : cases) {
      const TemporaryFolder folder;
      WriteTokenizer(find("word_piece", json), folder.path());
      WriteBytes(folder.path() / "config.json", R"({"model_type": "bert"})");
      REQUIRE_OK(Tokenizer::Load(folder.path().string()));
      WriteBytes(folder.path() / file, test.first);
      INFO(file << " " << test.first);
      const auto loaded = Tokenizer::Load(folder.path().string());
      REQUIRE_FALSE(loaded.ok());
      CHECK_THAT(loaded.status().ToString(), Catch::Contains(test.second));
    }
  }
}

TEST_CASE("A tokenizer.json of an old version, without its model's type, is the same") {
  const TemporaryFolder folder;
  Value json = ParseOk(ReadAll(Golden("encoder_families/tokenizers/word_piece.json")));
  WriteBytes(folder.path() / "config.json", R"({"model_type": "distilbert"})");
  WriteBytes(folder.path() / "tokenizer_config.json",
             R"({"cls_token": "[MASK]", "unk_token": "[PAD]"})");
  const auto ids = [&] {
    WriteBytes(folder.path() / "tokenizer.json", ToJson(json));
    const auto tokenizer = Tokenizer::Load(folder.path().string());
    REQUIRE_OK(tokenizer);
    return (*tokenizer)->Encode("a cat \xE6\x9D\xB1").ids;
  };
  const std::vector<TokenId> named = ids();
  json.as_object().Find("model")->as_object().Erase("type");
  CHECK(ids() == named);
  CHECK(named.front() == 4);
}

// The ids of transformers 5.24.0's CLIPTokenizer.
TEST_CASE("CLIP's class puts the tokens around a text that the files name") {
  const TemporaryFolder folder;
  fs::copy_file(Golden("image_encoders/clip_tokenizer.json"), folder.path() / "tokenizer.json");
  const auto ends = [&](const char* file, const char* text) {
    WriteBytes(folder.path() / file, text);
    const auto tokenizer = Tokenizer::Load(folder.path().string());
    REQUIRE_OK(tokenizer);
    const std::vector<TokenId> ids = (*tokenizer)->Encode("a cat").ids;
    return std::pair(ids.front(), ids.back());
  };
  CHECK(ends("config.json", R"({"model_type": "clip"})") == std::pair(1025, 1026));
  CHECK(ends("tokenizer_config.json", R"({"bos_token": "<|endoftext|>"})") ==
        std::pair(1026, 1026));
  CHECK(ends("tokenizer_config.json", R"({"tokenizer_class": "CLIPTokenizerFast",
                                          "eos_token": "<|startoftext|>"})") ==
        std::pair(1025, 1025));
  CHECK(ends("special_tokens_map.json", R"({"bos_token": {"content": "<|endoftext|>"},
                                            "eos_token": "<|endoftext|>"})") ==
        std::pair(1026, 1026));
}

TEST_CASE("A prefix space that a class would make otherwise is refused by its key") {
  const TemporaryFolder folder;
  fs::copy_file(Golden("encoder_families/tokenizers/unigram.json"),
                folder.path() / "tokenizer.json");
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"XLMRobertaTokenizer", "true", "false"},
      {"CamembertTokenizerFast", "true", "false"},
      {"Qwen2Tokenizer", "false", "true"}};
  for (const auto& [name, usual, other] : cases) {
    const auto load = [&](const char* value) {
      WriteBytes(
          folder.path() / "tokenizer_config.json",
          StrCat("{\"tokenizer_class\": \"", name, "\", \"add_prefix_space\": ", value, "}"));
      return Tokenizer::Load(folder.path().string());
    };
    REQUIRE_OK(load(usual));
    const auto refused = load(other);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.status().code() == StatusCode::kUnsupported);
    CHECK_THAT(refused.status().ToString(), Catch::Contains("add_prefix_space"));
    CHECK_THAT(load("3").status().ToString(), Catch::Contains("add_prefix_space"));
  }
}

TEST_CASE("What SentencePiece models alone do not say is the reference's, or refused") {
  const Value expected = ParseOk(ReadAll(Golden("tokenizer_variants/expected.json")));
  const fs::path model = Golden("tokenizer_variants/sentencepiece.model");
  for (const Value& variant : expected.Find("models")->as_array()) {
    const TemporaryFolder folder;
    fs::copy_file(model, folder.path() / "tokenizer.model");
    WriteFiles(variant, folder.path());
    CheckIds(expected, variant, folder.path());
  }
  const TemporaryFolder folder;
  fs::copy_file(model, folder.path() / "tokenizer.model");
  const auto refused = [&](const char* file, const char* text, const char* words) {
    WriteBytes(folder.path() / file, text);
    const auto loaded = Tokenizer::Load(folder.path().string());
    INFO(text);
    REQUIRE_FALSE(loaded.ok());
    CHECK(loaded.status().code() == StatusCode::kUnsupported);
    CHECK_THAT(loaded.status().ToString(), Catch::Contains(words));
    fs::remove(folder.path() / file);
  };
  refused("config.json", R"({"model_type": "xlm-roberta"})", "XLMRobertaTokenizer");
  refused("config.json", R"({"model_type": "albert"})", "AlbertTokenizer");
  refused("tokenizer_config.json", R"({"tokenizer_class": "T5TokenizerFast"})", "T5Tokenizer");
  refused("tokenizer_config.json", R"({"add_prefix_space": false})", "add_prefix_space");
  refused("tokenizer_config.json", R"({"added_tokens_decoder": {"450": {"content": "world"}}})",
          "added_tokens_decoder has the token 'world'");
  refused("added_tokens.json", R"({"world": 450})", "added_tokens.json has the token 'world'");
  WriteBytes(folder.path() / "tokenizer_config.json", R"({"truncation_side": "left"})");
  const auto left = Tokenizer::Load(folder.path().string());
  REQUIRE_OK(left);
  const std::vector<TokenId> all = (*left)->Encode("It is a world of words").ids;
  const std::vector<TokenId> cut = (*left)->Encode("It is a world of words", {.max_tokens = 3}).ids;
  CHECK(cut == std::vector<TokenId>(all.end() - 3, all.end()));
}

}  // namespace
}  // namespace rag::test
