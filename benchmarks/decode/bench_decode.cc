// Tokens a second of a GGUF decoder: prefill of a prompt, decoding at a depth of context, and
// several sequences at once; and the time to the first token after a context that the cache holds.
//
//   bench_decode MODEL.gguf [--threads 1,2] [--prompt 128] [--tokens 32] [--depth 0,512]
//                [--batch 8] [--runs 5] [--kv-type f32] [--draft-tokens 0]
//
// Prints one JSON object a line: {"kind", "threads", "context", "tokens", "unit", "runs": [...],
// "median", "spread"}, the spread being (largest - smallest) / median. A prefill of `prompt` tokens
// of which the cache holds none; decoding `tokens` tokens after a prompt of `depth` (at least one);
// all tokens of `batch` sequences, which begin together, by the time that all take; and from a
// request with a prompt of `depth` tokens that was run before to its first token, in steps of
// decoding at that depth. With --draft-tokens also greedy decoding after a prompt that repeats
// itself, with guesses of so many tokens and without, and how much of the output was guessed.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "generate/generator.h"

namespace rag {
namespace {

struct Arguments {
  std::string model;
  std::vector<size_t> threads = {1, 2};
  size_t prompt = 128;
  size_t tokens = 32;
  std::vector<size_t> depths = {0, 512};
  size_t runs = 5;
  std::vector<size_t> batches = {8};
  DType cache_type = DType::kF32;
  bool mapped = false;
  size_t draft_tokens = 0;
};

bool ParseList(std::string_view text, std::vector<size_t>& out) {
  out.clear();
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    size_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + comma, value);
    if (error != std::errc() || end != text.data() + comma) return false;
    out.push_back(value);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return !out.empty();
}

bool Parse(int argc, char** argv, Arguments& out) {
  if (argc < 2) return false;
  out.model = argv[1];
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--kv-type") {
      const Result<DType> type = ParseKvType(argv[i + 1]);
      if (!type.ok()) return false;
      out.cache_type = *type;
      continue;
    }
    std::vector<size_t> values;
    if (!ParseList(argv[i + 1], values)) return false;
    if (flag == "--threads") {
      out.threads = values;
    } else if (flag == "--depth") {
      out.depths = values;
    } else if (flag == "--batch") {
      out.batches = values;
    } else if (flag == "--draft-tokens") {
      out.draft_tokens = values[0];
    } else if (flag == "--prompt") {
      out.prompt = values[0];
    } else if (flag == "--tokens") {
      out.tokens = values[0];
    } else if (flag == "--runs") {
      out.runs = values[0];
    } else if (flag == "--mapped") {
      out.mapped = values[0] != 0;
    } else {
      return false;
    }
  }
  return argc % 2 == 0 && out.runs > 0;
}

void Print(const char* kind, size_t threads, size_t context, size_t tokens,
           std::vector<double> rates, const char* unit = "tokens/s") {
  std::string runs;
  for (const double rate : rates) {
    char text[32];
    std::snprintf(text, sizeof(text), "%s%.3f", runs.empty() ? "" : ", ", rate);
    runs += text;
  }
  std::sort(rates.begin(), rates.end());
  const double median = rates[rates.size() / 2];
  std::printf(
      "{\"kind\": \"%s\", \"threads\": %zu, \"context\": %zu, \"tokens\": %zu, \"unit\": \"%s\", "
      "\"runs\": [%s], \"median\": %.3f, \"spread\": %.3f}\n",
      kind, threads, context, tokens, unit, runs.c_str(), median,
      (rates.back() - rates.front()) / median);
  std::fflush(stdout);
}

class Bench {
 public:
  Bench(const Arguments& arguments, size_t threads, Generator& generator)
      : arguments_(arguments), threads_(threads), generator_(generator) {}

  Status Run() {
    RAG_RETURN_IF_ERROR(Prefill());
    for (const size_t depth : arguments_.depths) RAG_RETURN_IF_ERROR(Decode(depth));
    for (const size_t batch : arguments_.batches) RAG_RETURN_IF_ERROR(Batch(batch));
    return OkStatus();
  }

  // `kind` says whether there are guesses.
  Status Repetition(const char* kind) {
    GenerateRequest request = Request(16, 0, arguments_.tokens + 1);
    const std::vector<TokenId> once = request.prompt;
    for (size_t i = 0; i < 3; ++i) {
      request.prompt.insert(request.prompt.end(), once.begin(), once.end());
    }
    request.sampling.logit_bias = {{2, -100.0}};  // the end of most vocabularies
    std::vector<double> rates;
    std::vector<double> guessed;
    for (size_t run = 0; run <= arguments_.runs; ++run) {
      RAG_ASSIGN_OR_RETURN(const GenerateResult result, generator_.Generate(request));
      if (result.tokens.size() < 2) return InternalError("the model ended at once");
      if (run == 0) continue;
      const double tokens = static_cast<double>(result.tokens.size());
      rates.push_back(1000 * (tokens - 1) / result.decode_ms);
      guessed.push_back(static_cast<double>(result.guessed_tokens) / tokens);
    }
    Print(kind, threads_, request.prompt.size(), arguments_.tokens, rates);
    Print("guessed", threads_, request.prompt.size(), arguments_.tokens, guessed, "of the output");
    return OkStatus();
  }

