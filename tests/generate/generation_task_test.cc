// A generation's draws where the vocabulary does not fill the last word of a constraint's mask.
#include "generate/generation_task.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <limits>
#include <set>

#include "lib/base/file.h"
#include "lib/base/value.h"
#include "tests/generate/chat_model.h"
#include "tests/generate/constraint_support.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

using Kind = OutputConstraint::Kind;

// 17 tokens more than whole words of a mask.
constexpr size_t kTokens = 6 * 64 + 17;

struct OddVocabulary {
  OddVocabulary() {
    test::RandomModel model = test::ChatModel("");
    model.vocabulary = kTokens;
    model.more = [](test::GgufWriter& writer) { test::AddChatVocabulary(writer, kTokens); };
    test::WriteRandomModel(model, folder.file("odd.gguf"));
    auto file = GgufFile::Open(folder.file("odd.gguf"));
    REQUIRE_OK(file);
    auto loaded = Tokenizer::FromGguf(*file);
    REQUIRE_OK(loaded);
    REQUIRE((*loaded)->vocab_size() == kTokens);
    vocabulary = std::make_unique<test::Vocabulary>(std::move(loaded).value());
  }
  test::TemporaryFolder folder;
  std::unique_ptr<test::Vocabulary> vocabulary;
};

// The token that is drawn first of these logits, which become what was left of them; none: an end.
std::optional<TokenId> DrawFirst(const OddVocabulary& odd, const OutputConstraint& constraint,
                                 std::span<float> logits) {
  const std::vector<TokenId> ends = {2};
  const std::vector<bool> breaks;
  GenerateRequest request;
  request.prompt = {1, 300};
  request.sampling.temperature = 0;
  GenerationTask task(request, {odd.vocabulary->tokenizer.get(), &ends, &breaks, 0}, {}, 64,
                      test::MustCompile(constraint, odd.vocabulary->table), false);
  const auto goes_on = task.Take(1, logits);
  REQUIRE_OK(goes_on);
  if (task.history().size() == 2) return std::nullopt;
  return task.history().back();
}

TEST_CASE(
    "a constraint takes and leaves the tokens of its mask's last word, which is no whole one") {
  const OddVocabulary odd;
  // Tokens of the last word are "unused384" to "unused400".
  for (const char* expression :
       {"unused39[0-9]x", "[a-z0-9]{9,20}", "unused(3|400|384).*", "[ab]"}) {
    INFO(expression);
    const OutputConstraint constraint = {Kind::kRegex, expression, {}};
    const auto reference = test::MustCompile(constraint, odd.vocabulary->table);
    std::set<TokenId> allowed;
    for (const auto& [id, bytes] : odd.vocabulary->tokens) {
      const auto fits = reference->Allows(bytes, 63);
      REQUIRE_OK(fits);
      if (*fits) allowed.insert(id);
    }
    REQUIRE(!allowed.empty());
    // Whichever would be drawn without the constraint.
    for (TokenId likeliest = 0; likeliest < static_cast<TokenId>(kTokens); ++likeliest) {
      if (likeliest % 9 != 0 && likeliest < 384) continue;
      std::vector<float> logits(kTokens);
      for (size_t id = 0; id < kTokens; ++id) logits[id] = -1 - static_cast<float>(id % 7);
      logits[static_cast<size_t>(likeliest)] = 1;
      const auto drawn = DrawFirst(odd, constraint, logits);
      REQUIRE(drawn);
      CHECK(allowed.contains(*drawn));
      if (allowed.contains(likeliest)) CHECK(*drawn == likeliest);
    }
  }
}

TEST_CASE("rows of logits beyond a folder's vocabulary are never drawn") {
  const auto runtime = test::MakeRuntime("", 1);
  const test::TemporaryFolder temporary;
  const fs::path golden = test::Golden("decoders");
  const fs::path folder = temporary.path() / "padded";
  fs::copy(golden / "llama3", folder);
  fs::copy(golden / "tokenizer_config.json", folder / "tokenizer_config.json");
  // 81 tokens, a word and 17 more, of a model with 96 rows: the letters from "q" on are none.
  constexpr int64_t kKept = 80;
  auto tokenizer = ParseJson(test::ReadAll(golden / "tokenizer.json"));
  REQUIRE_OK(tokenizer);
  Value::Object& model = tokenizer->as_object().Find("model")->as_object();
  Value::Object kept;
  for (const auto& [piece, id] : model.Find("vocab")->as_object()) {
    if (id.as_int() < kKept) kept.Set(piece, id);
  }
  model.Set("vocab", kept);
  model.Set("merges", Value::Array{});
  tokenizer->as_object().Find("added_tokens")->as_array()[0].as_object().Set("id", kKept);
  REQUIRE_OK(WriteFileAtomic((folder / "tokenizer.json").string(), ToJson(*tokenizer)));
  const auto generator = Generator::Load(folder.string(), {}, *runtime);
  REQUIRE_OK(generator);
  REQUIRE((*generator)->tokenizer().vocab_size() == kKept + 1);
  GenerateRequest request;
  request.prompt = {5, 17};
  request.max_tokens = 24;
  request.sampling.temperature = 3;
  for (const char* expression : {"", "[^\n]{1,40}", "[a-z]*"}) {
    INFO(expression);
    if (*expression != '\0') request.constraint = {Kind::kRegex, expression, {}};
    std::set<TokenId> drawn;
    for (request.sampling.seed = 0; request.sampling.seed < 40; ++request.sampling.seed) {
      const auto result = (*generator)->Generate(request);
      REQUIRE_OK(result);
      drawn.insert(result->tokens.begin(), result->tokens.end());
    }
    REQUIRE(drawn.size() > 5);
    CHECK(*drawn.rbegin() > 64);
    CHECK(*drawn.rbegin() <= kKept);
  }
}

}  // namespace
}  // namespace rag
