#include "generate/decoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "generate/head_attention.h"
#include "lib/kernels/kernels.h"
#include "lib/nn/score_bias.h"

namespace rag {
namespace {

// Queries of one head that a worker takes at once in a prefill.
constexpr size_t kQueryBlock = 12;

// x becomes cap * tanh(x / cap).
void CapRow(std::span<float> row, float cap) {
  for (float& x : row) x = cap * std::tanh(x / cap);
}

}  // namespace

Result<std::unique_ptr<Decoder>> Decoder::Create(const DecoderConfig& config,
                                                 const DecoderWeights& weights, size_t context,
                                                 const Runtime& runtime) {
  if (config.learned_positions && context > config.file_context) {
    return InvalidArgumentError("a context of ", context, " tokens is longer than the ",
                                config.file_context, " positions that the model has learned");
  }
  RAG_ASSIGN_OR_RETURN(KvCache cache, KvCache::Create({.layers = config.layers,
                                                       .heads = config.kv_heads,
                                                       .head_dim = config.head_dim,
                                                       .context = context}));
  return std::unique_ptr<Decoder>(new Decoder(config, weights, std::move(cache), runtime));
}

Decoder::Decoder(const DecoderConfig& config, const DecoderWeights& weights, KvCache cache,
                 const Runtime& runtime)
    : config_(config),
      weights_(weights),
      runtime_(runtime),
      cache_(std::move(cache)),
      angles_(MakeAngles(config.rope.base, true)),
      residual_(kMaxTokens, config.width),
      normalized_(kMaxTokens, config.width),
      q_(kMaxTokens, config.q_width()),
      k_(kMaxTokens, config.kv_width()),
      v_(kMaxTokens, config.kv_width()),
      attended_(kMaxTokens, config.q_width()),
      attention_delta_(kMaxTokens, config.width),
      gate_(kMaxTokens, config.feed_forward),
      up_(kMaxTokens, config.feed_forward),
      feed_delta_(kMaxTokens, config.width),
      logits_(1, config.vocab_size),
      scratch_(static_cast<size_t>(runtime.pool().size()),
               AttentionScratch(cache_.shape().context, config.head_dim)) {
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
    routes_ = Matrix(kMaxTokens, config.experts);
    expert_input_ = Matrix(kMaxTokens, config.width);
    expert_delta_ = Matrix(kMaxTokens, config.width);
  }
}

Decoder::Angles Decoder::MakeAngles(double base, bool scaled) const {
  Angles angles;
  const RopeConfig& rope = config_.rope;
  std::span<const float> divisors = weights_.rope_factors;
  if (rope.scaling == RopeScaling::kLong) {
    divisors = context() > rope.original_context ? weights_.rope_factors_long
                                                 : weights_.rope_factors_short;
  }
  angles.table = RotaryTable(rope, base, divisors, scaled);
  angles.cosines = Matrix(kMaxTokens, angles.table.pairs());
  angles.sines = Matrix(kMaxTokens, angles.table.pairs());
  return angles;
}

void Decoder::Embed(std::span<const TokenId> tokens, size_t position) {
  const size_t width = config_.width;
  for (size_t t = 0; t < tokens.size(); ++t) {
    const std::span<float> row = residual_.row(t);
    // Cannot fail: the id is below the rows of a tensor whose rows are whole blocks.
    DequantizeTo(weights_.embeddings, static_cast<size_t>(tokens[t]) * width, row).Ignore();
    if (config_.embedding_scale != 1) {
      for (float& x : row) x *= config_.embedding_scale;
    }
    if (config_.learned_positions) {
      const std::span<float> learned = normalized_.row(t);
      DequantizeTo(weights_.positions, (position + t) * width, learned).Ignore();
      runtime_.kernels().add(row.data(), learned.data(), width);
    }
    if (weights_.embedding_norm.exists()) {
      NormalizeRow(weights_.embedding_norm, row.data(), row.data());
    }
  }
}

