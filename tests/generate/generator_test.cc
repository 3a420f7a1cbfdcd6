// Generator on tiny random models: determinism, streaming, limits, cancelling.
#include "generate/generator.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <thread>

#include "tests/generate/chat_model.h"
#include "tests/support/support.h"

namespace rag {
namespace {

struct Model {
  explicit Model(const GeneratorOptions& options = {}) {
    test::WriteRandomModel(test::ChatModel(test::kChatMl), folder.file("tiny.gguf"));
    auto loaded = Generator::Load(folder.file("tiny.gguf"), options, *runtime);
    REQUIRE_OK(loaded);
    generator = std::move(loaded).value();
  }
  GenerateRequest Request(uint64_t seed, size_t max_tokens = 40) const {
    GenerateRequest request;
    request.prompt = *generator->EncodePrompt("Some words to begin with");
    request.max_tokens = max_tokens;
    request.sampling = {.temperature = 1.5, .top_k = 200, .top_p = 0.99, .seed = seed};
    return request;
  }
  GenerateResult Generate(const GenerateRequest& request) const {
    const auto result = generator->Generate(request);
    REQUIRE_OK(result);
    return *result;
  }

  test::TemporaryFolder folder;
  std::unique_ptr<Runtime> runtime = test::MakeRuntime("", 2);
  std::unique_ptr<Generator> generator;
};

// A request whose output is some text long enough to look into.
GenerateRequest Talkative(const Model& model) {
  for (uint64_t seed = 1;; ++seed) {
    REQUIRE(seed < 50);
    const GenerateRequest request = model.Request(seed);
    if (model.Generate(request).text.size() > 20) return request;
  }
}

TEST_CASE("equal seeds give equal outputs, streamed or not, and other seeds others") {
  const Model model;
  const GenerateRequest request = Talkative(model);
  const GenerateResult first = model.Generate(request);
  CHECK(first.prompt_tokens == request.prompt.size());
  std::string streamed;
  size_t pieces = 0;
  const auto collect = [&](std::string_view text) {
    streamed += text;
    ++pieces;
    return true;
  };
  const Generator::TokenCallback on_text(collect);
  const auto second = model.generator->Generate(request, &on_text);
  REQUIRE_OK(second);
  CHECK(second->tokens == first.tokens);
  CHECK(second->text == first.text);
  CHECK(streamed == first.text);
  CHECK(pieces > 5);
  GenerateRequest other = request;
  other.sampling.seed += 1000;
  CHECK(model.Generate(other).tokens != first.tokens);
}

TEST_CASE("a stop string ends the output before it, wherever the tokens are cut") {
  const Model model;
  GenerateRequest request = Talkative(model);
  const std::string whole = model.Generate(request).text;
  size_t tried = 0;
  for (size_t at = 0; at + 3 <= whole.size(); ++at) {
    const std::string stop = whole.substr(at, 3);
    // A stop string is UTF-8: not one that cuts through a character.
    if (std::any_of(stop.begin(), stop.end(), [](char c) { return c < 0; })) continue;
    if (++tried > 8) break;
    request.stop = {"never \xE2\x82\xAC there", stop};
    std::string streamed;
    const auto collect = [&](std::string_view text) {
      streamed += text;
      return true;
    };
    const Generator::TokenCallback on_text(collect);
    const auto result = model.generator->Generate(request, &on_text);
    REQUIRE_OK(result);
    CHECK(result->finish_reason == FinishReason::kStop);
    CHECK(result->text == whole.substr(0, whole.find(stop)));
    CHECK(streamed == result->text);
  }
  CHECK(tried > 0);
}

TEST_CASE("max_tokens and the context bound the output") {
  const Model model({.context_tokens = 40});
  CHECK(model.generator->info().context_tokens == 40);
  GenerateRequest request = Talkative(model);
  request.max_tokens = 3;
  const GenerateResult three = model.Generate(request);
  CHECK(three.tokens.size() == 3);
  CHECK(three.finish_reason == FinishReason::kLength);
  request.max_tokens = 0;
  CHECK(model.Generate(request).tokens.empty());
  request.max_tokens = 1000;
  CHECK(model.Generate(request).tokens.size() <= 41 - request.prompt.size());
  request.prompt.assign(41, 20);
  const Status status = model.generator->Generate(request).status();
  CHECK(status.code() == StatusCode::kOutOfRange);
  CHECK_THAT(status.message(), Catch::Matchers::Contains("41 tokens"));
  CHECK_THAT(status.message(), Catch::Matchers::Contains("--context-tokens"));
}

TEST_CASE("what does not fit in the context says which option makes it larger") {
  const std::string option = "; --context-tokens (context_tokens) makes it larger, ";
  GeneratorInfo info;
  info.context_tokens = 512;
  info.trained_context = 2048;
  info.largest_context = 1 << 24;
  CHECK(LargerContext(info) == option + "up to the 2048 tokens that the model was trained for");
  info.context_tokens = 2048;
  CHECK(LargerContext(info) == option + "though the model was trained for 2048 tokens");
  info.largest_context = 2048;  // its positions are learned
  CHECK(LargerContext(info).empty());
}

TEST_CASE("a callback that returns false ends the generation") {
  const Model model;
  const GenerateRequest request = Talkative(model);
  size_t calls = 0;
  const auto refuse = [&](std::string_view) {
    ++calls;
    return false;
  };
  const Generator::TokenCallback on_text(refuse);
  const auto result = model.generator->Generate(request, &on_text);
  REQUIRE_OK(result);
  CHECK(result->finish_reason == FinishReason::kCancelled);
  CHECK(calls == 1);
}

TEST_CASE("a cancelled token ends the generation within a step") {
  const Model model;
  const GenerateRequest request = Talkative(model);
  CancelToken before;
  before.Cancel();
  const auto none = model.generator->Generate(request, nullptr, &before);
  REQUIRE_OK(none);
  CHECK(none->finish_reason == FinishReason::kCancelled);
  CHECK(none->tokens.empty());

  CancelToken during;
  size_t calls = 0;
  const auto cancel = [&](std::string_view) {
    if (++calls == 2) during.Cancel();
    return true;
  };
  const Generator::TokenCallback on_text(cancel);
  const auto some = model.generator->Generate(request, &on_text, &during);
  REQUIRE_OK(some);
  CHECK(some->finish_reason == FinishReason::kCancelled);
  CHECK(calls == 2);
  CHECK(some->text.size() < model.Generate(request).text.size());
}

TEST_CASE("requests that cannot be are named") {
  const Model model;
  GenerateRequest request = model.Request(1);
  const auto code = [&] { return model.generator->Generate(request).status().code(); };
  request.prompt.clear();
  CHECK(code() == StatusCode::kInvalidArgument);
  request.prompt = {1, 384};
  CHECK(code() == StatusCode::kInvalidArgument);
  request.prompt = {-1};
  CHECK(code() == StatusCode::kInvalidArgument);
  request.prompt = {1};
  request.stop = {""};
  CHECK(code() == StatusCode::kInvalidArgument);
  request.stop.clear();
  request.sampling.top_p = 0;
  CHECK(code() == StatusCode::kInvalidArgument);
  CHECK(model.generator->Score({}).status().code() == StatusCode::kInvalidArgument);
  const std::vector<TokenId> one = {5};
  CHECK(model.generator->Score(one)->empty());
}

TEST_CASE("a prompt's beginning that an earlier text had is not run again, and nothing changes") {
  const Model model({.context_tokens = 400});
  GenerateRequest request = model.Request(3, 20);
  for (TokenId i = 0; i < 200; ++i) request.prompt.push_back(270 + i * 7 % 90);
  const auto fresh = [&] { return Model({.context_tokens = 400}).Generate(request); };
  const GenerateResult first = model.Generate(request);
  CHECK(first.cached_tokens == 0);
  const GenerateResult again = model.Generate(request);
  CHECK(again.cached_tokens == request.prompt.size() - 1);
  CHECK(again.tokens == first.tokens);
  // Not at the border of a block.
  request.prompt[150] = 271;
  const GenerateResult changed = model.Generate(request);
  CHECK(changed.cached_tokens == 150);
  CHECK(changed.tokens == fresh().tokens);
  request.prompt.resize(128);
  const GenerateResult shorter = model.Generate(request);
  CHECK(shorter.cached_tokens == 127);
  CHECK(shorter.tokens == fresh().tokens);
  // Of a conversation that goes on, the answer is there too.
  request.prompt.insert(request.prompt.end(), shorter.tokens.begin(), shorter.tokens.end());
  const size_t so_far = request.prompt.size();
  request.prompt.insert(request.prompt.end(), 10, 275);
  const GenerateResult next = model.Generate(request);
  CHECK(next.cached_tokens >= so_far - 1);  // the last token was drawn, but not run
  CHECK(next.tokens == fresh().tokens);
  // What a cancelled request left half done is not taken for whole.
  CancelToken cancel;
  cancel.Cancel();
  request.prompt[3] = 299;
  REQUIRE_OK(model.generator->Generate(request, nullptr, &cancel));
  CHECK(model.Generate(request).tokens == fresh().tokens);
}

TEST_CASE("calls of several threads give what they give alone") {
  const Model model;
  std::vector<std::vector<TokenId>> expected;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    expected.push_back(model.Generate(model.Request(seed, 12)).tokens);
  }
  std::vector<std::vector<TokenId>> found(3);
  std::vector<std::thread> threads;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    threads.emplace_back([&, seed] {
      const auto result = model.generator->Generate(model.Request(seed, 12));
      if (result.ok()) found[seed] = result->tokens;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(found == expected);
}

}  // namespace
}  // namespace rag
