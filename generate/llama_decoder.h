// LlamaDecoder: the forward pass of a Llama-architecture decoder over its key-value cache.
//
// Touvron et al. 2023, "LLaMA": RMS norm before each block, rotary positions (Su et al. 2021),
// grouped-query attention (Ainslie et al. 2023) and SwiGLU (Shazeer 2020).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "generate/kv_cache.h"
#include "generate/llama_config.h"
#include "generate/llama_weights.h"
#include "lib/base/cancel.h"
#include "lib/kernels/quantized.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// Used by one thread at a time.
class LlamaDecoder {
 public:
  // Tokens that one Forward takes at most.
  static constexpr size_t kMaxTokens = 64;

  // `weights` and the file they view outlive the decoder, as does `runtime`. context: tokens of the
  // cache. Errors: resource_exhausted for the cache.
  static Result<std::unique_ptr<LlamaDecoder>> Create(const LlamaConfig& config,
                                                      const LlamaWeights& weights, size_t context,
                                                      const Runtime& runtime);

  enum class Logits { kNone, kLast, kAll };
  // Runs 1 to kMaxTokens tokens, ids in [0, vocab_size), at positions [position, position + n)
  // <= context; the cache holds what was run at the positions before. Errors: cancelled, looked at
  // once a layer; the positions are to be run again then.
  Status Forward(std::span<const TokenId> tokens, size_t position, Logits wanted,
                 const CancelToken* cancel);

  // Of the last Forward: one row of vocab_size for each token (kAll), or the last token's (kLast).
  std::span<float> logits(size_t row) { return logits_.row(row); }

  size_t context() const { return cache_.shape().context; }
  const LlamaConfig& config() const { return config_; }

 private:
  LlamaDecoder(const LlamaConfig& config, const LlamaWeights& weights, KvCache cache,
               const Runtime& runtime);
  void Embed(std::span<const TokenId> tokens);
  void Rotate(size_t position, size_t tokens);
  void Normalize(const Matrix& from, std::span<const float> gamma, size_t tokens);
  void Attend(size_t layer, size_t position, size_t tokens);
  void AttentionBlock(size_t layer, size_t position, size_t tokens);
  void FeedForwardBlock(size_t layer, size_t tokens);
  void ApplyRope(float* heads, size_t count, size_t token) const;

  const LlamaConfig config_;
  const LlamaWeights& weights_;
  const Runtime& runtime_;
  KvCache cache_;
  std::vector<double> frequencies_;  // [rope_dimensions / 2], radians a position

  // Of the tokens in Forward, a row each.
  Matrix residual_;    // [kMaxTokens, width]
  Matrix normalized_;  // [kMaxTokens, width]
  Matrix q_;           // [kMaxTokens, heads * head_dim]
  Matrix k_;           // [kMaxTokens, kv_heads * head_dim]
  Matrix v_;
  Matrix attended_;  // [kMaxTokens, heads * head_dim]
  Matrix gate_;      // [kMaxTokens, feed_forward]
  Matrix up_;
  Matrix delta_;    // [kMaxTokens, width]
  Matrix cosines_;  // [kMaxTokens, rope_dimensions / 2]
  Matrix sines_;
  Matrix logits_;   // [rows asked for so far, vocab_size]
  Matrix scratch_;  // [threads, AttentionScratch]
  ProductInput input_;
};

}  // namespace rag
