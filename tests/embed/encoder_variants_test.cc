// Settings that a family's own files rarely have, against transformers
// (tests/golden/encoder_variants/make_variants.py).
#include "tests/embed/encoder_support.h"

namespace rag::test {
namespace {

namespace fs = std::filesystem;

Value ParseOk(const std::string& text) {
  auto json = ParseJson(text);
  REQUIRE_OK(json);
  return std::move(json).value();
}

// The members of one file of the variant's, over those that are there; null takes one out.
void SetMembers(const fs::path& path, const Value& members) {
  const Value old = fs::exists(path) ? ParseOk(ReadAll(path)) : Value(Value::Object());
  Value::Object made;
  for (const auto& [key, value] : old.as_object()) {
    if (members.Find(key) == nullptr) made.Append(key, value);
  }
  for (const auto& [key, value] : members.as_object()) {
    if (!value.is_null()) made.Append(key, value);
  }
  WriteText(path, ToJson(Value(std::move(made))));
}

TEST_CASE("Settings beside the usual ones give the reference's vectors") {
  const auto runtime = MakeRuntime();
  const Value expected = ParseOk(ReadAll(Golden("encoder_variants/expected.json")));
  std::vector<std::string> texts;
  for (const Value& text : expected.Find("texts")->as_array()) texts.push_back(text.as_string());
  const Value::Array& variants = expected.Find("variants")->as_array();
  REQUIRE(variants.size() == 35);
  for (const Value& variant : variants) {
    const std::string name = variant.Find("folder")->as_string();
    INFO(name << " " << ToJson(*variant.Find("files")));
    const fs::path own = Golden("encoder_variants/" + name);
    const fs::path source = fs::exists(own) ? own : fs::path(Golden("encoder_families/" + name));
    const TemporaryFolder folder;
    for (const char* file : {"config.json", "model.safetensors"}) {
      fs::copy_file(source / file, folder.path() / file);
    }
    fs::copy_file(
        Golden("encoder_families/tokenizers/" + variant.Find("tokenizer")->as_string() + ".json"),
        folder.path() / "tokenizer.json");
    WriteText(folder.path() / "modules.json",
              R"([{"type": "sentence_transformers.models.Transformer", "path": ""},
                  {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}])");
    WriteText(folder.path() / "1_Pooling" / "config.json", R"({"pooling_mode": "mean"})");
    WriteText(folder.path() / "tokenizer_config.json",
              StrCat("{\"model_max_length\": ", expected.Find("max_length")->as_int(), "}"));
    for (const auto& [file, members] : variant.Find("files")->as_object()) {
      SetMembers(folder.path() / file, members);
    }
    const auto encoder = Encoder::Load(folder.path().string(), *runtime);
    REQUIRE_OK(encoder);
    const Embeddings embeddings = EncodeAll(**encoder, texts);
    for (size_t i = 0; i < texts.size(); ++i) {
      std::vector<float> want;
      for (const Value& x : variant.Find("vectors")->as_array()[i].as_array()) {
        want.push_back(static_cast<float>(x.as_double()));
      }
      INFO(texts[i]);
      REQUIRE(want.size() == embeddings.vectors.cols());
      CHECK(Cosine(embeddings.vectors.row(i), want) >= 0.9999);
    }
  }
}

TEST_CASE("Windows that no layer can have are refused by their key") {
  const auto runtime = MakeRuntime();
  const auto refused = [&](const char* family, const char* members, const char* words) {
    const GoldenFolder folder(StrCat("encoder_families/", family));
    fs::copy_file(Golden("encoder_families/tokenizers/unigram.json"),
                  folder.path() / "tokenizer.json", fs::copy_options::overwrite_existing);
    SetMembers(folder.path() / "config.json", ParseOk(members));
    const auto encoder = folder.Load(*runtime);
    INFO(family << " " << members);
    REQUIRE_FALSE(encoder.ok());
    CHECK_THAT(encoder.status().ToString(), Catch::Contains(words));
  };
  refused("mistral", R"({"sliding_window": 0})", "'sliding_window' 0");
  refused("mistral", R"({"sliding_window": -3})", "'sliding_window' -3");
  refused("mistral", R"({"sliding_window": 1e9})", "'sliding_window' is a double");
  refused("mistral", R"({"layer_types": ["full_attention"]})", "'layer_types' is no list of 3");
  refused("mistral", R"({"layer_types": "sliding_attention"})", "'layer_types' is no list of 3");
  refused("qwen3", R"({"layer_types": ["sliding_attention", "full_attention", "full_attention"]})",
          "'use_sliding_window' is not true");
  refused("qwen2", R"({"max_window_layers": -1})", "'max_window_layers' -1");
  refused("qwen2", R"({"use_sliding_window": "yes"})", "use_sliding_window");
  refused("modernbert", R"({"sliding_window": 0})", "'sliding_window' 0");
}

TEST_CASE("Settings that would change the reference's vectors are refused by their key") {
  const auto runtime = MakeRuntime();
  const GoldenFolder folder("encoder_variants/mobilebert-square");
  fs::copy_file(Golden("encoder_families/tokenizers/word_piece.json"),
                folder.path() / "tokenizer.json");
  REQUIRE_OK(folder.Load(*runtime));
  const auto refused = [&](const char* file, const char* members, const char* words) {
    const std::string before =
        fs::exists(folder.path() / file) ? ReadAll(folder.path() / file) : "{}";
    SetMembers(folder.path() / file, ParseOk(members));
    const auto encoder = folder.Load(*runtime);
    INFO(members);
    REQUIRE_FALSE(encoder.ok());
    CHECK_THAT(encoder.status().ToString(), Catch::Contains(words));
    folder.Write(file, before);
  };
  refused("config.json", R"({"normalization_type": "layer_norm", "layer_norm_eps": 0.1})",
          "layer_norm_eps 0.1");
  refused("tokenizer_config.json", R"({"truncation_side": "middle"})", "truncation_side");
  refused("tokenizer_config.json", R"({"do_lower_case": "no"})", "do_lower_case");
  refused("tokenizer_config.json",
          R"({"added_tokens_decoder": {"77": {"content": "no such piece"}}})",
          "'no such piece' the id 77, and transformers 600");
  refused("tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "no piece"}}})",
          "'x' is no id");
  refused("tokenizer_config.json", R"({"added_tokens_decoder": []})", "added_tokens_decoder");
  refused("sentence_bert_config.json", R"({"processing_kwargs": {"text": {"truncation": false}}})",
          "processing_kwargs");
  refused("sentence_bert_config.json", R"({"config_args": {"hidden_act": "relu"}})", "config_args");
  folder.Write("sentence_bert_config.json", R"({"config_args": {"trust_remote_code": true}})");
  REQUIRE_OK(folder.Load(*runtime));
  WriteText(folder.path() / "1_Pooling" / "config.json", R"({"pooling_mode": "mean"})");
  folder.Write("modules.json",
               R"([{"type": "sentence_transformers.models.Transformer", "path": ""},
                   {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"},
                   {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}])");
  CHECK_THAT(folder.Load(*runtime).status().ToString(), Catch::Contains("Pooling' behind others"));
}

}  // namespace
}  // namespace rag::test
