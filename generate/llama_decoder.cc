#include "generate/llama_decoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "lib/kernels/kernels.h"

namespace rag {
namespace {

// Queries of one head that a worker takes at once in a prefill.
constexpr size_t kQueryBlock = 12;

void MultiplyInto(float* x, const float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] *= y[i];
}

}  // namespace

Result<std::unique_ptr<LlamaDecoder>> LlamaDecoder::Create(const LlamaConfig& config,
                                                           const LlamaWeights& weights,
                                                           size_t context, const Runtime& runtime) {
  RAG_ASSIGN_OR_RETURN(KvCache cache, KvCache::Create({.layers = config.layers,
                                                       .heads = config.kv_heads,
                                                       .head_dim = config.head_dim,
                                                       .context = context}));
  return std::unique_ptr<LlamaDecoder>(
      new LlamaDecoder(config, weights, std::move(cache), runtime));
}

LlamaDecoder::LlamaDecoder(const LlamaConfig& config, const LlamaWeights& weights, KvCache cache,
                           const Runtime& runtime)
    : config_(config),
      weights_(weights),
      runtime_(runtime),
      cache_(std::move(cache)),
      residual_(kMaxTokens, config.width),
      normalized_(kMaxTokens, config.width),
      q_(kMaxTokens, config.q_width()),
      k_(kMaxTokens, config.kv_width()),
      v_(kMaxTokens, config.kv_width()),
      attended_(kMaxTokens, config.q_width()),
      gate_(kMaxTokens, config.feed_forward),
      up_(kMaxTokens, config.feed_forward),
      delta_(kMaxTokens, config.width),
      cosines_(kMaxTokens, config.rope_dimensions / 2),
      sines_(kMaxTokens, config.rope_dimensions / 2),
      logits_(1, config.vocab_size),
      scratch_(static_cast<size_t>(runtime.pool().size()),
               AttentionScratch(cache_.shape().context, config.head_dim)) {
  for (size_t i = 0; i < config.rope_dimensions / 2; ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / config.rope_dimensions;
    double frequency = std::pow(config.rope_base, -exponent) / config.rope_scale;
    if (!weights.rope_factors.empty()) frequency /= weights.rope_factors[i];
    frequencies_.push_back(frequency);
  }
}

void LlamaDecoder::Embed(std::span<const TokenId> tokens) {
  for (size_t t = 0; t < tokens.size(); ++t) {
    // Cannot fail: the id is below the rows of a tensor whose rows are whole blocks.
    DequantizeTo(weights_.embeddings, static_cast<size_t>(tokens[t]) * config_.width,
                 residual_.row(t))
        .Ignore();
  }
}

void LlamaDecoder::Rotate(size_t position, size_t tokens) {
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t i = 0; i < frequencies_.size(); ++i) {
      const double angle = static_cast<double>(position + t) * frequencies_[i];
      cosines_.row(t)[i] = static_cast<float>(std::cos(angle));
      sines_.row(t)[i] = static_cast<float>(std::sin(angle));
    }
  }
}

// GGUF's llama converter orders each head so that a rotated pair is (2i, 2i + 1).
void LlamaDecoder::ApplyRope(float* heads, size_t count, size_t token) const {
  const float* cosine = cosines_.row(token).data();
  const float* sine = sines_.row(token).data();
  for (size_t head = 0; head < count; ++head) {
    float* x = heads + head * config_.head_dim;
    for (size_t i = 0; i < frequencies_.size(); ++i) {
      const float even = x[2 * i];
      const float odd = x[2 * i + 1];
      x[2 * i] = even * cosine[i] - odd * sine[i];
      x[2 * i + 1] = even * sine[i] + odd * cosine[i];
    }
  }
}

void LlamaDecoder::Normalize(const Matrix& from, std::span<const float> gamma, size_t tokens) {
  for (size_t t = 0; t < tokens; ++t) {
    runtime_.kernels().rms_norm(from.row(t).data(), gamma.data(), config_.norm_epsilon,
                                normalized_.row(t).data(), config_.width);
  }
  input_.Set({normalized_.data(), tokens, config_.width});
}

