#include "apps/rag_bench/decode/decoding.h"

#include <algorithm>
#include <thread>

#include "apps/rag_bench/measure/machine.h"

namespace rag::bench {
namespace {

constexpr size_t kShortPrompt = 8;
constexpr size_t kRepeatedTokens = 16;
constexpr size_t kRepetitions = 4;
// Of tokens that would end the output, and the measurement.
constexpr double kNeverEnds = -1000;

}  // namespace

Result<std::unique_ptr<Decoding>> Decoding::Load(const std::string& model,
                                                 const DecodingOptions& options, bool guesses,
                                                 const Runtime& runtime) {
  size_t context = std::max(options.prompt, kShortPrompt) + 1;
  context = std::max(context, kRepeatedTokens * kRepetitions + options.tokens + 1);
  for (const size_t depth : options.depths) context = std::max(context, depth + options.tokens + 1);
  const GeneratorOptions generator_options = {.context_tokens = context,
                                              .max_sequences = options.most_sequences,
                                              .draft_tokens = guesses ? options.draft_tokens : 0,
                                              .cache_type = options.cache_type,
                                              .mapped_weights = options.mapped_weights};
  const size_t before = ResidentBytes();
  ForgetPeakResidentBytes();
  const double start = Now();
  RAG_ASSIGN_OR_RETURN(auto generator, Generator::Load(model, generator_options, runtime));
  const double there = Now();
  std::unique_ptr<Decoding> decoding(new Decoding(options, std::move(generator)));
  RAG_RETURN_IF_ERROR(decoding->Run(decoding->Request(kShortPrompt, 0, 1), {}).status());
  const double first = Now();
  const auto more = [&](size_t bytes) { return bytes - std::min(bytes, before); };
  const size_t resident = ResidentBytes();
  // The system counts pages thread by thread and may know of the peak late.
  const size_t peak = std::max(resident, PeakResidentBytes());
  decoding->loaded_ = {.seconds = there - start,
                       .first_token_seconds = first - there,
                       .resident_bytes = more(resident),
                       .peak_bytes = more(peak),
                       .cache_bytes = decoding->generator().activity().cache_bytes};
  return decoding;
}

// Prompts of different salts share no beginning.
GenerateRequest Decoding::Request(size_t tokens, size_t salt, size_t max_tokens) const {
  GenerateRequest request;
  const size_t vocabulary = generator_->info().vocab_size;
  for (size_t i = 0; i < tokens; ++i) {
    request.prompt.push_back(static_cast<TokenId>((i * 7919 + 13 + salt) % vocabulary));
  }
  request.max_tokens = max_tokens;
  if (const auto end = generator_->tokenizer().eos_id()) {
    request.sampling.logit_bias = {{*end, kNeverEnds}};
  }
  return request;
}

Result<GenerateResult> Decoding::Run(const GenerateRequest& request, const CancelToken& cancel) {
  RAG_ASSIGN_OR_RETURN(GenerateResult result, generator_->Generate(request, nullptr, &cancel));
  if (cancel.cancelled()) return CancelledError("stopped");
  if (result.tokens.size() < std::min<size_t>(request.max_tokens, 2)) {
    return FailedPreconditionError(generator_->info().name, " ended after ", result.tokens.size(),
                                   " tokens");
  }
  return result;
}

Result<double> Decoding::Prefill(const CancelToken& cancel) {
  RAG_ASSIGN_OR_RETURN(const GenerateResult result,
                       Run(Request(options_.prompt, ++salt_, 1), cancel));
  return 1000 * static_cast<double>(options_.prompt) / result.prefill_ms;
}

Result<Decoding::AtDepth> Decoding::Decode(size_t depth, const CancelToken& cancel) {
  // The first token comes from the prompt's logits.
  GenerateRequest request = Request(std::max<size_t>(depth, 1), ++salt_, options_.tokens + 1);
  RAG_ASSIGN_OR_RETURN(const GenerateResult fresh, Run(request, cancel));
  request.max_tokens = 1;
  RAG_ASSIGN_OR_RETURN(const GenerateResult cached, Run(request, cancel));
  return AtDepth{.first_token_ms = fresh.prefill_ms,
                 .cached_token_ms = cached.prefill_ms,
                 .step_ms = fresh.decode_ms / static_cast<double>(fresh.tokens.size() - 1)};
}

Result<double> Decoding::Batch(size_t sequences, const CancelToken& cancel) {
  std::vector<Result<GenerateResult>> results(sequences, InternalError("not run"));
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < sequences; ++i) requests.push_back(Request(1, ++salt_, options_.tokens));
  const double start = Now();
  std::vector<std::thread> callers;
  for (size_t i = 0; i < sequences; ++i) {
    callers.emplace_back([&, i] { results[i] = Run(requests[i], cancel); });
  }
  for (std::thread& caller : callers) caller.join();
  const double seconds = Now() - start;
  size_t tokens = 0;
  for (const auto& result : results) {
    RAG_RETURN_IF_ERROR(result.status());
    tokens += result->tokens.size();
  }
  return static_cast<double>(tokens) / seconds;
}

Result<Decoding::Repeated> Decoding::Repeat(const CancelToken& cancel) {
  GenerateRequest request = Request(kRepeatedTokens, 0, options_.tokens + 1);
  const std::vector<TokenId> once = request.prompt;
  for (size_t i = 1; i < kRepetitions; ++i) {
    request.prompt.insert(request.prompt.end(), once.begin(), once.end());
  }
  RAG_ASSIGN_OR_RETURN(const GenerateResult result, Run(request, cancel));
  const auto tokens = static_cast<double>(result.tokens.size());
  return Repeated{.tokens_per_second = 1000 * (tokens - 1) / result.decode_ms,
                  .guessed = static_cast<double>(result.guessed_tokens) / tokens};
}

}  // namespace rag::bench
