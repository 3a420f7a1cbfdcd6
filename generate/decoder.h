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
#include "generate/kv_pool.h"
#include "generate/lora/lora_rows.h"
#include "lib/base/cancel.h"
#include "lib/kernels/quantized.h"
#include "lib/nn/rotary.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// What one sequence has in a forward pass.
struct DecoderChunk {
  std::span<const TokenId> tokens;          // at least one; ids in [0, vocab_size)
  size_t position = 0;                      // of the first one; the cache holds those before
  std::span<const KvPool::BlockId> blocks;  // hold the positions up to the last token's
  enum class Logits { kNone, kLast, kAll } logits = Logits::kLast;
  std::span<const LoraUse> adapters = {};  // bound to the decoder's weights
};

// Sees what is multiplied with each matrix: `weights` is the view that DecoderWeights holds.
class ProductObserver {
 public:
  virtual ~ProductObserver() = default;
  virtual void OnInput(const TensorView& weights, const MatrixView& input) = 0;
};

// Used by one thread at a time.
class Decoder {
 public:
  // Tokens of a prompt that are worth running together: the weights are read, and on tiles
  // unpacked, once for all. Twice as many gain 6% more, and the other sequences wait for each such
  // step.
  static constexpr size_t kChunkTokens = 128;

  // `weights` and the file they view, `pool` and `runtime` outlive the decoder. context: the
  // largest position and one; LongRoPE chooses its factors by it. max_tokens: of a pass. Errors:
  // invalid_argument for a context longer than learned positions.
  static Result<std::unique_ptr<Decoder>> Create(const DecoderConfig& config,
                                                 const DecoderWeights& weights, KvPool& pool,
                                                 size_t context, size_t max_tokens,
                                                 const Runtime& runtime);

  // Runs the chunks, 1 to max_tokens() tokens in all, of different sequences, and writes their keys
  // and values. What comes out for a token depends on its sequence and its adapters alone, bit for
  // bit. Errors:
  // cancelled, when `cancelled`, looked at once a layer, says so; all positions are to be run again
  // then.
  using Cancelled = FunctionRef<bool()>;
  Status Forward(std::span<const DecoderChunk> chunks, const Cancelled* cancelled = nullptr);

  // Of the last Forward: rows of vocab_size, chunk by chunk: one for each token (kAll), one for the
  // last (kLast), or none.
  std::span<float> logits(size_t row) { return logits_.row(row); }

  // Called before each product of the passes from now on; null: nobody. Outlives them.
  void set_observer(ProductObserver* observer) { observer_ = observer; }

  size_t context() const { return context_; }
  size_t max_tokens() const { return residual_.rows(); }
  const DecoderConfig& config() const { return config_; }

 private:
  // Cosines and sines of the tokens in Forward, [max_tokens, pairs] each.
  struct Angles {
    RotaryFrequencies frequencies;
    Matrix cosines;
    Matrix sines;
  };

  Decoder(const DecoderConfig& config, const DecoderWeights& weights, KvPool& pool, size_t context,
          size_t max_tokens, const Runtime& runtime);
  Angles MakeAngles(double base, bool scaled) const;
  void Embed(size_t row, TokenId token);
  void Rotate(size_t tokens);
  void NormalizeRow(const NormWeights& norm, const float* from, float* to) const;
  // Each token's row of `rows` in place.
  void NormalizeRows(const NormWeights& norm, Matrix& rows, size_t tokens) const;
  // The residual stream's norm, or the stream itself where there is none, becomes the input of the
  // next products.
  void SetInput(const NormWeights& norm, size_t tokens);
  void Project(std::span<const std::pair<const Projection*, Matrix*>> outputs, size_t tokens);
  void NormalizeHeads(const HeadNormWeights& norm, float* heads, size_t count) const;
  void PrepareQueriesAndKeys(size_t layer, size_t tokens);
  void StoreKeysAndValues(size_t layer, std::span<const DecoderChunk> chunks);
  void Attend(size_t layer, std::span<const DecoderChunk> chunks);
  void AttentionPart(size_t layer, std::span<const DecoderChunk> chunks);
  void FeedForwardPart(size_t layer, size_t tokens);
  void RunFeedForward(const FeedForward& weights, size_t tokens, Matrix& out);
  void RunExperts(const DecoderLayer& weights, size_t tokens);
  void RunBlock(size_t layer, std::span<const DecoderChunk> chunks);
  void Score(std::span<const DecoderChunk> chunks);

  const DecoderConfig config_;
  const DecoderWeights& weights_;
  const Runtime& runtime_;
  KvPool& pool_;
  const size_t context_;
  Angles angles_;
  Angles sliding_angles_;            // of sliding layers, where they have a base of their own
  std::vector<float> alibi_slopes_;  // [heads] or empty

  // Of the tokens in Forward, chunk by chunk, a row each: max_tokens rows.
  std::vector<size_t> positions_;
  Matrix residual_;    // [, width]
  Matrix normalized_;  // [, width]
  Matrix q_;           // [, heads * head_dim]
  Matrix k_;           // [, kv_heads * head_dim]
  Matrix v_;
  Matrix attended_;         // [, heads * head_dim]
  Matrix attention_delta_;  // [, width]
  Matrix gate_;             // [, feed_forward]
  Matrix up_;
  Matrix feed_delta_;                        // [, width]
  Matrix logits_;                            // [rows asked for so far, vocab_size]
  std::vector<std::vector<float>> scratch_;  // of attention, one for each thread
  // Of a mixture of experts.
  Matrix routes_;        // [, experts]
  Matrix expert_input_;  // [, width]: of the tokens that take one expert
  Matrix expert_delta_;  // [, width]
  ProductInput input_;
  LoraRows lora_;
  ProductObserver* observer_ = nullptr;
};

}  // namespace rag
