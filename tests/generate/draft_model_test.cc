// A draft model's guesses change nothing but the number of steps.
#include "generate/draft_model.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <map>
#include <random>
#include <thread>

#include "generate/generator.h"
#include "generate/quantize.h"
#include "tests/generate/chat_model.h"
#include "tests/support/support.h"

namespace rag {
namespace {

test::RandomModel TargetModel() {
  test::RandomModel model = test::ChatModel("");
  model.type = DType::kF32;
  model.layers = 2;
  model.context = 400;
  return model;
}

// A target and, as its draft, itself with 4-bit weights: they agree often, not always.
struct Models {
  explicit Models(GeneratorOptions options = {}, bool draft = true) {
    test::WriteRandomModel(TargetModel(), folder.file("target.gguf"));
    if (draft) {
      REQUIRE_OK(QuantizeModel(folder.file("target.gguf"), folder.file("draft.gguf"),
                               {.type = "Q4_0"}, *runtime));
      options.draft_model = folder.file("draft.gguf");
      options.draft_min_probability = 0;  // random weights are never sure
    }
    generator = Load(options);
  }
  std::unique_ptr<Generator> Load(const GeneratorOptions& options) const {
    auto loaded = Generator::Load(folder.file("target.gguf"), options, *runtime);
    REQUIRE_OK(loaded);
    return std::move(loaded).value();
  }

  test::TemporaryFolder folder;
  std::unique_ptr<Runtime> runtime = test::MakeRuntime();
  std::unique_ptr<Generator> generator;
};

std::vector<GenerateRequest> RandomRequests(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < count; ++i) {
    GenerateRequest request;
    request.prompt = {1};
    for (size_t j = 0; j < 5 + random() % 120; ++j) {
      request.prompt.push_back(static_cast<TokenId>(265 + random() % 90));
    }
    request.max_tokens = 1 + random() % 60;
    request.sampling.logit_bias = {{2, -100.0}};
    const size_t kind = i % 4;
    if (kind == 1) request.sampling.temperature = 0.3;
    if (kind == 2) request.sampling = {.temperature = 0.2, .top_k = 5, .repetition_penalty = 1.2};
    if (kind == 3) {
      request.max_tokens += 20;
      request.constraint = {OutputConstraint::Kind::kRegex, "(ab|cd){2,40}", {}};
    }
    request.sampling.seed = random();
    request.stop = {"qqq"};
    request.logprobs = i % 2 == 0;
    requests.push_back(std::move(request));
  }
  return requests;
}

void CheckSame(const GenerateResult& found, const GenerateResult& expected) {
  CHECK(found.tokens == expected.tokens);
  CHECK(found.text == expected.text);
  CHECK(found.finish_reason == expected.finish_reason);
  REQUIRE(found.logprobs.size() == expected.logprobs.size());
  for (size_t i = 0; i < found.logprobs.size(); ++i) {
    CHECK(found.logprobs[i].chosen.logprob == expected.logprobs[i].chosen.logprob);
  }
}

std::vector<GenerateResult> RunAll(Generator& generator,
                                   const std::vector<GenerateRequest>& requests) {
  std::vector<Result<GenerateResult>> results(requests.size(), InternalError("not run"));
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < requests.size(); ++i) {
      threads.emplace_back([&, i] { results[i] = generator.Generate(requests[i]); });
    }
  }
  std::vector<GenerateResult> out;
  for (auto& result : results) {
    REQUIRE_OK(result);
    out.push_back(std::move(result).value());
  }
  return out;
}

// Nothing runs any more: what is used is what is kept.
void CheckNoLeak(const Generator& generator) {
  const GeneratorActivity activity = generator.activity();
  CHECK(activity.running == 0);
  CHECK(activity.cache_sequence_blocks == 0);
  CHECK(activity.cache_used_blocks == activity.cache_kept_blocks);
  CHECK(activity.cache_bytes <= activity.cache_max_bytes);
}