 private:
  // Prompts of different salts share no beginning.
  GenerateRequest Request(size_t tokens, size_t salt, size_t max_tokens) const {
    GenerateRequest request;
    for (size_t i = 0; i < tokens; ++i) {
      request.prompt.push_back(
          static_cast<TokenId>((i * 7919 + 13 + salt) % generator_.info().vocab_size));
    }
    request.max_tokens = max_tokens;
    return request;
  }

  Status Prefill() {
    std::vector<double> rates;
    for (size_t run = 0; run <= arguments_.runs; ++run) {
      RAG_ASSIGN_OR_RETURN(const GenerateResult result,
                           generator_.Generate(Request(arguments_.prompt, run + 1, 1)));
      const double rate = 1000 * static_cast<double>(arguments_.prompt) / result.prefill_ms;
      if (run > 0) rates.push_back(rate);  // the first one warms the caches and the clock
    }
    Print("prefill", threads_, 0, arguments_.prompt, rates);
    return OkStatus();
  }

  // A model of random weights soon repeats or ends; a stop token would end the measurement, so
  // every token is drawn at a temperature at which ending early is unlikely, and shorter runs count
  // as they are: the rate is over the tokens that there were.
  Status Decode(size_t depth) {
    // The first token comes from the prompt's logits.
    GenerateRequest request = Request(std::max<size_t>(depth, 1), 0, arguments_.tokens + 1);
    request.sampling.temperature = 1;
    std::vector<double> rates;
    std::vector<double> steps;  // to the first token
    for (size_t run = 0; run <= arguments_.runs; ++run) {
      request.sampling.seed = run;
      RAG_ASSIGN_OR_RETURN(const GenerateResult result, generator_.Generate(request));
      if (result.tokens.size() < 2) return InternalError("the model ended at once");
      const double step = result.decode_ms / static_cast<double>(result.tokens.size() - 1);
      if (run == 0) continue;
      rates.push_back(1000 / step);
      steps.push_back(result.prefill_ms / step);
    }
    Print("decode", threads_, depth, arguments_.tokens, rates);
    if (depth > 1) Print("cached first token", threads_, depth, 1, steps, "steps");
    return OkStatus();
  }

  Status Batch(size_t batch) {
    std::vector<double> rates;
    for (size_t run = 0; run <= arguments_.runs; ++run) {
      std::vector<Result<GenerateResult>> results(batch, InternalError("not run"));
      const auto start = std::chrono::steady_clock::now();
      std::vector<std::thread> callers;
      for (size_t i = 0; i < batch; ++i) {
        callers.emplace_back([&, i] {
          GenerateRequest request = Request(1, i + 1, arguments_.tokens);
          request.sampling.temperature = 1;
          request.sampling.seed = run * batch + i;
          results[i] = generator_.Generate(request);
        });
      }
      for (std::thread& caller : callers) caller.join();
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      size_t tokens = 0;
      for (const auto& result : results) {
        RAG_RETURN_IF_ERROR(result.status());
        tokens += result->tokens.size();
      }
      if (run > 0) rates.push_back(static_cast<double>(tokens) / seconds.count());
    }
    Print(StrCat("batch of ", batch).c_str(), threads_, 0, arguments_.tokens, rates);
    return OkStatus();
  }

  const Arguments& arguments_;
  const size_t threads_;
  Generator& generator_;
};

Status Measure(const Arguments& arguments, size_t threads) {
  RAG_ASSIGN_OR_RETURN(const auto runtime, Runtime::Create({.threads = static_cast<int>(threads)}));
  size_t context = arguments.prompt;
  for (const size_t depth : arguments.depths) {
    context = std::max(context, depth + arguments.tokens + 1);
  }
  context = std::max(context, 64 + arguments.tokens + 1);  // Repetition's
  const size_t sequences = *std::max_element(arguments.batches.begin(), arguments.batches.end());
  GeneratorOptions options = {.context_tokens = context,
                              .max_sequences = std::max<size_t>(sequences, 1),
                              .cache_type = arguments.cache_type,
                              .mapped_weights = arguments.mapped};
  {
    RAG_ASSIGN_OR_RETURN(const auto generator, Generator::Load(arguments.model, options, *runtime));
    Bench bench(arguments, threads, *generator);
    RAG_RETURN_IF_ERROR(bench.Run());
    if (arguments.draft_tokens == 0) return OkStatus();
    RAG_RETURN_IF_ERROR(bench.Repetition("repetition without guesses"));
  }
  options.draft_tokens = arguments.draft_tokens;
  RAG_ASSIGN_OR_RETURN(const auto generator, Generator::Load(arguments.model, options, *runtime));
  return Bench(arguments, threads, *generator).Repetition("repetition with guesses");
}

}  // namespace
}  // namespace rag

int main(int argc, char** argv) {
  rag::Arguments arguments;
  if (!rag::Parse(argc, argv, arguments)) {
    std::fprintf(stderr,
                 "usage: bench_decode MODEL.gguf [--threads 1,2] [--prompt N] [--tokens N] "
                 "[--depth 0,512] [--batch 8] [--runs N] [--kv-type f32] [--mapped 0] "
                 "[--draft-tokens N]\n");
    return 2;
  }
  for (const size_t threads : arguments.threads) {
    const rag::Status status = rag::Measure(arguments, threads);
    if (!status.ok()) {
      std::fprintf(stderr, "bench_decode: %s\n", status.ToString().c_str());
      return 1;
    }
  }
  return 0;
}
