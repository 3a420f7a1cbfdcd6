// The forward pass: sequences of ids -> one vector for each token. One for all families.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "embed/transformer_config.h"
#include "embed/transformer_weights.h"
#include "lib/base/cancel.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// One input's tokens, borrowed; at most as many as the weights were loaded for.
struct TokenSequence {
  std::span<const TokenId> ids;  // < vocab
  std::span<const uint8_t> type_ids = {};
  // [length, hidden], instead of ids: a picture's patches, without their positions.
  MatrixView rows = {};
  size_t seen = SIZE_MAX;  // attention sees the first so many alone, at least 1
  size_t size() const { return rows.data != nullptr ? rows.rows : ids.size(); }
};

// Working memory of one batch at a time; grows to the largest seen.
struct TransformerWorkspace {
  Matrix hidden;   // [tokens, hidden]
  Matrix inner;    // [tokens, inner], of a bottleneck
  Matrix qkv;      // [tokens, qkv_width]
  Matrix context;  // [tokens, query_width]
  // Of each row: its place in its sequence, and its row of the position table.
  std::vector<uint32_t> places;
  std::vector<uint32_t> table_rows;
};

// Working memory of one worker of the pool.
struct TransformerScratch {
  Matrix rows;                   // [block, the widest of a row between two products]
  Matrix up;                     // [block, what comes out of `up`]
  std::vector<float> attention;  // AttentionScratch
  LinearScratch linear;
};

class Transformer {
 public:
  // All three outlive it. max_tokens: of the longest sequence.
  Transformer(const TransformerConfig& config, const TransformerWeights& weights, size_t max_tokens,
              const Runtime& runtime)
      : config_(config), weights_(weights), max_tokens_(max_tokens), runtime_(runtime) {}

  size_t hidden() const { return config_.hidden; }
  TransformerScratch MakeScratch() const;

  // The sequences lie one after another in one batch, without padding; their tokens' last hidden
  // states are then the first rows of workspace.hidden, in this order. `scratch` has one entry for
  // each worker of the pool: called from inside a loop of the pool, a batch runs on its worker
  // alone, else on all of them. A sequence's rows do not depend on its companions, bit for bit.
  // False when cancelled; the rows are then unset.
  bool Run(std::span<const TokenSequence> sequences, TransformerWorkspace& workspace,
           std::span<TransformerScratch> scratch, const CancelToken* cancel) const;

 private:
  void Embed(std::span<const TokenSequence> sequences, TransformerWorkspace& workspace,
             std::span<TransformerScratch> scratch) const;
  void EmbedRow(const TokenSequence& sequence, size_t place, size_t table_row, float* x,
                TransformerScratch& scratch) const;
  void AddPosition(const TokenSequence& sequence, size_t place, size_t table_row, float* x,
                   size_t width) const;
  void ReadWords(const TokenSequence& sequence, size_t place, float* out) const;
  void ProjectRows(const TransformerLayer& layer, bool local, size_t begin, size_t end,
                   TransformerWorkspace& workspace, TransformerScratch& scratch) const;
  void Attend(std::span<const TokenSequence> sequences, bool local, TransformerWorkspace& workspace,
              std::span<TransformerScratch> scratch) const;
  void FinishRows(const TransformerLayer& layer, size_t begin, size_t end,
                  TransformerWorkspace& workspace, TransformerScratch& scratch) const;
  void FeedForwardRows(const EncoderFeedForward& network, size_t count, float* stream,
                       TransformerScratch& scratch) const;
  void Normalize(const EncoderNorm& norm, const float* x, float* out, size_t n) const;
  // In place; nothing where there is no such norm.
  void NormalizeRows(const EncoderNorm& norm, size_t count, size_t width, float* rows) const;
  // stream += rows, both [count, width]; normalized with `norm` unless norms come before.
  void AddRows(const EncoderNorm& norm, size_t count, size_t width, const float* rows,
               float* stream) const;

  const TransformerConfig& config_;
  const TransformerWeights& weights_;
  const size_t max_tokens_;
  const Runtime& runtime_;
};

// x = activation(x), elementwise.
void Activate(const Kernels& kernels, EncoderActivation activation, float* x, size_t n);

}  // namespace rag