TEST_CASE("with a draft model every output is what it is without one") {
  const auto requests = RandomRequests(test::Workload(40, 12, "requests"), 17);
  const Models plain({.context_tokens = 400}, /*draft=*/false);
  const Models drafted({.context_tokens = 400});
  std::vector<GenerateResult> expected;
  size_t guessed = 0;
  size_t tokens = 0;
  for (const GenerateRequest& request : requests) {
    const auto without = plain.generator->Generate(request);
    const auto with = drafted.generator->Generate(request);
    REQUIRE_OK(without);
    REQUIRE_OK(with);
    CheckSame(*with, *without);
    CHECK(without->guessed_tokens == 0);
    guessed += with->guessed_tokens;
    tokens += with->tokens.size();
    expected.push_back(*without);
  }
  // Greedy outputs alone would give a third of all.
  CHECK(guessed > tokens / 5);
  const auto together = RunAll(*drafted.generator, requests);
  for (size_t i = 0; i < requests.size(); ++i) CheckSame(together[i], expected[i]);
  CheckNoLeak(*drafted.generator);
}

TEST_CASE("a draft model's cache is within the limit, and gives way as the decoder's does") {
  const auto requests = RandomRequests(test::Workload(40, 12, "requests"), 23);
  const Models plain({.context_tokens = 256}, /*draft=*/false);
  std::vector<GenerateResult> expected;
  for (const GenerateRequest& request : requests) {
    const auto result = plain.generator->Generate(request);
    REQUIRE_OK(result);
    expected.push_back(*result);
  }
  // A context of both takes 8 blocks each, of 2 layers * 2 * 32 elements * 32 tokens.
  const size_t one = 8 * 2 * (2 * 2 * 32 * 32 * sizeof(float));
  const Models small({.context_tokens = 256, .cache_bytes = one + one / 4});
  for (int round = 0; round < 2; ++round) {
    const auto found = RunAll(*small.generator, requests);
    for (size_t i = 0; i < requests.size(); ++i) CheckSame(found[i], expected[i]);
    CheckNoLeak(*small.generator);
  }
  CHECK(small.generator->activity().cache_max_bytes <= one + one / 4);
  auto refused = Generator::Load(small.folder.file("target.gguf"),
                                 {.context_tokens = 256,
                                  .draft_model = small.folder.file("draft.gguf"),
                                  .cache_bytes = one - 1},
                                 *small.runtime);
  CHECK(refused.status().code() == StatusCode::kResourceExhausted);
}

TEST_CASE("tokens after guesses are drawn as the model says") {
  // After a fixed first token, the second one is a guessed place.
  const Models drafted({.context_tokens = 100});
  GenerateRequest request;
  request.prompt = {1, 270, 280, 290, 300};
  request.max_tokens = 3;
  request.sampling = {.temperature = 0.25, .top_k = 8};
  request.logprobs = true;
  request.top_logprobs = 8;
  std::map<TokenId, size_t> counts;  // of the second token after the commonest first one
  std::map<TokenId, double> expected;
  GenerateRequest greedy = request;
  greedy.sampling = {};
  const auto first = drafted.generator->Generate(greedy);
  REQUIRE_OK(first);
  const TokenId given = first->tokens[0];
  double sum = 0;
  for (const TokenLogprob& candidate : first->logprobs[1].top) {
    expected[candidate.id] = std::exp(static_cast<double>(candidate.logprob) / 0.25);
    sum += expected[candidate.id];
  }
  size_t drawn = 0;
  size_t guessed = 0;
  const size_t runs = test::Workload(4000, 1500, "generations");
  for (size_t seed = 0; seed < runs; ++seed) {
    request.sampling.seed = seed;
    const auto result = drafted.generator->Generate(request);
    REQUIRE_OK(result);
    guessed += result->guessed_tokens;
    if (result->tokens[0] != given) continue;
    ++drawn;
    ++counts[result->tokens[1]];
  }
  CHECK(guessed > runs / 10);
  CHECK(drawn > runs / 12);
  double chi_squared = 0;
  for (const auto& [id, weight] : expected) {
    const double mean = weight / sum * static_cast<double>(drawn);
    chi_squared +=
        (static_cast<double>(counts[id]) - mean) * (static_cast<double>(counts[id]) - mean) / mean;
  }
  // Of 7 degrees of freedom: exceeded once in 1,000.
  CHECK(chi_squared < 24.3);
  for (const auto& [id, count] : counts) CHECK(expected.count(id) == 1);
}

