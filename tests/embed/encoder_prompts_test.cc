// Prompts of config_sentence_transformers.json, against sentence-transformers
// (tests/golden/prompts/make_prompts.py).
#include <set>

#include "tests/embed/encoder_support.h"

namespace rag::test {
namespace {

constexpr const char* kFile = "config_sentence_transformers.json";
constexpr TextRole kRoles[] = {TextRole::kPlain, TextRole::kQuery, TextRole::kDocument};

// A copy of the default model without its weights, which are linked.
void CopyModel(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::filesystem::create_directories(to / "1_Pooling");
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    if (!entry.is_regular_file()) continue;
    const auto target = to / entry.path().filename();
    if (entry.path().extension() == ".safetensors") {
      std::filesystem::create_symlink(std::filesystem::canonical(entry.path()), target);
    } else {
      std::filesystem::copy_file(entry.path(), target);
    }
  }
}

TEST_CASE("each role's prompt gives the reference's vectors, pooled or not") {
  const auto model = DefaultEncoderFolder();
  if (!model.has_value()) RAG_SKIP("the default model is not set up");
  const TemporaryFolder scratch;
  const auto folder = scratch.path() / "model";
  CopyModel(*model, folder);
  WriteText(folder / kFile, ReadAll(Golden(StrCat("prompts/", kFile))));
  const Result<Value> json = ParseJson(ReadAll(Golden("prompts/texts.json")));
  REQUIRE_OK(json);
  std::vector<std::string> texts;
  for (const Value& text : json->as_array()) texts.push_back(text.as_string());
  const std::string halves = ReadAll(Golden("prompts/vectors.f16"));
  const auto runtime = MakeRuntime();
  std::vector<std::vector<float>> plain;
  size_t at = 0;
  for (const bool include_prompt : {true, false}) {
    WriteText(folder / "1_Pooling/config.json",
              StrCat("{\"pooling_mode_mean_tokens\": true, \"include_prompt\": ",
                     include_prompt ? "true" : "false", "}"));
    const auto encoder = Encoder::Load(folder.string(), *runtime);
    REQUIRE_OK(encoder);
    const EncoderInfo& info = (*encoder)->info();
    REQUIRE(halves.size() == 2 * std::size(kRoles) * texts.size() * info.dim * sizeof(uint16_t));
    CHECK(info.prompt(TextRole::kQuery).text == "query: ");
    CHECK(info.prompt(TextRole::kQuery).tokens == 2);
    CHECK(info.prompt(TextRole::kDocument).text == "Passage of a document: ");
    CHECK(info.prompt(TextRole::kPlain).text == "Identify the topic: ");
    for (const TextRole role : kRoles) {
      const Embeddings embeddings = EncodeAll(**encoder, texts, role);
      for (size_t i = 0; i < texts.size(); ++i) {
        std::vector<float> expected(info.dim);
        for (float& value : expected) {
          uint16_t half;
          std::memcpy(&half, halves.data() + at, sizeof(half));
          at += sizeof(half);
          value = HalfToFloat(half);
        }
        INFO(TextRoleName(role) << ", text " << i << ", include_prompt " << include_prompt);
        CHECK(Cosine(embeddings.vectors.row(i), expected) >= 0.9999);
      }
      CHECK(embeddings.truncated.back() > 0);
    }
  }
}

EncoderPrompt PromptOf(const EncoderFolder& folder, const Runtime& runtime, TextRole role) {
  const auto encoder = folder.Load(runtime);
  REQUIRE_OK(encoder);
  return (*encoder)->info().prompt(role);
}

TEST_CASE("names of prompts are looked up as sentence-transformers documents them") {
  const auto runtime = MakeRuntime();
  const EncoderFolder folder("bert");
  for (const TextRole role : kRoles) CHECK(PromptOf(folder, *runtime, role).text.empty());
  folder.Write(kFile, R"({"prompts": {"corpus": "c", "passage": "p", "document": "d"}})");
  CHECK(PromptOf(folder, *runtime, TextRole::kDocument).text == "d");
  CHECK(PromptOf(folder, *runtime, TextRole::kQuery).text.empty());
  CHECK(PromptOf(folder, *runtime, TextRole::kPlain).text.empty());
  folder.Write(kFile,
               R"({"prompts": {"corpus": "c", "passage": "p"}, "default_prompt_name": null})");
  CHECK(PromptOf(folder, *runtime, TextRole::kDocument).text == "p");
  folder.Write(kFile,
               R"({"prompts": {"query": null, "corpus": "c"}, "default_prompt_name": "query"})");
  CHECK(PromptOf(folder, *runtime, TextRole::kDocument).text == "c");
  CHECK(PromptOf(folder, *runtime, TextRole::kPlain).text.empty());
}

TEST_CASE("a caller's prompts stand in for the model's") {
  const auto runtime = MakeRuntime();
  const EncoderFolder folder("bert");
  folder.Write(kFile, R"({"prompts": {"query": "the cat ", "document": "a mat "}})");
  const auto own = folder.Load(*runtime);
  REQUIRE_OK(own);
  EncoderOptions options;
  options.prompts[static_cast<size_t>(TextRole::kQuery)] = "rights and ";
  const auto given = Encoder::Load(folder.path().string(), *runtime, options);
  REQUIRE_OK(given);
  CHECK((*given)->info().prompt(TextRole::kQuery).text == "rights and ");
  CHECK((*given)->info().prompt(TextRole::kDocument).text == "a mat ");
  CHECK((*given)->info().fingerprint != (*own)->info().fingerprint);
  // As if the file said so.
  folder.Write(kFile, R"({"prompts": {"query": "rights and ", "document": "a mat "}})");
  const auto by_file = folder.Load(*runtime);
  REQUIRE_OK(by_file);
  CHECK((*given)->info().fingerprint == (*by_file)->info().fingerprint);
  const Embeddings a = EncodeAll(**given, {"freedom"}, TextRole::kQuery);
  const Embeddings b = EncodeAll(**by_file, {"freedom"}, TextRole::kQuery);
  const Embeddings c = EncodeAll(**own, {"freedom"}, TextRole::kQuery);
  CHECK(std::equal(a.vectors.row(0).begin(), a.vectors.row(0).end(), b.vectors.row(0).begin()));
  CHECK_FALSE(
      std::equal(a.vectors.row(0).begin(), a.vectors.row(0).end(), c.vectors.row(0).begin()));
}

TEST_CASE("prompts that cannot be used are refused, naming file and prompt") {
  const auto runtime = MakeRuntime();
  const EncoderFolder folder("bert");
  const auto refused = [&](const std::string& text, const std::string& word) {
    folder.Write(kFile, text);
    const auto encoder = folder.Load(*runtime);
    REQUIRE_FALSE(encoder.ok());
    INFO(encoder.status().ToString());
    CHECK(encoder.status().code() == StatusCode::kInvalidArgument);
    CHECK(encoder.status().message().find(word) != std::string::npos);
  };
  refused("[]", kFile);
  refused(R"({"prompts": []})", "'prompts' is a");
  refused(R"({"prompts": {"query": 3}})", "prompt 'query'");
  refused(R"({"prompts": {"query": "q"}, "default_prompt_name": "absent"})", "'absent'");
  refused(R"({"prompts": {"query": "q"}, "default_prompt_name": 1})", "default_prompt_name");
  std::string words;
  for (int i = 0; i < 50; ++i) words += "cat ";
  refused(StrCat("{\"prompts\": {\"query\": \"", words, "\"}}"), "role 'query'");
}

TEST_CASE("prompts are part of the fingerprint, versions beside them are not") {
  const auto runtime = MakeRuntime();
  const EncoderFolder folder("bert");
  const auto fingerprint = [&](const std::string& text) {
    folder.Write(kFile, text);
    const auto encoder = folder.Load(*runtime);
    REQUIRE_OK(encoder);
    return (*encoder)->info().fingerprint;
  };
  const std::string none = fingerprint("{}");
  CHECK(fingerprint(R"({"__version__": {"torch": "2"}, "prompts": {"query": ""}})") == none);
  std::set<std::string> seen = {none};
  for (const char* prompts :
       {R"({"query": "a "})", R"({"query": "b "})", R"({"document": "a "})"}) {
    CHECK(seen.insert(fingerprint(StrCat("{\"prompts\": ", prompts, "}"))).second);
  }
}

}  // namespace
}  // namespace rag::test
