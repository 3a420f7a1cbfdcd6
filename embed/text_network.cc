#include "embed/text_network.h"

#include <utility>

#include "lib/text/unicode.h"

namespace rag {
namespace {

// Texts that a worker tokenizes between two looks at the cancel token.
constexpr size_t kTokenizeGrain = 4;

bool IsCancelled(const CancelToken* cancel) { return cancel != nullptr && cancel->cancelled(); }

}  // namespace

TextNetwork::TextNetwork(const TransformerConfig& config, const TextLimits& limits,
                         TransformerWeights weights, std::unique_ptr<Tokenizer> tokenizer,
                         const Runtime& runtime)
    : config_(config),
      limits_(limits),
      weights_(std::move(weights)),
      tokenizer_(std::move(tokenizer)),
      runtime_(runtime),
      transformer_(config_, weights_, limits_.max_tokens, runtime) {}

Result<std::unique_ptr<const TextNetwork>> TextNetwork::Load(const std::string& folder,
                                                             const TransformerConfig& config,
                                                             const TextLimits& limits,
                                                             Precision precision,
                                                             const Runtime& runtime) {
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(folder));
  if (tokenizer->vocab_size() > config.vocab) {
    return InvalidArgumentError(folder, ": the tokenizer has ", tokenizer->vocab_size(),
                                " pieces and config.json's 'vocab_size' is ", config.vocab);
  }
  if (limits.end_id.has_value()) {
    const Encoding empty = tokenizer->Encode("");
    if (empty.ids.empty() || empty.ids.back() != *limits.end_id) {
      return InvalidArgumentError(folder, ": config.json's 'eos_token_id' ", *limits.end_id,
                                  " is not the token that the tokenizer puts behind a text");
    }
  }
  RAG_ASSIGN_OR_RETURN(
      TransformerWeights weights,
      TransformerWeights::Load(folder, config, {limits.max_tokens, precision}, runtime));
  return std::unique_ptr<const TextNetwork>(
      new TextNetwork(config, limits, std::move(weights), std::move(tokenizer), runtime));
}

void CountEncodings(std::span<const Encoding> encodings, EncodeStats& stats) {
  stats.texts += encodings.size();
  for (const Encoding& encoding : encodings) {
    stats.tokens += encoding.ids.size();
    stats.truncated_texts += encoding.truncated > 0;
    stats.truncated_tokens += encoding.truncated;
  }
}

Encoding TextNetwork::Tokenize(std::string_view text) const {
  const EncodeOptions options{.max_tokens = limits_.max_tokens};
  return limits_.lower_case ? tokenizer_->Encode(ToLower(text), options)
                            : tokenizer_->Encode(text, options);
}

Encoding TextNetwork::TokenizePair(std::string_view first, std::string_view second) const {
  const EncodeOptions options{.max_tokens = limits_.max_tokens};
  return limits_.lower_case ? tokenizer_->EncodePair(ToLower(first), ToLower(second), options)
                            : tokenizer_->EncodePair(first, second, options);
}

Result<std::vector<Encoding>> TextNetwork::TokenizeAll(size_t count,
                                                       FunctionRef<Encoding(size_t)> encode,
                                                       const CancelToken* cancel) const {
  std::vector<Encoding> encodings(count);
  runtime_.pool().ParallelFor(count, kTokenizeGrain, [&](size_t begin, size_t end, int) {
    if (IsCancelled(cancel)) return;
    for (size_t i = begin; i < end; ++i) encodings[i] = encode(i);
  });
  if (IsCancelled(cancel)) return CancelledError("encoding was cancelled");
  return encodings;
}

Status TextNetwork::Run(std::span<const Encoding> encodings, SequenceConsumer consume,
                        EncodeStats& stats, const CancelToken* cancel,
                        std::span<const size_t> seen) const {
  std::vector<TokenSequence> sequences;
  sequences.reserve(encodings.size());
  std::vector<std::vector<TokenId>> padded(limits_.pad ? encodings.size() : 0);
  const TokenId padding = tokenizer_->pad_id().value_or(limits_.padding_id);
  for (const Encoding& encoding : encodings) {
    if (encoding.ids.size() > limits_.max_tokens) {
      return InternalError("the tokenizer gave ", encoding.ids.size(), " tokens, more than ",
                           limits_.max_tokens);
    }
    if (limits_.pad) {
      std::vector<TokenId>& ids = padded[sequences.size()];
      ids = encoding.ids;
      ids.resize(limits_.max_tokens, padding);
      sequences.push_back({.ids = ids});
    } else {
      sequences.push_back({.ids = encoding.ids, .type_ids = encoding.type_ids});
    }
    if (!seen.empty()) sequences.back().seen = seen[sequences.size() - 1];
  }
  CountEncodings(encodings, stats);
  return RunSequences(transformer_, runtime_, sequences, consume, cancel);
}

}  // namespace rag
