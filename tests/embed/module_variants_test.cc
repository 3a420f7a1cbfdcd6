// Settings of the modules behind a network, against sentence-transformers
// (tests/golden/module_variants/make_variants.py).
#include "tests/embed/encoder_support.h"

namespace rag::test {
namespace {

namespace fs = std::filesystem;

Value ParseOk(const std::string& text) {
  auto json = ParseJson(text);
  REQUIRE_OK(json);
  return std::move(json).value();
}

// The folder that the variants change.
class DenseFolder : public GoldenFolder {
 public:
  DenseFolder() : GoldenFolder("encoder_families/dense") {
    fs::copy_file(Golden("encoder_families/tokenizers/word_piece.json"), path() / "tokenizer.json");
  }
  void Set(const std::string& file, const Value& members) const {
    if (members.is_null()) {
      fs::remove(path() / file);
      return;
    }
    Value json = ParseOk(ReadAll(path() / file));
    for (const auto& [key, value] : members.as_object()) json.as_object().Set(key, value);
    Write(file, ToJson(json));
  }
};

TEST_CASE("Settings of modules beside the usual ones give the reference's vectors") {
  const auto runtime = MakeRuntime();
  const Value expected = ParseOk(ReadAll(Golden("module_variants/expected.json")));
  std::vector<std::string> texts;
  for (const Value& text : expected.Find("texts")->as_array()) texts.push_back(text.as_string());
  REQUIRE(expected.Find("variants")->as_array().size() == 15);
  for (const Value& variant : expected.Find("variants")->as_array()) {
    INFO(ToJson(*variant.Find("files")));
    const DenseFolder folder;
    for (const auto& [file, members] : variant.Find("files")->as_object()) {
      folder.Set(file, members);
    }
    const auto encoder = folder.Load(*runtime);
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

TEST_CASE("Settings of modules that would change the reference's vectors are refused") {
  const auto runtime = MakeRuntime();
  const auto refused = [&](const char* file, const char* members, const char* words) {
    const DenseFolder folder;
    folder.Set(file, ParseOk(members));
    const auto encoder = folder.Load(*runtime);
    INFO(members);
    REQUIRE_FALSE(encoder.ok());
    CHECK_THAT(encoder.status().ToString(), Catch::Contains(words));
  };
  // The reference takes Tanh instead of these.
  for (const char* name :
       {"gelu", "ReLU", "transformers.activations.NewGELUActivation", "torch.nn.Softmax",
        "torch.nn.modules.activation.Identity", "torch.nn.modules.activation.", ""}) {
    refused("2_Dense/config.json", StrCat(R"({"activation_function": ")", name, "\"}").c_str(),
            "activation");
  }
  constexpr const char* kText = "sentence_bert_config.json";
  refused(kText, R"({"processing_kwargs": {"text": {"max_length": 4}}})", "processing_kwargs");
  refused(kText, R"({"processing_kwargs": {"common": {"x": 1}}})", "processing_kwargs");
  refused(kText, R"({"processing_kwargs": {"chat_template": 3}})", "processing_kwargs");
  refused(kText, R"({"processing_kwargs": []})", "processing_kwargs");
  refused(kText, R"({"modality_config": {"message": {"method": "forward"}}})", "modality_config");
}

}  // namespace
}  // namespace rag::test
