// Decoder: the forward pass of a decoder-only transformer over its key-value cache.
//
// One pass for every architecture that DecoderConfig describes: RMS or layer norms before and after
// each part, rotary, learned or linear-bias positions, grouped-query attention (Ainslie et al.
// 2023), gated (Shazeer 2020) or plain feed-forward parts, mixtures of experts (Jiang et al. 2024).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "generate/decoder_config.h"
#include "generate/decoder_weights.h"
#include "generate/kv_cache.h"
#include "generate/rotary.h"
#include "lib/base/cancel.h"
#include "lib/kernels/quantized.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// Used by one thread at a time.
class Decoder {
 public:
  // Tokens that one Forward takes at most.
  static constexpr size_t kMaxTokens = 64;

  // `weights` and the file they view outlive the decoder, as does `runtime`. context: tokens of the
  // cache; LongRoPE chooses its factors by it. Errors: resource_exhausted for the cache;
  // invalid_argument for a context longer than learned positions.
  static Result<std::unique_ptr<Decoder>> Create(const DecoderConfig& config,
                                                 const DecoderWeights& weights, size_t context,
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
  const DecoderConfig& config() const { return config_; }

 private:
  // Cosines and sines of the tokens in Forward, [kMaxTokens, pairs] each.
  struct Angles {
    RotaryTable table;
    Matrix cosines;
    Matrix sines;
  };

  Decoder(const DecoderConfig& config, const DecoderWeights& weights, KvCache cache,
          const Runtime& runtime);
  Angles MakeAngles(double base, bool scaled) const;
  void Embed(std::span<const TokenId> tokens, size_t position);
  void Rotate(size_t position, size_t tokens);
  void NormalizeRow(const NormWeights& norm, const float* from, float* to) const;
  // Each token's row of `rows` in place.
  void NormalizeRows(const NormWeights& norm, Matrix& rows, size_t tokens) const;
  // The residual stream's norm, or the stream itself where there is none, becomes the input of the
  // next products.
  void SetInput(const NormWeights& norm, size_t tokens);
  void Project(std::span<const std::pair<const Projection*, Matrix*>> outputs, size_t tokens);
  void NormalizeHeads(const HeadNormWeights& norm, float* heads, size_t count) const;
  void PrepareQueriesAndKeys(size_t layer, size_t position, size_t tokens);
  void Attend(size_t layer, size_t position, size_t tokens);
  void AttentionPart(size_t layer, size_t position, size_t tokens);
  void FeedForwardPart(size_t layer, size_t tokens);
  void RunFeedForward(const FeedForward& weights, size_t tokens, Matrix& out);
  void RunExperts(const DecoderLayer& weights, size_t tokens);
  void RunBlock(size_t layer, size_t position, size_t tokens);

  const DecoderConfig config_;
  const DecoderWeights& weights_;
  const Runtime& runtime_;
  KvCache cache_;
  Angles angles_;
  Angles sliding_angles_;            // of sliding layers, where they have a base of their own
  std::vector<float> alibi_slopes_;  // [heads] or empty

  // Of the tokens in Forward, a row each.
  Matrix residual_;    // [kMaxTokens, width]
  Matrix normalized_;  // [kMaxTokens, width]
  Matrix q_;           // [kMaxTokens, heads * head_dim]
  Matrix k_;           // [kMaxTokens, kv_heads * head_dim]
  Matrix v_;
  Matrix attended_;         // [kMaxTokens, heads * head_dim]
  Matrix attention_delta_;  // [kMaxTokens, width]
  Matrix gate_;             // [kMaxTokens, feed_forward]
  Matrix up_;
  Matrix feed_delta_;  // [kMaxTokens, width]
  Matrix logits_;      // [rows asked for so far, vocab_size]
  Matrix scratch_;     // [threads, AttentionScratch]
  // Of a mixture of experts.
  Matrix routes_;        // [kMaxTokens, experts]
  Matrix expert_input_;  // [kMaxTokens, width]: of the tokens that take one expert
  Matrix expert_delta_;  // [kMaxTokens, width]
  ProductInput input_;
};

}  // namespace rag
