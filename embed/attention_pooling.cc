#include "embed/attention_pooling.h"

#include <algorithm>
#include <cmath>

#include "embed/transformer.h"
#include "lib/kernels/kernels.h"

namespace rag {

Result<AttentionPooling> AttentionPooling::Load(const TensorFinder& finder,
                                                const TransformerConfig& config,
                                                const Runtime& runtime) {
  const Kernels& kernels = runtime.kernels();
  const size_t hidden = config.hidden;
  const TensorFinder head = finder.WithPrefix("vision_model.head.");
  AttentionPooling pooling(config, runtime);
  const size_t projection_shape[] = {3 * hidden, hidden};
  const size_t seed_shape[] = {1, 1, hidden};
  RAG_ASSIGN_OR_RETURN(const TensorView* weight,
                       head.Find("attention.in_proj_weight", projection_shape));
  RAG_ASSIGN_OR_RETURN(const TensorView* seed_view, head.Find("probe", seed_shape));
  Matrix projection(3 * hidden, hidden);
  RAG_RETURN_IF_ERROR(DequantizeTo(*weight, 0, {projection.data(), 3 * hidden * hidden}));
  std::vector<float> bias;
  RAG_RETURN_IF_ERROR(head.ReadVector("attention.in_proj_bias", 3 * hidden, bias));
  std::vector<float> seed(hidden);
  RAG_RETURN_IF_ERROR(DequantizeTo(*seed_view, 0, seed));

  LinearScratch scratch;
  const Linear query(kernels, MatrixView(projection.data(), hidden, hidden),
                     std::span(bias).first(hidden));
  pooling.query_.resize(hidden);
  query.Apply(kernels, 1, seed.data(), hidden, pooling.query_.data(), hidden, scratch);
  pooling.keys_and_values_ =
      Linear(kernels, MatrixView(projection.row(hidden).data(), 2 * hidden, hidden),
             std::span(bias).subspan(hidden));
  const std::string out[] = {"attention.out_proj"};
  const std::string up[] = {"mlp.fc1"};
  const std::string down[] = {"mlp.fc2"};
  RAG_ASSIGN_OR_RETURN(pooling.attention_out_,
                       head.ReadLinear(kernels, out, {.out = hidden, .in = hidden}));
  RAG_ASSIGN_OR_RETURN(pooling.norm_, head.ReadNorm("layernorm", hidden));
  RAG_ASSIGN_OR_RETURN(pooling.up_,
                       head.ReadLinear(kernels, up, {.out = config.intermediate, .in = hidden}));
  RAG_ASSIGN_OR_RETURN(pooling.down_,
                       head.ReadLinear(kernels, down, {.out = hidden, .in = config.intermediate}));
  return pooling;
}

void AttentionPooling::Apply(MatrixView states, std::span<float> out) const {
  const Kernels& kernels = runtime_->kernels();
  const size_t hidden = config_->hidden;
  const size_t head_dim = hidden / config_->heads;
  LinearScratch scratch;
  Matrix keys_and_values(states.rows, 2 * hidden);
  keys_and_values_.Apply(kernels, states.rows, states.data, states.stride, keys_and_values.data(),
                         2 * hidden, scratch);
  std::vector<float> context(hidden);
  std::vector<float> attention(AttentionScratch(states.rows, head_dim));
  for (size_t head = 0; head < config_->heads; ++head) {
    const float* keys = keys_and_values.data() + head * head_dim;
    kernels.attention(Kernels::AttentionArgs{
        .q = query_.data() + head * head_dim,
        .q_stride = hidden,
        .q_count = 1,
        .k = keys,
        .k_stride = 2 * hidden,
        .v = keys + hidden,
        .v_stride = 2 * hidden,
        .kv_count = states.rows,
        .head_dim = head_dim,
        .scale = 1.0f / std::sqrt(static_cast<float>(head_dim)),
        .causal = false,
        .causal_offset = 0,
        .out = context.data() + head * head_dim,
        .out_stride = hidden,
        .scratch = attention.data(),
    });
  }
  attention_out_.Apply(kernels, 1, context.data(), hidden, out.data(), hidden, scratch);
  kernels.layer_norm(out.data(), norm_.gamma.data(), norm_.beta.data(), config_->norm_epsilon,
                     context.data(), hidden);
  std::vector<float> inner(config_->intermediate);
  up_.Apply(kernels, 1, context.data(), hidden, inner.data(), inner.size(), scratch);
  Activate(kernels, config_->activation, inner.data(), inner.size());
  down_.Apply(kernels, 1, inner.data(), inner.size(), context.data(), hidden, scratch);
  kernels.add(out.data(), context.data(), hidden);
}

}  // namespace rag
