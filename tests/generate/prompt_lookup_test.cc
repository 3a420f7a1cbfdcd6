// Guesses from what was said before: which ones are made, and that they change nothing but the
// number of steps.
#include "generate/prompt_lookup.h"

#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "generate/generator.h"
#include "tests/generate/chat_model.h"
#include "tests/support/support.h"

namespace rag {
namespace {

TEST_CASE("a guess is what followed the same three tokens, or two, the last time") {
  PromptLookup lookup(8);
  CHECK(lookup.Guess(std::vector<TokenId>{1, 2}, 8).empty());
  std::vector<TokenId> text = {1, 2, 3, 4, 5, 6, 7, 1, 2, 3};
  CHECK(lookup.Guess(text, 8) == std::vector<TokenId>{4, 5});
  // It came true: the next one is longer.
  text.insert(text.end(), {4, 5, 9, 2, 3});
  CHECK(lookup.Guess(text, 8) == std::vector<TokenId>{4, 5, 9, 2});
  text.push_back(4);
  CHECK(lookup.Guess(text, 1) == std::vector<TokenId>{5});
  // Wrong at once: a pause, and then a short one.
  text.insert(text.end(), {8, 2, 3});
  CHECK(lookup.Guess(text, 8).empty());
  text.insert(text.end(), {8, 2, 3});
  CHECK(lookup.Guess(text, 8) == std::vector<TokenId>{8});
}

TEST_CASE("a lookup of nothing guesses nothing") {
  PromptLookup lookup(0);
  CHECK(lookup.Guess(std::vector<TokenId>(50, 7), 8).empty());
}

struct Model {
  explicit Model(size_t draft_tokens) {
    test::WriteRandomModel(test::ChatModel(""), folder.file("tiny.gguf"));
    auto loaded = Generator::Load(folder.file("tiny.gguf"),
                                  {.context_tokens = 400, .draft_tokens = draft_tokens}, *runtime);
    REQUIRE_OK(loaded);
    generator = std::move(loaded).value();
  }
  test::TemporaryFolder folder;
  std::unique_ptr<Runtime> runtime = test::MakeRuntime();
  std::unique_ptr<Generator> generator;
};

// What is drawn at a position comes from the same logits and random numbers whether it was guessed
// or not, so that outputs are not only of the same distribution but the same.
TEST_CASE("with guesses every output is what it is without them") {
  const Model plain(0);
  const Model guessing(8);
  std::mt19937 random(31);
  std::vector<GenerateRequest> requests;
  const size_t wanted = test::Workload(60, 20, "requests");
  for (size_t i = 0; i < wanted; ++i) {
    GenerateRequest request;
    request.prompt = {1};
    const size_t period = 2 + random() % 9;
    for (size_t j = 0; j < 5 + random() % 60; ++j) {
      request.prompt.push_back(static_cast<TokenId>(265 + j % period * 7));
    }
    request.max_tokens = 1 + random() % 90;
    request.sampling.logit_bias = {{2, -100.0}};
    const size_t kind = i % 5;
    if (kind == 1) request.sampling.temperature = 1.0;
    if (kind == 2) request.sampling = {.temperature = 0.7, .top_k = 5, .repetition_penalty = 1.2};
    if (kind == 3) {
      request.sampling.temperature = 1.0;
      request.sampling.mirostat_tau = 2.0;
    }
    if (kind == 4) {
      request.max_tokens += 20;
      request.constraint = {OutputConstraint::Kind::kRegex, "(ab|cd){2,40}", {}};
    }
    request.sampling.seed = random();
    request.stop = {"qqq"};
    request.logprobs = i % 2 == 0;
    requests.push_back(request);
  }
  size_t guessed = 0;
  std::vector<GenerateResult> expected;
  for (const GenerateRequest& request : requests) {
    const auto without = plain.generator->Generate(request);
    const auto with = guessing.generator->Generate(request);
    REQUIRE_OK(without);
    REQUIRE_OK(with);
    CHECK(with->tokens == without->tokens);
    CHECK(with->text == without->text);
    CHECK(with->finish_reason == without->finish_reason);
    REQUIRE(with->logprobs.size() == without->logprobs.size());
    for (size_t i = 0; i < with->logprobs.size(); ++i) {
      CHECK(with->logprobs[i].chosen.logprob == without->logprobs[i].chosen.logprob);
    }
    CHECK(without->guessed_tokens == 0);
    guessed += with->guessed_tokens;
    expected.push_back(*without);
  }
  // Greedy outputs of random weights soon go round in circles.
  CHECK(guessed > 2 * wanted);

  std::vector<std::vector<TokenId>> found(requests.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < requests.size(); ++i) {
    threads.emplace_back([&, i] {
      const auto result = guessing.generator->Generate(requests[i]);
      if (result.ok()) found[i] = result->tokens;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < requests.size(); ++i) CHECK(found[i] == expected[i].tokens);
}

}  // namespace
}  // namespace rag
