// Many generations at once: each gives what it gives alone, within the limits, and leaves nothing.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <thread>

#include "generate/generator.h"
#include "generate/kv_pool.h"
#include "tests/generate/chat_model.h"
#include "tests/support/support.h"

namespace rag {
namespace {

constexpr size_t kContext = 256;

struct Model {
  // poison: a token whose embedding is damaged; 0: none.
  explicit Model(const GeneratorOptions& options, DType type = DType::kQ8_0, size_t threads = 2,
                 TokenId poison = 0)
      : runtime(test::MakeRuntime("", static_cast<int>(threads))) {
    test::RandomModel model = test::ChatModel("");
    model.type = type;
    model.layers = 2;
    model.heads = 4;
    model.kv_heads = 2;
    model.head_dim = 16;
    // Rows of whole blocks.
    if (type == DType::kQ4_K) {
      model.width = 256;
      model.feed_forward = 256;
      model.head_dim = 64;
    }
    if (poison != 0) model.damage = test::PoisonToken(model, static_cast<size_t>(poison));
    test::WriteRandomModel(model, folder.file("tiny.gguf"));
    auto loaded = Generator::Load(folder.file("tiny.gguf"), options, *runtime);
    REQUIRE_OK(loaded);
    generator = std::move(loaded).value();
  }

