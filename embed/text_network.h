// A network and its tokenizer: texts -> the last hidden states of their tokens. What encoders,
// rerankers and heads stand on.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "embed/batch.h"
#include "embed/encoder.h"
#include "embed/encoder_config.h"
#include "embed/transformer.h"
#include "embed/transformer_config.h"
#include "embed/transformer_weights.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// What texts with these tokens add to `stats`.
void CountEncodings(std::span<const Encoding> encodings, EncodeStats& stats);

// Immutable after loading; all methods may be called from several threads (they share the pool).
class TextNetwork {
 public:
  // Tokenizer and weights of `folder`. Errors: those of reading them; invalid_argument when the
  // tokenizer has more pieces than the word table rows.
  static Result<std::unique_ptr<const TextNetwork>> Load(const std::string& folder,
                                                         const TransformerConfig& config,
                                                         const TextLimits& limits,
                                                         Precision precision,
                                                         const Runtime& runtime);
  TextNetwork(const TextNetwork&) = delete;
  TextNetwork& operator=(const TextNetwork&) = delete;

  // One text, or two as one sequence, lower-cased and cut as the folder says.
  Encoding Tokenize(std::string_view text) const;
  Encoding TokenizePair(std::string_view first, std::string_view second) const;
  // encode(i) for each i < count, on all threads. Errors: cancelled.
  Result<std::vector<Encoding>> TokenizeAll(size_t count, FunctionRef<Encoding(size_t)> encode,
                                            const CancelToken* cancel) const;

  // The last hidden states of each sequence, to `consume`; adds to `stats`. `seen`: of each, the
  // tokens that attention sees, the first ones; empty: all. Errors: cancelled.
  Status Run(std::span<const Encoding> encodings, SequenceConsumer consume, EncodeStats& stats,
             const CancelToken* cancel, std::span<const size_t> seen = {}) const;

  const TransformerConfig& config() const { return config_; }
  const TransformerWeights& weights() const { return weights_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const TextLimits& limits() const { return limits_; }
  const Runtime& runtime() const { return runtime_; }

 private:
  TextNetwork(const TransformerConfig& config, const TextLimits& limits, TransformerWeights weights,
              std::unique_ptr<Tokenizer> tokenizer, const Runtime& runtime);

  const TransformerConfig config_;
  const TextLimits limits_;
  const TransformerWeights weights_;
  const std::unique_ptr<Tokenizer> tokenizer_;
  const Runtime& runtime_;
  const Transformer transformer_;
};

}  // namespace rag