TEST_CASE("a draft model of another vocabulary, or none, is refused") {
  const Models models({}, /*draft=*/false);
  const auto load = [&](const GeneratorOptions& options) {
    return Generator::Load(models.folder.file("target.gguf"), options, *models.runtime).status();
  };
  const std::string path = models.folder.file("other.gguf");
  const auto write = [&](size_t vocabulary, const std::string& change) {
    test::RandomModel model = TargetModel();
    model.vocabulary = vocabulary;
    model.more = [=](test::GgufWriter& writer) {
      test::AddChatVocabulary(writer, vocabulary, change);
    };
    test::WriteRandomModel(model, path);
  };
  write(test::kChatVocabulary, "changed");
  const Status other = load({.draft_model = path});
  CHECK(other.code() == StatusCode::kInvalidArgument);
  CHECK(other.message().find("token 300") != std::string::npos);
  CHECK(other.message().find("'changed'") != std::string::npos);
  write(test::kChatVocabulary + 1025, "");
  const Status longer = load({.draft_model = path});
  CHECK(longer.code() == StatusCode::kInvalidArgument);
  CHECK(longer.message().find("1409 tokens") != std::string::npos);
  CHECK(load({.draft_model = models.folder.file("none.gguf")}).code() == StatusCode::kNotFound);
  CHECK(
      load({.draft_model = models.folder.file("target.gguf"), .draft_min_probability = 1}).code() ==
      StatusCode::kInvalidArgument);
}

TEST_CASE("a draft model may have a shorter context, and another filling of the vocabulary") {
  const Models plain({.context_tokens = 300}, /*draft=*/false);
  for (const size_t vocabulary : {test::kChatVocabulary - 20, test::kChatVocabulary + 16}) {
    test::RandomModel model = TargetModel();
    model.vocabulary = vocabulary;
    model.context = 64;
    model.more = [=](test::GgufWriter& writer) { test::AddChatVocabulary(writer, vocabulary); };
    test::WriteRandomModel(model, plain.folder.file("draft.gguf"));
    const auto drafted = plain.Load({.context_tokens = 300,
                                     .draft_model = plain.folder.file("draft.gguf"),
                                     .draft_min_probability = 0});
    for (const GenerateRequest& request : RandomRequests(8, 41)) {
      const auto without = plain.generator->Generate(request);
      const auto with = drafted->Generate(request);
      REQUIRE_OK(without);
      REQUIRE_OK(with);
      CheckSame(*with, *without);
    }
    CheckNoLeak(*drafted);
  }
}

TEST_CASE("a generation that is given up lets go of the draft model's cache") {
  const Models models({.context_tokens = 400});
  for (int i = 0; i < 8; ++i) {
    CancelToken cancel;
    GenerateRequest request = RandomRequests(1, static_cast<uint32_t>(i))[0];
    request.max_tokens = 300;
    std::jthread canceller([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(2 * i));
      cancel.Cancel();
    });
    const auto result = models.generator->Generate(request, nullptr, &cancel);
    REQUIRE_OK(result);
  }
  // What is given up is let go of within a step; the next request is after that.
  REQUIRE_OK(models.generator->Generate(RandomRequests(1, 99)[0]));
  CheckNoLeak(*models.generator);
}

TEST_CASE("of a trained model most of what it says is guessed by its 8-bit copy") {
  const auto data = test::SharedData("models");
  if (!data) RAG_SKIP("the data set models is not here");
  const std::string path = (*data / "stories260K" / "stories260K.gguf").string();
  const test::TemporaryFolder folder;
  const auto runtime = test::MakeRuntime();
  REQUIRE_OK(QuantizeModel(path, folder.file("draft.gguf"), {.type = "Q8_0"}, *runtime));
  const auto plain = Generator::Load(path, {.context_tokens = 512}, *runtime);
  const auto drafted = Generator::Load(
      path, {.context_tokens = 512, .draft_model = folder.file("draft.gguf")}, *runtime);
  REQUIRE_OK(plain);
  REQUIRE_OK(drafted);
  size_t guessed = 0;
  size_t tokens = 0;
  for (const char* text : {"Once upon a time", "Tom and Lily", "The dog"}) {
    GenerateRequest request;
    request.prompt = *(*plain)->EncodePrompt(text);
    request.max_tokens = 150;
    const auto without = (*plain)->Generate(request);
    const auto with = (*drafted)->Generate(request);
    REQUIRE_OK(without);
    REQUIRE_OK(with);
    CheckSame(*with, *without);
    guessed += with->guessed_tokens;
    tokens += with->tokens.size();
  }
  CHECK(guessed > tokens / 3);
}

}  // namespace
}  // namespace rag