  test::TemporaryFolder folder;
  std::unique_ptr<Runtime> runtime;
  std::unique_ptr<Generator> generator;
};

// Prompts that often begin alike, every kind of sampling, some with constraints.
GenerateRequest RandomRequest(std::mt19937& random) {
  GenerateRequest request;
  request.prompt.push_back(1);
  const size_t length = 1 + random() % 150;
  const TokenId theme = static_cast<TokenId>(265 + random() % 3);
  for (size_t i = 1; i < length; ++i) {
    const bool own = i > 90 && random() % 2 == 0;
    request.prompt.push_back(own ? static_cast<TokenId>(265 + random() % 90)
                                 : theme + static_cast<TokenId>(i * 5 % 80));
  }
  request.max_tokens = 1 + random() % 60;
  if (random() % 2 == 0) {
    request.sampling = {.temperature = 1.2, .top_p = 0.98, .repetition_penalty = 1.1};
    request.sampling.dry_multiplier = random() % 3 == 0 ? 0.8 : 0.0;
    request.sampling.seed = random();
  }
  if (random() % 4 == 0) {
    request.max_tokens += 20;
    request.constraint = {OutputConstraint::Kind::kRegex, "[a-f]{2,9}(,[a-f]{2,9})*", {}};
    if (random() % 3 == 0) {
      request.constraint = {
          OutputConstraint::Kind::kJsonSchema,
          R"({"type": "array", "items": {"enum": ["x", 7, null]}, "maxItems": 9})",
          {}};
    }
  }
  if (random() % 4 == 0) {
    request.logprobs = true;
    request.top_logprobs = 3;
  }
  request.priority = static_cast<int>(random() % 3);
  return request;
}

bool Same(const TokenLogprobs& a, const TokenLogprobs& b) {
  const auto same = [](const TokenLogprob& x, const TokenLogprob& y) {
    return x.id == y.id && x.logprob == y.logprob;
  };
  return same(a.chosen, b.chosen) &&
         std::equal(a.top.begin(), a.top.end(), b.top.begin(), b.top.end(), same);
}

void CheckStreams(const GeneratorOptions& options, size_t streams, DType type = DType::kQ8_0) {
  std::mt19937 random(23);
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < streams; ++i) {
    requests.push_back(RandomRequest(random));
    if (i % 6 == 5) {  // another answer to the same prompt
      requests.back() = requests[i - 1];
      ++requests.back().sampling.seed;
    }
  }
  std::vector<GenerateResult> alone;
  {
    // A generator of its own for each would find nothing in its cache; here every fourth does.
    std::unique_ptr<Model> model;
    for (size_t i = 0; i < streams; ++i) {
      if (i % 4 == 0) {
        model = std::make_unique<Model>(
            GeneratorOptions{
                .context_tokens = kContext, .max_sequences = 1, .cache_type = options.cache_type},
            type, 1);
      }
      const auto result = model->generator->Generate(requests[i]);
      REQUIRE_OK(result);
      alone.push_back(*result);
    }
  }
  const Model model(options, type);
  std::atomic<bool> over{false};
  std::atomic<size_t> most_bytes{0};
  std::atomic<size_t> most_running{0};
  const auto look = [&] {
    const GeneratorActivity activity = model.generator->activity();
    most_bytes = std::max(most_bytes.load(), activity.cache_bytes);
    most_running = std::max(most_running.load(), activity.running);
  };
  std::thread watcher([&] {
    while (!over) {
      look();
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  std::vector<Result<GenerateResult>> found(streams, InternalError("not run"));
  std::vector<std::string> shown(streams);
  std::vector<std::thread> threads;
  const auto cancelled = [](size_t i) { return i % 5 == 3; };
  for (size_t i = 0; i < streams; ++i) {
    const auto delay = std::chrono::microseconds(random() % 30'000);
    threads.emplace_back([&, i, delay] {
      std::this_thread::sleep_for(delay);
      CancelToken cancel;
      size_t pieces = 0;
      const auto collect = [&](std::string_view text) {
        look();  // a busy machine may keep the watcher from it
        shown[i] += text;
        if (cancelled(i) && ++pieces == 1 + i % 4) cancel.Cancel();
        return true;
      };
      const Generator::TokenCallback on_text(collect);
      found[i] = model.generator->Generate(requests[i], &on_text, &cancel);
    });
  }
  for (std::thread& thread : threads) thread.join();
  over = true;
  watcher.join();

  size_t given_up = 0;
  for (size_t i = 0; i < streams; ++i) {
    INFO("stream " << i << " of " << streams);
    REQUIRE_OK(found[i]);
    const GenerateResult& result = *found[i];
    CHECK(shown[i] == result.text);
    if (result.finish_reason == FinishReason::kCancelled) {
      REQUIRE(cancelled(i));
      ++given_up;
      REQUIRE(result.tokens.size() <= alone[i].tokens.size());
      CHECK(std::equal(result.tokens.begin(), result.tokens.end(), alone[i].tokens.begin()));
      CHECK(alone[i].text.starts_with(result.text));
      continue;
    }
    CHECK(result.tokens == alone[i].tokens);
    CHECK(result.text == alone[i].text);
    CHECK(result.finish_reason == alone[i].finish_reason);
    REQUIRE(result.logprobs.size() == alone[i].logprobs.size());
    for (size_t j = 0; j < result.logprobs.size(); ++j) {
      CHECK(Same(result.logprobs[j], alone[i].logprobs[j]));
    }
  }
  // Of few that are to be given up, all may have ended before, and few may come one by one.
  if (streams >= 64) {
    CHECK(given_up > 0);
    CHECK(most_running > 1);
  }
  CHECK(most_running <= options.max_sequences);

  // Those given up leave at the next step.
  for (size_t i = 0; i < 1'000 && model.generator->activity().running > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const GeneratorActivity activity = model.generator->activity();
  CHECK(activity.running == 0);
  CHECK(activity.waiting == 0);
  CHECK(activity.cache_sequence_blocks == 0);
  // Each block in use is kept by a node.
  CHECK(activity.cache_used_blocks <= activity.cache_kept_blocks);
  CHECK(activity.cache_bytes <= activity.cache_max_bytes);
  CHECK(most_bytes <= activity.cache_max_bytes);
  if (options.cache_bytes != 0) CHECK(activity.cache_max_bytes <= options.cache_bytes);
}

TEST_CASE("64 streams that come and go give what each gives alone") {
  CheckStreams({.context_tokens = kContext, .max_sequences = 16},
               test::Workload(64, 16, "streams"));
  // Other products; more sequences than tokens of a prompt that are taken at once.
  CheckStreams({.context_tokens = kContext, .max_sequences = 70}, test::Workload(64, 16, "streams"),
               DType::kQ4_K);
  CheckStreams({.context_tokens = kContext, .max_sequences = 8}, test::Workload(24, 8, "streams"),
               DType::kF32);
}

TEST_CASE("streams that together do not fit in the cache give what each gives alone") {
  // 2 layers of 2 heads of 16 f32, keys and values: 512 bytes a token; 12 blocks of 32 tokens,
  // where one context takes 8.
  CheckStreams({.context_tokens = kContext, .max_sequences = 8, .cache_bytes = 12 * 32 * 512},
               test::Workload(64, 12, "streams"));
}

TEST_CASE(
    "so do those that guess, with the smallest cache and as its keys and values are rounded") {
  for (const DType type : {DType::kF32, DType::kQ4_0}) {
    const size_t block_bytes =
        KvPool::BlockBytes({.layers = 2, .heads = 2, .head_dim = 16, .type = type});
    CheckStreams({.context_tokens = kContext,
                  .max_sequences = 8,
                  .draft_tokens = 6,
                  .cache_type = type,
                  .cache_bytes = 11 * block_bytes},
                 test::Workload(64, 12, "streams"));
  }
}

TEST_CASE("so do streams whose keys and values are rounded") {
  for (const DType type : {DType::kF16, DType::kQ8_0, DType::kQ4_0}) {
    CheckStreams({.context_tokens = kContext, .max_sequences = 8, .cache_type = type},
                 test::Workload(24, 8, "streams"));
  }
}

TEST_CASE("answers to one prompt run it once") {
  const Model model({.context_tokens = kContext, .max_sequences = 8});
  GenerateRequest request;
  for (TokenId i = 0; i < 200; ++i) request.prompt.push_back(270 + i * 7 % 90);
  request.max_tokens = 30;
  request.sampling = {.temperature = 1.0};
  std::vector<GenerateResult> found(6);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < found.size(); ++i) {
    threads.emplace_back([&, i] {
      GenerateRequest own = request;
      own.sampling.seed = i;
      const auto result = model.generator->Generate(own);
      if (result.ok()) found[i] = *result;
    });
  }
  for (std::thread& thread : threads) thread.join();
  size_t run = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    GenerateRequest own = request;
    own.sampling.seed = i;
    const Model other({.context_tokens = kContext});
    const auto fresh = other.generator->Generate(own);
    REQUIRE_OK(fresh);
    CHECK(found[i].tokens == fresh->tokens);
    run += request.prompt.size() - found[i].cached_tokens;
  }
  CHECK(run == request.prompt.size() + found.size() - 1);
}

TEST_CASE("a generation that is given up makes room within a step") {
  const Model model({.context_tokens = kContext, .max_sequences = 1});
  std::mt19937 random(3);
  GenerateRequest request = RandomRequest(random);
  request.constraint = {};
  request.sampling = {.temperature = 1.0};
  request.sampling.logit_bias = {{2, -100.0}};
  request.prompt.resize(5, 270);
  request.max_tokens = 200;
  CancelToken cancel;
  std::atomic<bool> begun{false};
  Result<GenerateResult> held = InternalError("not run");
  std::thread first([&] {
    const auto note = [&](std::string_view) {
      begun = true;
      // Held up here, while the batch goes on.
      while (!cancel.cancelled()) std::this_thread::yield();
      return true;
    };
    const Generator::TokenCallback on_text(note);
    held = model.generator->Generate(request, &on_text, &cancel);
  });
  while (!begun) std::this_thread::yield();
  // A slow reader holds nobody up.
  const auto other = model.generator->Generate(request);
  cancel.Cancel();
  first.join();
  REQUIRE_OK(other);
  REQUIRE_OK(held);
  CHECK(held->finish_reason == FinishReason::kCancelled);
  CHECK(held->tokens.size() < other->tokens.size());
  REQUIRE_OK(model.generator->Generate(request));
}

TEST_CASE("a damaged token ends the generations that meet it, and no other") {
  constexpr TokenId kPoison = 300;
  const Model model({.context_tokens = kContext, .max_sequences = 8}, DType::kF32, 2, kPoison);
  const Model sound({.context_tokens = kContext, .max_sequences = 8}, DType::kF32);
  std::vector<Result<GenerateResult>> found(8, InternalError("not run"));
  std::vector<GenerateRequest> requests(found.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < found.size(); ++i) {
    // All begin alike: a block that held the damaged token would be met by the others.
    for (TokenId j = 0; j < 70; ++j) requests[i].prompt.push_back(270 + j % 20);
    requests[i].prompt.push_back(static_cast<TokenId>(340 + i));
    if (i % 2 == 1) requests[i].prompt[66] = kPoison;
    requests[i].max_tokens = 20;
    requests[i].sampling.logit_bias = {{kPoison, -100.0}};
    threads.emplace_back([&, i] { found[i] = model.generator->Generate(requests[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < found.size(); ++i) {
    INFO("request " << i);
    if (i % 2 == 1) {
      CHECK(found[i].status().code() == StatusCode::kDataLoss);
      CHECK_THAT(found[i].status().message(), Catch::Matchers::Contains("weights are damaged"));
      continue;
    }
    const auto expected = sound.generator->Generate(requests[i]);
    REQUIRE_OK(expected);
    REQUIRE_OK(found[i]);
    CHECK(found[i]->tokens == expected->tokens);
  }
}

TEST_CASE("a cache that holds no context is refused, as are other options that cannot be") {
  const test::TemporaryFolder folder;
  const auto runtime = test::MakeRuntime();
  test::WriteRandomModel(test::ChatModel(""), folder.file("tiny.gguf"));
  const auto load = [&](const GeneratorOptions& options) {
    return Generator::Load(folder.file("tiny.gguf"), options, *runtime).status();
  };
  const Status small = load({.context_tokens = kContext, .cache_bytes = 10'000});
  CHECK(small.code() == StatusCode::kResourceExhausted);
  CHECK_THAT(small.message(), Catch::Matchers::Contains("256 tokens"));
  CHECK(load({.cache_type = DType::kQ4_1}).code() == StatusCode::kInvalidArgument);
  CHECK(load({.max_sequences = 0}).code() == StatusCode::kInvalidArgument);
  CHECK(load({.max_sequences = 257}).code() == StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace rag
