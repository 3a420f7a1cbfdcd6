// The forward pass of the BERT family: sequences of ids -> pooled vectors.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "embed/encoder_config.h"
#include "embed/encoder_weights.h"
#include "lib/base/cancel.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// One text's tokens, borrowed. ids < vocab; at most max_tokens of them.
struct TokenSequence {
  std::span<const TokenId> ids;
  std::span<const uint8_t> type_ids;
  float* out = nullptr;   // [hidden], where its vector goes
  size_t pool_begin = 0;  // the first token that is pooled; less than ids.size() unless that is 0
};

// Working memory of one call of EncodeBatch at a time; grows to the largest batch seen.
struct EncoderWorkspace {
  Matrix hidden;   // [tokens, hidden]
  Matrix qkv;      // [tokens, 3 * hidden]
  Matrix context;  // [tokens, hidden]
};

// Working memory of one worker of the pool.
struct EncoderScratch {
  Matrix rows;                   // [block, hidden]
  Matrix up;                     // [block, intermediate]
  std::vector<float> attention;  // AttentionScratch
};

class EncoderForward {
 public:
  // All three outlive it.
  EncoderForward(const EncoderConfig& config, const EncoderWeights& weights, const Runtime& runtime)
      : config_(config), weights_(weights), runtime_(runtime) {}

  EncoderScratch MakeScratch() const;

  // The sequences lie one after another in one batch, without padding, and write their vectors.
  // `scratch` has one entry for each worker of the pool: called from inside a loop of the pool,
  // a batch runs on its worker alone, else on all of them. A sequence's vector does not depend on
  // its companions, bit for bit. False when cancelled; vectors are then unset.
  bool EncodeBatch(std::span<const TokenSequence> sequences, EncoderWorkspace& workspace,
                   std::span<EncoderScratch> scratch, const CancelToken* cancel) const;

 private:
  void Embed(std::span<const TokenSequence> sequences, Matrix& hidden) const;
  void Attend(std::span<const TokenSequence> sequences, EncoderWorkspace& workspace,
              std::span<EncoderScratch> scratch) const;
  void FinishRows(const EncoderLayer& layer, size_t begin, size_t end, EncoderWorkspace& workspace,
                  EncoderScratch& scratch) const;
  void Activate(float* x, size_t n) const;
  void Pool(std::span<const TokenSequence> sequences, const Matrix& hidden) const;

  const EncoderConfig& config_;
  const EncoderWeights& weights_;
  const Runtime& runtime_;
};

}  // namespace rag