void Decoder::Rotate(size_t position, size_t tokens) {
  for (Angles* angles : {&angles_, &sliding_angles_}) {
    if (angles->table.pairs() == 0) continue;
    for (size_t t = 0; t < tokens; ++t) {
      angles->table.Angles(position + t, angles->cosines.row(t).data(),
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
  }
  MatMul(runtime_, input_, products);
  for (const auto& [projection, out] : outputs) {
    if (projection->bias.empty()) continue;
    for (size_t t = 0; t < tokens; ++t) {
      runtime_.kernels().add(out->row(t).data(), projection->bias.data(), projection->bias.size());
    }
  }
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

void Decoder::PrepareQueriesAndKeys(size_t layer, size_t position, size_t tokens) {
  const DecoderLayer& weights = weights_.layers[layer];
  const bool own_angles = config_.sliding(layer) && config_.rope.has_sliding_base;
  const Angles& angles = own_angles ? sliding_angles_ : angles_;
  const bool rotates = config_.rotates[layer] && angles.table.pairs() > 0;
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
      const size_t pairs = angles.table.pairs();
      ApplyRotary(config_.rope.pairs, cosines, sines, pairs, q, config_.heads, config_.head_dim);
      ApplyRotary(config_.rope.pairs, cosines, sines, pairs, k, config_.kv_heads, config_.head_dim);
    }
    for (size_t head = 0; head < config_.kv_heads; ++head) {
      const size_t bytes = config_.head_dim * sizeof(float);
      const size_t at = (position + t) * config_.head_dim;
      const size_t from = head * config_.head_dim;
      std::memcpy(cache_.keys(layer, head) + at, k + from, bytes);
      std::memcpy(cache_.values(layer, head) + at, v_.row(t).data() + from, bytes);
    }
  }
}

void Decoder::Attend(size_t layer, size_t position, size_t tokens) {
  const size_t blocks = (tokens + kQueryBlock - 1) / kQueryBlock;
  const size_t group = config_.heads / config_.kv_heads;
  const size_t head_dim = config_.head_dim;
  runtime_.pool().ParallelFor(config_.heads * blocks, 1, [&](size_t begin, size_t end, int worker) {
    for (size_t item = begin; item < end; ++item) {
      const size_t head = item / blocks;
      const size_t first = item % blocks * kQueryBlock;
      AttendHead(runtime_.kernels(), {.q = q_.row(first).data() + head * head_dim,
                                      .q_stride = config_.q_width(),
                                      .q_count = std::min(kQueryBlock, tokens - first),
                                      .position = position + first,
                                      .keys = cache_.keys(layer, head / group),
                                      .values = cache_.values(layer, head / group),
                                      .head_dim = head_dim,
                                      .scale = config_.attention_scale,
                                      .cap = config_.attention_cap,
                                      .slope = alibi_slopes_.empty() ? 0.0f : alibi_slopes_[head],
                                      .window = config_.sliding(layer) ? config_.sliding_window : 0,
                                      .out = attended_.row(first).data() + head * head_dim,
                                      .out_stride = config_.q_width(),
                                      .scratch = scratch_.row(static_cast<size_t>(worker)).data()});
    }
  });
}

void Decoder::AttentionPart(size_t layer, size_t position, size_t tokens) {
  const DecoderLayer& weights = weights_.layers[layer];
  SetInput(weights.attention_norm, tokens);
  const std::pair<const Projection*, Matrix*> projections[] = {
      {&weights.q, &q_}, {&weights.k, &k_}, {&weights.v, &v_}};
  Project(projections, tokens);
  PrepareQueriesAndKeys(layer, position, tokens);
  Attend(layer, position, tokens);
  input_.Set({attended_.data(), tokens, attended_.cols()});
  const std::pair<const Projection*, Matrix*> output = {&weights.attention_output,
                                                        &attention_delta_};
  Project({&output, 1}, tokens);
  if (weights.attention_post_norm.exists()) {
    NormalizeRows(weights.attention_post_norm, attention_delta_, tokens);
  }
}

void Decoder::RunBlock(size_t layer, size_t position, size_t tokens) {
  const size_t elements = tokens * config_.width;
  AttentionPart(layer, position, tokens);
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

Status Decoder::Forward(std::span<const TokenId> tokens, size_t position, Logits wanted,
                        const CancelToken* cancel) {
  const size_t count = tokens.size();
  Embed(tokens, position);
  Rotate(position, count);
  for (size_t layer = 0; layer < config_.layers; ++layer) {
    if (cancel != nullptr && cancel->cancelled()) return CancelledError("generation was cancelled");
    RunBlock(layer, position, count);
  }
  if (wanted == Logits::kNone) return OkStatus();
  SetInput(weights_.output_norm, count);
  const size_t rows = wanted == Logits::kAll ? count : 1;
  if (logits_.rows() < rows) logits_ = Matrix(rows, config_.vocab_size);
  if (wanted == Logits::kLast) {
    input_.Set({normalized_.row(count - 1).data(), 1, config_.width});
  }
  const std::pair<const Projection*, Matrix*> output = {&weights_.output, &logits_};
  Project({&output, 1}, rows);
  if (config_.output_cap > 0) {
    for (size_t t = 0; t < rows; ++t) CapRow(logits_.row(t), config_.output_cap);
  }
  return OkStatus();
}

}  // namespace rag
