#include "generate/decoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "generate/paged_attention.h"
#include "lib/kernels/kernels.h"
#include "lib/nn/score_bias.h"

namespace rag {
namespace {

// x becomes cap * tanh(x / cap).
void CapRow(std::span<float> row, float cap) {
  for (float& x : row) x = cap * std::tanh(x / cap);
}

}  // namespace

Result<std::unique_ptr<Decoder>> Decoder::Create(const DecoderConfig& config,
                                                 const DecoderWeights& weights, KvPool& pool,
                                                 size_t context, size_t max_tokens,
                                                 const Runtime& runtime) {
  if (config.learned_positions && context > config.file_context) {
    return InvalidArgumentError("a context of ", context, " tokens is longer than the ",
                                config.file_context, " positions that the model has learned");
  }
  return std::unique_ptr<Decoder>(new Decoder(config, weights, pool, context, max_tokens, runtime));
}

Decoder::Decoder(const DecoderConfig& config, const DecoderWeights& weights, KvPool& pool,
                 size_t context, size_t max_tokens, const Runtime& runtime)
    : config_(config),
      weights_(weights),
      runtime_(runtime),
      pool_(pool),
      context_(context),
      residual_(max_tokens, config.width),
      normalized_(max_tokens, config.width),
      q_(max_tokens, config.q_width()),
      k_(max_tokens, config.kv_width()),
      v_(max_tokens, config.kv_width()),
      attended_(max_tokens, config.q_width()),
      attention_delta_(max_tokens, config.width),
      gate_(max_tokens, config.feed_forward),
      up_(max_tokens, config.feed_forward),
      feed_delta_(max_tokens, config.width),
      logits_(1, config.vocab_size),
      scratch_(static_cast<size_t>(runtime.pool().size())) {
  angles_ = MakeAngles(config.rope.base, true);
  if (config.rope.has_sliding_base) {
    sliding_angles_ = MakeAngles(config.rope.sliding_base, false);
  }
  if (config.alibi_bias > 0) {
    for (size_t head = 0; head < config.heads; ++head) {
      alibi_slopes_.push_back(
          static_cast<float>(AlibiSlope(head, config.heads, config.alibi_bias)));
    }
  }
  if (config.experts > 0) {
    routes_ = Matrix(max_tokens, config.experts);
    expert_input_ = Matrix(max_tokens, config.width);
    expert_delta_ = Matrix(max_tokens, config.width);
  }
}

Decoder::Angles Decoder::MakeAngles(double base, bool scaled) const {
  Angles angles;
  const RopeConfig& rope = config_.rope;
  std::span<const float> divisors = weights_.rope_factors;
  if (rope.scaling.kind == RopeScaling::kLong) {
    divisors = context() > rope.scaling.original_context ? weights_.rope_factors_long
                                                         : weights_.rope_factors_short;
  }
  angles.frequencies = scaled ? RotaryFrequencies(rope.dimensions, base, rope.scaling, divisors)
                              : RotaryFrequencies(rope.dimensions, base);
  angles.cosines = Matrix(max_tokens(), angles.frequencies.pairs());
  angles.sines = Matrix(max_tokens(), angles.frequencies.pairs());
  return angles;
}

void Decoder::Embed(size_t row, TokenId token) {
  const size_t width = config_.width;
  const std::span<float> out = residual_.row(row);
  // Cannot fail: the id is below the rows of a tensor whose rows are whole blocks.
  DequantizeTo(weights_.embeddings, static_cast<size_t>(token) * width, out).Ignore();
  if (config_.embedding_scale != 1) {
    for (float& x : out) x *= config_.embedding_scale;
  }
  if (config_.learned_positions) {
    const std::span<float> learned = normalized_.row(row);
    DequantizeTo(weights_.positions, positions_[row] * width, learned).Ignore();
    runtime_.kernels().add(out.data(), learned.data(), width);
  }
  if (weights_.embedding_norm.exists()) {
    NormalizeRow(weights_.embedding_norm, out.data(), out.data());
  }
}

void Decoder::Rotate(size_t tokens) {
  for (Angles* angles : {&angles_, &sliding_angles_}) {
    if (angles->frequencies.pairs() == 0) continue;
    for (size_t t = 0; t < tokens; ++t) {
      angles->frequencies.Angles(positions_[t], angles->cosines.row(t).data(),
                                 angles->sines.row(t).data());
    }
  }
}

void Decoder::NormalizeRow(const NormWeights& norm, const float* from, float* to) const {
  const size_t n = norm.gamma.size();
  if (config_.norm == NormKind::kRms) {
    runtime_.kernels().rms_norm(from, norm.gamma.data(), config_.norm_epsilon, to, n);
  } else {
    runtime_.kernels().layer_norm(from, norm.gamma.data(), norm.beta.data(), config_.norm_epsilon,
                                  to, n);
  }
}

void Decoder::NormalizeRows(const NormWeights& norm, Matrix& rows, size_t tokens) const {
  for (size_t t = 0; t < tokens; ++t) NormalizeRow(norm, rows.row(t).data(), rows.row(t).data());
}

void Decoder::SetInput(const NormWeights& norm, size_t tokens) {
  if (!norm.exists()) {
    input_.Set({residual_.data(), tokens, config_.width});
    return;
  }
  for (size_t t = 0; t < tokens; ++t) {
    NormalizeRow(norm, residual_.row(t).data(), normalized_.row(t).data());
  }
  input_.Set({normalized_.data(), tokens, config_.width});
}

void Decoder::Project(std::span<const std::pair<const Projection*, Matrix*>> outputs,
                      size_t tokens) {
  std::vector<Product> products;
  for (const auto& [projection, out] : outputs) {
    products.push_back({&projection->weights, out->data(), out->cols(), &projection->packed});
    if (observer_ != nullptr) observer_->OnInput(projection->weights, input_.x());
  }
  MatMul(runtime_, input_, products);
  for (const auto& [projection, out] : outputs) {
    if (projection->bias.empty()) continue;
    for (size_t t = 0; t < tokens; ++t) {
      runtime_.kernels().add(out->row(t).data(), projection->bias.data(), projection->bias.size());
    }
  }
  lora_.Add(runtime_, input_.x(), outputs);
}

void Decoder::NormalizeHeads(const HeadNormWeights& norm, float* heads, size_t count) const {
  if (norm.gamma.empty()) return;
  const size_t size = norm.whole ? count * config_.head_dim : config_.head_dim;
  const bool own = norm.gamma.size() > size;  // each head has its own gamma
  const std::vector<float> zeros(config_.norm == NormKind::kLayer ? size : 0);
  for (size_t i = 0; i < (norm.whole ? 1 : count); ++i) {
    float* x = heads + i * config_.head_dim;
    const float* gamma = norm.gamma.data() + (own ? i * size : 0);
    if (config_.norm == NormKind::kRms) {
      runtime_.kernels().rms_norm(x, gamma, config_.norm_epsilon, x, size);
    } else {
      runtime_.kernels().layer_norm(x, gamma, zeros.data(), config_.norm_epsilon, x, size);
    }
  }
}

void Decoder::PrepareQueriesAndKeys(size_t layer, size_t tokens) {
  const DecoderLayer& weights = weights_.layers[layer];
  const bool own_angles = config_.sliding(layer) && config_.rope.has_sliding_base;
  const Angles& angles = own_angles ? sliding_angles_ : angles_;
  const bool rotates = config_.rotates[layer] && angles.frequencies.pairs() > 0;
  for (size_t t = 0; t < tokens; ++t) {
    float* q = q_.row(t).data();
    float* k = k_.row(t).data();
    if (config_.qkv_clamp > 0) {
      for (Matrix* matrix : {&q_, &k_, &v_}) {
        for (float& x : matrix->row(t)) x = std::clamp(x, -config_.qkv_clamp, config_.qkv_clamp);
      }
    }
    NormalizeHeads(weights.q_norm, q, config_.heads);
    NormalizeHeads(weights.k_norm, k, config_.kv_heads);
    if (rotates) {
      const float* cosines = angles.cosines.row(t).data();
      const float* sines = angles.sines.row(t).data();
      const size_t pairs = angles.frequencies.pairs();
      ApplyRotary(config_.rope.pairs, cosines, sines, pairs, q, config_.heads, config_.head_dim);
      ApplyRotary(config_.rope.pairs, cosines, sines, pairs, k, config_.kv_heads, config_.head_dim);
    }
  }
}

void Decoder::StoreKeysAndValues(size_t layer, std::span<const DecoderChunk> chunks) {
  const DType type = pool_.shape().type;
  size_t row = 0;
  for (const DecoderChunk& chunk : chunks) {
    for (size_t t = 0; t < chunk.tokens.size(); ++t, ++row) {
      const KvPool::BlockId block = chunk.blocks[positions_[row] / KvPool::kBlockTokens];
      const size_t slot = positions_[row] % KvPool::kBlockTokens;
      for (size_t head = 0; head < config_.kv_heads; ++head) {
        const size_t from = head * config_.head_dim;
        StoreKey(type, k_.row(row).data() + from, config_.head_dim, slot,
                 pool_.keys(block, layer, head));
        StoreValue(type, v_.row(row).data() + from, config_.head_dim, slot,
                   pool_.values(block, layer, head));
      }
    }
  }
}

void Decoder::Attend(size_t layer, std::span<const DecoderChunk> chunks) {
  // An item is a key head of a chunk and a run of its rows: (token, query head of the group).
  struct Item {
    const DecoderChunk* chunk;
    size_t first_token;  // row in q_
    size_t head;
    size_t begin;
    size_t end;
  };
  const size_t group = config_.heads / config_.kv_heads;
  const size_t workers = static_cast<size_t>(runtime_.pool().size());
  std::vector<Item> items;
  size_t first_token = 0;
  for (const DecoderChunk& chunk : chunks) {
    const size_t rows = chunk.tokens.size() * group;
    // At least two items for each thread where one sequence runs alone.
    const size_t run =
        std::clamp<size_t>(rows * config_.kv_heads / (2 * workers), 1, kMaxAttentionRows);
    for (size_t head = 0; head < config_.kv_heads; ++head) {
      for (size_t begin = 0; begin < rows; begin += run) {
        items.push_back({&chunk, first_token, head, begin, std::min(rows, begin + run)});
      }
    }
    first_token += chunk.tokens.size();
  }
  const KvBlockKernels& block_kernels = *GetKvBlockKernels(runtime_.isa());
  runtime_.pool().ParallelFor(items.size(), 1, [&](size_t begin, size_t end, int worker) {
    for (size_t i = begin; i < end; ++i) {
      const Item& item = items[i];
      AttentionRow rows[kMaxAttentionRows];
      for (size_t j = item.begin; j < item.end; ++j) {
        const size_t row = item.first_token + j / group;
        const size_t head = item.head * group + j % group;
        rows[j - item.begin] = {.q = q_.row(row).data() + head * config_.head_dim,
                                .out = attended_.row(row).data() + head * config_.head_dim,
                                .position = positions_[row],
                                .slope = alibi_slopes_.empty() ? 0.0f : alibi_slopes_[head]};
      }
      AttendRows({.kernels = &runtime_.kernels(),
                  .block_kernels = &block_kernels,
                  .pool = &pool_,
                  .blocks = item.chunk->blocks,
                  .layer = layer,
                  .head = item.head,
                  .scale = config_.attention_scale,
                  .cap = config_.attention_cap,
                  .window = config_.sliding(layer) ? config_.sliding_window : 0},
                 std::span(rows).first(item.end - item.begin),
                 scratch_[static_cast<size_t>(worker)]);
    }
  });
}

void Decoder::AttentionPart(size_t layer, std::span<const DecoderChunk> chunks) {
  const size_t tokens = positions_.size();
  const DecoderLayer& weights = weights_.layers[layer];
  SetInput(weights.attention_norm, tokens);
  const std::pair<const Projection*, Matrix*> projections[] = {
      {&weights.q, &q_}, {&weights.k, &k_}, {&weights.v, &v_}};
  Project(projections, tokens);
  PrepareQueriesAndKeys(layer, tokens);
  StoreKeysAndValues(layer, chunks);
  Attend(layer, chunks);
  input_.Set({attended_.data(), tokens, attended_.cols()});
  const std::pair<const Projection*, Matrix*> output = {&weights.attention_output,
                                                        &attention_delta_};
  Project({&output, 1}, tokens);
  if (weights.attention_post_norm.exists()) {
    NormalizeRows(weights.attention_post_norm, attention_delta_, tokens);
  }
}

void Decoder::RunBlock(size_t layer, std::span<const DecoderChunk> chunks) {
  const size_t tokens = positions_.size();
  const size_t elements = tokens * config_.width;
  AttentionPart(layer, chunks);
  if (config_.residual == Residual::kSerial) {
    runtime_.kernels().add(residual_.data(), attention_delta_.data(), elements);
  }
  if (config_.residual == Residual::kParallelShared) {
    input_.Set({normalized_.data(), tokens, config_.width});
  } else {
    SetInput(weights_.layers[layer].feed_norm, tokens);
  }
  FeedForwardPart(layer, tokens);
  if (config_.residual != Residual::kSerial) {
    runtime_.kernels().add(residual_.data(), attention_delta_.data(), elements);
  }
  runtime_.kernels().add(residual_.data(), feed_delta_.data(), elements);
}

void Decoder::Score(std::span<const DecoderChunk> chunks) {
  using Logits = DecoderChunk::Logits;
  size_t row = 0;
  std::vector<size_t> chosen;
  for (const DecoderChunk& chunk : chunks) {
    const size_t end = row + chunk.tokens.size();
    if (chunk.logits == Logits::kNone) row = end;
    if (chunk.logits == Logits::kLast) row = end - 1;
    for (; row < end; ++row) {
      float* const to = normalized_.row(chosen.size()).data();
      chosen.push_back(row);
      if (weights_.output_norm.exists()) {
        NormalizeRow(weights_.output_norm, residual_.row(row).data(), to);
      } else {
        std::memcpy(to, residual_.row(row).data(), config_.width * sizeof(float));
      }
    }
  }
  const size_t rows = chosen.size();
  if (rows == 0) return;
  lora_.Select(chosen);
  input_.Set({normalized_.data(), rows, config_.width});
  if (logits_.rows() < rows) logits_ = Matrix(rows, config_.vocab_size);
  const std::pair<const Projection*, Matrix*> output = {&weights_.output, &logits_};
  Project({&output, 1}, rows);
  if (config_.output_cap > 0) {
    for (size_t t = 0; t < rows; ++t) CapRow(logits_.row(t), config_.output_cap);
  }
}

Status Decoder::Forward(std::span<const DecoderChunk> chunks, const Cancelled* cancelled) {
  positions_.clear();
  lora_.Reset();
  for (const DecoderChunk& chunk : chunks) {
    lora_.Append(chunk.tokens.size(), chunk.adapters);
    for (size_t t = 0; t < chunk.tokens.size(); ++t) {
      positions_.push_back(chunk.position + t);
      Embed(positions_.size() - 1, chunk.tokens[t]);
    }
  }
  Rotate(positions_.size());
  for (size_t layer = 0; layer < config_.layers; ++layer) {
    if (cancelled != nullptr && (*cancelled)()) return CancelledError("generation was cancelled");
    RunBlock(layer, chunks);
  }
  Score(chunks);
  return OkStatus();
}

}  // namespace rag
