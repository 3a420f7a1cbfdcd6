// What of the settings beside a tokenizer an encoder reads, where it differs from a tokenizer's ids
// (tests/lib/tokenizer/tokenizer_variants_test.cc).
#include "tests/embed/encoder_support.h"

namespace rag::test {
namespace {

namespace fs = std::filesystem;

// A folder of BERT with a tokenizer_config.json.
class Settings {
 public:
  Settings() : runtime_(MakeRuntime()), folder_("encoders/bert") {
    fs::remove(folder_.path() / "sentence_bert_config.json");  // it says the length too
  }
  Result<std::unique_ptr<Encoder>> Load(const std::string& settings) {
    folder_.Write("tokenizer_config.json", settings);
    return folder_.Load(*runtime_);
  }
  size_t MaxTokens(const std::string& settings) {
    INFO(settings);
    const auto encoder = Load(settings);
    REQUIRE_OK(encoder);
    return (*encoder)->info().max_tokens;
  }

 private:
  std::unique_ptr<Runtime> runtime_;
  GoldenFolder folder_;
};

TEST_CASE("max_len is the old name of model_max_length") {
  Settings settings;
  const size_t all = settings.MaxTokens("{}");
  CHECK(settings.MaxTokens(R"({"max_len": 16})") == 16);
  CHECK(settings.MaxTokens(R"({"max_len": 1e30})") == all);
  CHECK(settings.MaxTokens(R"({"max_len": 16, "model_max_length": 12})") == 12);
  // As transformers (tokenization_utils_base.py) takes both.
  CHECK(settings.MaxTokens(R"({"max_len": 16, "model_max_length": null})") == all);
  for (const char* wrong : {"0", "-1", "\"16\"", "[]"}) {
    const auto encoder = settings.Load(StrCat(R"({"max_len": )", wrong, "}"));
    INFO(wrong);
    REQUIRE_FALSE(encoder.ok());
    CHECK_THAT(encoder.status().ToString(), Catch::Contains("max_len"));
  }
}

}  // namespace
}  // namespace rag::test