void LlamaDecoder::Attend(size_t layer, size_t position, size_t tokens) {
  const size_t blocks = (tokens + kQueryBlock - 1) / kQueryBlock;
  const size_t group = config_.heads / config_.kv_heads;
  const size_t head_dim = config_.head_dim;
  runtime_.pool().ParallelFor(config_.heads * blocks, 1, [&](size_t begin, size_t end, int worker) {
    for (size_t item = begin; item < end; ++item) {
      const size_t head = item / blocks;
      const size_t first = item % blocks * kQueryBlock;
      const size_t count = std::min(kQueryBlock, tokens - first);
      runtime_.kernels().attention({
          .q = q_.row(first).data() + head * head_dim,
          .q_stride = config_.q_width(),
          .q_count = count,
          .k = cache_.keys(layer, head / group),
          .k_stride = head_dim,
          .v = cache_.values(layer, head / group),
          .v_stride = head_dim,
          .kv_count = position + first + count,
          .head_dim = head_dim,
          .scale = 1.0f / std::sqrt(static_cast<float>(head_dim)),
          .causal = true,
          .causal_offset = position + first,
          .out = attended_.row(first).data() + head * head_dim,
          .out_stride = config_.q_width(),
          .scratch = scratch_.row(static_cast<size_t>(worker)).data(),
      });
    }
  });
}

void LlamaDecoder::AttentionBlock(size_t layer, size_t position, size_t tokens) {
  const LlamaLayer& weights = weights_.layers[layer];
  Normalize(residual_, weights.attention_norm, tokens);
  const Product projections[] = {{&weights.q, q_.data(), q_.cols()},
                                 {&weights.k, k_.data(), k_.cols()},
                                 {&weights.v, v_.data(), v_.cols()}};
  MatMul(runtime_, input_, projections);
  for (size_t t = 0; t < tokens; ++t) {
    ApplyRope(q_.row(t).data(), config_.heads, t);
    ApplyRope(k_.row(t).data(), config_.kv_heads, t);
    for (size_t head = 0; head < config_.kv_heads; ++head) {
      const size_t bytes = config_.head_dim * sizeof(float);
      const size_t at = (position + t) * config_.head_dim;
      const size_t from = head * config_.head_dim;
      std::memcpy(cache_.keys(layer, head) + at, k_.row(t).data() + from, bytes);
      std::memcpy(cache_.values(layer, head) + at, v_.row(t).data() + from, bytes);
    }
  }
  Attend(layer, position, tokens);
  input_.Set({attended_.data(), tokens, attended_.cols()});
  const Product output{&weights.attention_output, delta_.data(), delta_.cols()};
  MatMul(runtime_, input_, {&output, 1});
  runtime_.kernels().add(residual_.data(), delta_.data(), tokens * config_.width);
}

void LlamaDecoder::FeedForwardBlock(size_t layer, size_t tokens) {
  const LlamaLayer& weights = weights_.layers[layer];
  Normalize(residual_, weights.feed_norm, tokens);
  const Product projections[] = {{&weights.gate, gate_.data(), gate_.cols()},
                                 {&weights.up, up_.data(), up_.cols()}};
  MatMul(runtime_, input_, projections);
  runtime_.pool().ParallelFor(tokens, 1, [&](size_t begin, size_t end, int) {
    for (size_t t = begin; t < end; ++t) {
      runtime_.kernels().silu(gate_.row(t).data(), gate_.cols());
      MultiplyInto(gate_.row(t).data(), up_.row(t).data(), gate_.cols());
    }
  });
  input_.Set({gate_.data(), tokens, gate_.cols()});
  const Product output{&weights.down, delta_.data(), delta_.cols()};
  MatMul(runtime_, input_, {&output, 1});
  runtime_.kernels().add(residual_.data(), delta_.data(), tokens * config_.width);
}

Status LlamaDecoder::Forward(std::span<const TokenId> tokens, size_t position, Logits wanted,
                             const CancelToken* cancel) {
  const size_t count = tokens.size();
  Embed(tokens);
  Rotate(position, count);
  for (size_t layer = 0; layer < config_.layers; ++layer) {
    if (cancel != nullptr && cancel->cancelled()) return CancelledError("generation was cancelled");
    AttentionBlock(layer, position, count);
    FeedForwardBlock(layer, count);
  }
  if (wanted == Logits::kNone) return OkStatus();
  Normalize(residual_, weights_.output_norm, count);
  const size_t rows = wanted == Logits::kAll ? count : 1;
  if (logits_.rows() < rows) logits_ = Matrix(rows, config_.vocab_size);
  if (wanted == Logits::kLast) {
    input_.Set({normalized_.row(count - 1).data(), 1, config_.width});
  }
  const Product output{&weights_.output, logits_.data(), logits_.cols()};
  MatMul(runtime_, input_, {&output, 1});
  return OkStatus();
}

}  // namespace rag
