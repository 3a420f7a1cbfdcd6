// Tokens a second of a GGUF decoder: prefill of a prompt, and decoding at a depth of context.
//
//   bench_decode MODEL.gguf [--threads 1,2] [--prompt 128] [--tokens 32] [--depth 0,512] [--runs 5]
//
// Prints one JSON object a line: {"kind", "threads", "context", "tokens", "runs": [tokens/s ...],
// "median", "spread"}, the spread being (largest - smallest) / median. A prefill from an empty
// context of `prompt` tokens; decoding `tokens` tokens after a prompt of `depth` (at least one).
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <string>
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
    std::vector<size_t> values;
    if (!ParseList(argv[i + 1], values)) return false;
    if (flag == "--threads") {
      out.threads = values;
    } else if (flag == "--depth") {
      out.depths = values;
    } else if (flag == "--prompt") {
      out.prompt = values[0];
    } else if (flag == "--tokens") {
      out.tokens = values[0];
    } else if (flag == "--runs") {
      out.runs = values[0];
    } else {
      return false;
    }
  }
  return argc % 2 == 0 && out.runs > 0;
}

void Print(const char* kind, size_t threads, size_t context, size_t tokens,
           std::vector<double> rates) {
  std::string runs;
  for (const double rate : rates) {
    char text[32];
    std::snprintf(text, sizeof(text), "%s%.3f", runs.empty() ? "" : ", ", rate);
    runs += text;
  }
  std::sort(rates.begin(), rates.end());
  const double median = rates[rates.size() / 2];
  std::printf(
      "{\"kind\": \"%s\", \"threads\": %zu, \"context\": %zu, \"tokens\": %zu, \"runs\": [%s], "
      "\"median\": %.3f, \"spread\": %.3f}\n",
      kind, threads, context, tokens, runs.c_str(), median,
      (rates.back() - rates.front()) / median);
  std::fflush(stdout);
}

// A model of random weights soon repeats or ends; a stop token would end the measurement, so every
// token is drawn at a temperature at which ending early is unlikely, and shorter runs count as they
// are: the rate is over the tokens that there were.
Status Measure(const Arguments& arguments, size_t threads) {
  RAG_ASSIGN_OR_RETURN(const auto runtime, Runtime::Create({.threads = static_cast<int>(threads)}));
  size_t context = arguments.prompt;
  for (const size_t depth : arguments.depths) {
    context = std::max(context, depth + arguments.tokens + 1);
  }
  RAG_ASSIGN_OR_RETURN(const auto generator,
                       Generator::Load(arguments.model, {.context_tokens = context}, *runtime));
  const auto prompt = [&](size_t tokens) {
    std::vector<TokenId> ids;
    for (size_t i = 0; i < tokens; ++i) {
      ids.push_back(static_cast<TokenId>((i * 7919 + 13) % generator->info().vocab_size));
    }
    return ids;
  };
  GenerateRequest request;
  request.prompt = prompt(arguments.prompt);
  request.max_tokens = 1;
  std::vector<double> rates;
  for (size_t run = 0; run <= arguments.runs; ++run) {
    RAG_ASSIGN_OR_RETURN(const GenerateResult result, generator->Generate(request));
    const double rate = 1000 * static_cast<double>(arguments.prompt) / result.prefill_ms;
    if (run > 0) rates.push_back(rate);  // the first one warms the caches and the clock
  }
  Print("prefill", threads, 0, arguments.prompt, rates);
  for (const size_t depth : arguments.depths) {
    request.prompt = prompt(std::max<size_t>(depth, 1));
    request.max_tokens = arguments.tokens + 1;  // the first comes from the prefill's logits
    request.sampling.temperature = 1;
    rates.clear();
    for (size_t run = 0; run <= arguments.runs; ++run) {
      request.sampling.seed = run;
      RAG_ASSIGN_OR_RETURN(const GenerateResult result, generator->Generate(request));
      if (result.tokens.size() < 2) return InternalError("the model ended at once");
      const double steps = static_cast<double>(result.tokens.size() - 1);
      if (run > 0) rates.push_back(1000 * steps / result.decode_ms);
    }
    Print("decode", threads, depth, arguments.tokens, rates);
  }
  return OkStatus();
}

}  // namespace
}  // namespace rag

int main(int argc, char** argv) {
  rag::Arguments arguments;
  if (!rag::Parse(argc, argv, arguments)) {
    std::fprintf(stderr,
                 "usage: bench_decode MODEL.gguf [--threads 1,2] [--prompt N] [--tokens N] "
                 "[--depth 0,512] [--runs N]\n");
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
