#include "embed/transformer.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "lib/kernels/kernels.h"

namespace rag {
namespace {

// Rows that one worker takes through the feed-forward network at a time: their intermediate
// activations (48 * 1536 floats for MiniLM) stay in the second-level cache.
constexpr size_t kRowBlock = 48;
// The same where a layer's weights, read once for each block, cost more than what the activations
// do outside of the cache: in f32, whose weights are so large, and with products on tiles, which
// are so fast. (768 rows gained nothing over 192 for BERT-base in f32 on Zen 5.)
constexpr size_t kWideRowBlock = 192;
// A multiple of the rows that products take at once.
constexpr size_t kRowStep = 12;

size_t MostRows(const Kernels& kernels, Precision precision) {
  const bool is_wide = precision == Precision::kF32 || kernels.gemm_split != nullptr;
  return is_wide ? kWideRowBlock : kRowBlock;
}

// Rows of a block, at most `most`, a multiple of kRowStep: a thread's share in equal ones.
size_t RowBlock(size_t tokens, size_t threads, size_t most) {
  const size_t share = std::max<size_t>(1, (tokens + threads - 1) / threads);
  const size_t blocks = (share + most - 1) / most;
  return ((share + blocks - 1) / blocks + kRowStep - 1) / kRowStep * kRowStep;
}

// What a product can do to its results by itself; nothing of an activation that it cannot.
std::optional<Activation> ProductActivation(EncoderActivation activation) {
  switch (activation) {
    case EncoderActivation::kGelu:
      return Activation::kGelu;
    case EncoderActivation::kGeluTanh:
      return Activation::kGeluTanh;
    case EncoderActivation::kSilu:
      return Activation::kSilu;
    case EncoderActivation::kIdentity:
      return Activation::kNone;
    default:
      return std::nullopt;
  }
}

}  // namespace

void Activate(const Kernels& kernels, EncoderActivation activation, float* x, size_t n) {
  if (const std::optional<Activation> of_products = ProductActivation(activation)) {
    return Activate(kernels, *of_products, x, n);
  }
  const auto each = [&](auto function) {
    for (size_t i = 0; i < n; ++i) x[i] = function(x[i]);
  };
  // log(1 + e^x), which is x where e^x would overflow.
  const auto softplus = [](float v) { return v > 20.0f ? v : std::log1p(std::exp(v)); };
  switch (activation) {
    case EncoderActivation::kQuickGelu: {
      // Hendrycks & Gimpel 2016: x * sigmoid(1.702 x).
      constexpr float kSlope = 1.702f;
      for (size_t i = 0; i < n; ++i) x[i] *= kSlope;
      kernels.silu(x, n);
      for (size_t i = 0; i < n; ++i) x[i] /= kSlope;
      return;
    }
    case EncoderActivation::kRelu:
      return each([](float v) { return std::max(v, 0.0f); });
    case EncoderActivation::kSigmoid:
      return each([](float v) { return 1.0f / (1.0f + std::exp(-v)); });
    case EncoderActivation::kElu:
      return each([](float v) { return v > 0.0f ? v : std::expm1(v); });
    case EncoderActivation::kLeakyRelu:
      return each([](float v) { return v > 0.0f ? v : 0.01f * v; });
    case EncoderActivation::kSoftplus:
      return each(softplus);
    case EncoderActivation::kMish:
      return each([&](float v) { return v * std::tanh(softplus(v)); });
    default:
      return each([](float v) { return std::tanh(v); });
  }
}

TransformerScratch Transformer::MakeScratch() const {
  TransformerScratch scratch;
  const size_t words = config_.embedding * (config_.trigram ? 3 : 1);
  const size_t block = MostRows(runtime_.kernels(), weights_.precision);
  scratch.rows = Matrix(block, std::max({config_.hidden, config_.inner, words}));
  scratch.up = Matrix(block, config_.intermediate * (config_.gated ? 2 : 1));
  scratch.attention.resize(AttentionScratch(max_tokens_, config_.head_dim));
  return scratch;
}

bool Transformer::Run(std::span<const TokenSequence> sequences, TransformerWorkspace& workspace,
                      std::span<TransformerScratch> scratch, const CancelToken* cancel) const {
  size_t tokens = 0;
  workspace.places.clear();
  workspace.table_rows.clear();
  for (const TokenSequence& sequence : sequences) {
    tokens += sequence.size();
    auto next_row = static_cast<uint32_t>(config_.first_position);
    for (size_t i = 0; i < sequence.size(); ++i) {
      workspace.places.push_back(static_cast<uint32_t>(i));
      const bool placed = config_.unplaced_id < 0 || sequence.ids[i] != config_.unplaced_id;
      workspace.table_rows.push_back(placed ? next_row++
                                            : static_cast<uint32_t>(config_.first_position - 1));
    }
  }
  if (workspace.hidden.rows() < tokens) {
    workspace.hidden = Matrix(tokens, config_.hidden);
    workspace.qkv = Matrix(tokens, config_.qkv_width());
    workspace.context = Matrix(tokens, config_.query_width());
    if (config_.has_bottleneck()) {
      workspace.inner = Matrix(tokens, config_.inner);
    }
  }
  Embed(sequences, workspace, scratch);

  ThreadPool& pool = runtime_.pool();
  const size_t block = RowBlock(tokens, static_cast<size_t>(pool.size()),
                                MostRows(runtime_.kernels(), weights_.precision));
  for (size_t i = 0; i < config_.depth(); ++i) {
    if (cancel != nullptr && cancel->cancelled()) return false;
    const TransformerLayer& layer = weights_.layers[config_.stored_layer(i)];
    const bool local = config_.is_local(i);
    pool.ParallelFor(tokens, block, [&](size_t begin, size_t end, int worker) {
      ProjectRows(layer, local, begin, end, workspace, scratch[static_cast<size_t>(worker)]);
    });
    Attend(sequences, local, workspace, scratch);
    pool.ParallelFor(tokens, block, [&](size_t begin, size_t end, int worker) {
      FinishRows(layer, begin, end, workspace, scratch[static_cast<size_t>(worker)]);
    });
  }
  if (!weights_.final_norm.gamma.empty()) {
    for (size_t row = 0; row < tokens; ++row) {
      float* x = workspace.hidden.row(row).data();
      Normalize(weights_.final_norm, x, x, config_.hidden);
    }
  }
  return true;
}

// --- embeddings ---

// The word vector of a token; with `trigram`, between those of its neighbours: next, own, previous.
void Transformer::ReadWords(const TokenSequence& sequence, size_t place, float* out) const {
  const size_t width = config_.embedding;
  if (sequence.rows.data != nullptr) {
    std::copy_n(sequence.rows.row(place).data(), width, out);
    return;
  }
  const auto read = [&](size_t at, float* to) {
    weights_.ReadWord(static_cast<size_t>(sequence.ids[at]), {to, width});
    if (config_.word_scale != 1) {
      for (size_t i = 0; i < width; ++i) to[i] *= config_.word_scale;
    }
  };
  if (!config_.trigram) return read(place, out);
  std::fill_n(out, 3 * width, 0.0f);
  if (place + 1 < sequence.ids.size()) read(place + 1, out);
  read(place, out + width);
  if (place > 0) read(place - 1, out + 2 * width);
}

void Transformer::AddPosition(const TokenSequence& sequence, size_t place, size_t table_row,
                              float* x, size_t width) const {
  const Kernels& kernels = runtime_.kernels();
  if (config_.type_vocab > 0) {
    const size_t type = std::min<size_t>(sequence.type_ids[place], config_.type_vocab - 1);
    kernels.add(x, weights_.types.row(type).data(), width);
  }
  if (config_.positions > 0) {
    kernels.add(x, weights_.positions.row(table_row).data(), width);
  }
}

// x [hidden] from one token.
void Transformer::EmbedRow(const TokenSequence& sequence, size_t place, size_t table_row, float* x,
                           TransformerScratch& scratch) const {
  float* row = scratch.rows.data();
  const Kernels& kernels = runtime_.kernels();
  if (!weights_.projection.has_value()) {
    ReadWords(sequence, place, x);
    AddPosition(sequence, place, table_row, x, config_.hidden);
    if (weights_.norm.gamma.empty()) return;
    return Normalize(weights_.norm, x, x, config_.hidden);
  }
  const Linear& projection = *weights_.projection;
  ReadWords(sequence, place, row);
  const bool project_first = config_.family == EncoderFamily::kMobileBert;
  if (!project_first) {
    AddPosition(sequence, place, table_row, row, config_.embedding);
    Normalize(weights_.norm, row, row, config_.embedding);
  }
  projection.Apply(kernels, 1, row, projection.in(), x, config_.hidden, scratch.linear);
  if (project_first) {
    AddPosition(sequence, place, table_row, x, config_.hidden);
    Normalize(weights_.norm, x, x, config_.hidden);
  }
}

void Transformer::Embed(std::span<const TokenSequence> sequences, TransformerWorkspace& workspace,
                        std::span<TransformerScratch> scratch) const {
  std::vector<const TokenSequence*> owners;  // of each row
  owners.reserve(workspace.places.size());
  for (const TokenSequence& sequence : sequences) {
    owners.insert(owners.end(), sequence.size(), &sequence);
  }
  runtime_.pool().ParallelFor(owners.size(), kRowBlock, [&](size_t begin, size_t end, int worker) {
    for (size_t row = begin; row < end; ++row) {
      EmbedRow(*owners[row], workspace.places[row], workspace.table_rows[row],
               workspace.hidden.row(row).data(), scratch[static_cast<size_t>(worker)]);
    }
  });
}

// --- a layer ---

void Transformer::Normalize(const EncoderNorm& norm, const float* x, float* out, size_t n) const {
  const Kernels& kernels = runtime_.kernels();
  if (config_.no_norm) {
    if (out != x) std::copy_n(x, n, out);
    kernels.mul(out, norm.gamma.data(), n);
    kernels.add(out, norm.beta.data(), n);
    return;
  }
  if (config_.rms_norm) {
    return kernels.rms_norm(x, norm.gamma.data(), config_.norm_epsilon, out, n);
  }
  kernels.layer_norm(x, norm.gamma.data(), norm.beta.data(), config_.norm_epsilon, out, n);
}

void Transformer::NormalizeRows(const EncoderNorm& norm, size_t count, size_t width,
                                float* rows) const {
  if (norm.gamma.empty()) return;
  for (size_t i = 0; i < count; ++i) Normalize(norm, rows + i * width, rows + i * width, width);
}

void Transformer::AddRows(const EncoderNorm& norm, size_t count, size_t width, const float* rows,
                          float* stream) const {
  for (size_t i = 0; i < count; ++i) {
    float* x = stream + i * width;
    runtime_.kernels().add(x, rows + i * width, width);
    if (!config_.pre_norm) Normalize(norm, x, x, width);
  }
}

// Queries, keys and values of some rows.
void Transformer::ProjectRows(const TransformerLayer& layer, bool local, size_t begin, size_t end,
                              TransformerWorkspace& workspace, TransformerScratch& scratch) const {
  const Kernels& kernels = runtime_.kernels();
  const size_t count = end - begin;
  const size_t inner = config_.inner;
  const size_t hidden = config_.hidden;
  const size_t stride = config_.qkv_width();
  const float* x = workspace.hidden.row(begin).data();
  float* qkv = workspace.qkv.row(begin).data();
  if (layer.bottleneck.has_value()) {
    const Bottleneck& bottleneck = *layer.bottleneck;
    float* stream = workspace.inner.row(begin).data();
    float* shared = scratch.rows.data();
    bottleneck.input.Apply(kernels, count, x, hidden, stream, inner, scratch.linear);
    bottleneck.attention.Apply(kernels, count, x, hidden, shared, inner, scratch.linear);
    for (size_t i = 0; i < count; ++i) {
      Normalize(bottleneck.input_norm, stream + i * inner, stream + i * inner, inner);
      Normalize(bottleneck.attention_norm, shared + i * inner, shared + i * inner, inner);
    }
    layer.qkv.Apply(kernels, count, shared, inner, qkv, stride, scratch.linear);
    bottleneck.value.Apply(kernels, count, x, hidden, qkv + 2 * inner, stride, scratch.linear);
  } else if (config_.pre_norm && !layer.attention_norm.gamma.empty()) {
    for (size_t i = 0; i < count; ++i) {
      Normalize(layer.attention_norm, x + i * hidden, scratch.rows.data() + i * hidden, hidden);
    }
    layer.qkv.Apply(kernels, count, scratch.rows.data(), hidden, qkv, stride, scratch.linear);
  } else {
    layer.qkv.Apply(kernels, count, x, hidden, qkv, stride, scratch.linear);
  }
  if (config_.head_norms) {
    for (size_t i = 0; i < count; ++i) {
      for (size_t head = 0; head < config_.heads + config_.kv_heads; ++head) {
        float* part = qkv + i * stride + head * config_.head_dim;
        Normalize(layer.head_norms[head < config_.heads ? 0 : 1], part, part, config_.head_dim);
      }
    }
  }
  if (config_.rotary_base > 0) {
    const bool own = local && config_.local_rotary_base > 0;
    const Rotary& rotary = own ? weights_.local_rotary : weights_.rotary;
    for (size_t i = 0; i < count; ++i) {
      // Queries and keys lie side by side.
      rotary.Apply(workspace.places[begin + i], config_.heads + config_.kv_heads, qkv + i * stride);
    }
  }
}

// context = attention of each sequence on itself, each head on its own.
void Transformer::Attend(std::span<const TokenSequence> sequences, bool local,
                         TransformerWorkspace& workspace,
                         std::span<TransformerScratch> scratch) const {
  const size_t heads = config_.heads;
  const size_t width = config_.query_width();
  const size_t head_dim = config_.head_dim;
  const size_t stride = config_.qkv_width();
  std::vector<size_t> first_rows;
  size_t row = 0;
  for (const TokenSequence& sequence : sequences) {
    first_rows.push_back(row);
    row += sequence.size();
  }
  runtime_.pool().ParallelFor(
      sequences.size() * heads, 1, [&](size_t begin, size_t end, int worker) {
        for (size_t item = begin; item < end; ++item) {
          const size_t length = sequences[item / heads].size();
          if (length == 0) continue;
          const size_t first_row = first_rows[item / heads];
          const size_t head = item % heads;
          const float* queries = workspace.qkv.row(first_row).data();
          const float* keys = queries + width + head * config_.kv_heads / heads * head_dim;
          runtime_.kernels().attention(Kernels::AttentionArgs{
              .q = queries + head * head_dim,
              .q_stride = stride,
              .q_count = length,
              .k = keys,
              .k_stride = stride,
              .v = keys + config_.kv_width(),
              .v_stride = stride,
              .kv_count = std::min(length, sequences[item / heads].seen),
              .head_dim = head_dim,
              .scale = config_.score_scale,
              .causal = config_.causal,
              .causal_offset = 0,
              .out = workspace.context.row(first_row).data() + head * head_dim,
              .out_stride = width,
              .scratch = scratch[static_cast<size_t>(worker)].attention.data(),
              .bias = weights_.score_bias.empty() ? nullptr : weights_.score_bias.head(head),
              .window = local ? config_.window : SIZE_MAX,
              .rounded = weights_.precision != Precision::kF32,
          });
        }
      });
}

// stream [count, inner] goes through one feed-forward network and gets its result added.
void Transformer::FeedForwardRows(const EncoderFeedForward& network, size_t count, float* stream,
                                  TransformerScratch& scratch) const {
  const Kernels& kernels = runtime_.kernels();
  const size_t inner = config_.inner;
  const size_t width = config_.intermediate;
  const size_t stride = scratch.up.cols();
  const float* input = stream;
  if (config_.pre_norm) {
    for (size_t i = 0; i < count; ++i) {
      Normalize(network.norm, stream + i * inner, scratch.rows.data() + i * inner, inner);
    }
    input = scratch.rows.data();
  }
  float* up = scratch.up.data();
  const std::optional<Activation> fused =
      config_.gated ? std::nullopt : ProductActivation(config_.activation);
  network.up.Apply(kernels, count, input, inner, up, stride, scratch.linear,
                   fused.value_or(Activation::kNone));
  if (config_.gated) {
    for (size_t i = 0; i < count; ++i) {
      Activate(kernels, config_.activation, up + i * stride, width);
      kernels.mul(up + i * stride, up + i * stride + width, width);
    }
  } else if (!fused.has_value()) {
    Activate(kernels, config_.activation, up, count * width);
  }
  network.down.Apply(kernels, count, up, stride, scratch.rows.data(), inner, scratch.linear);
  NormalizeRows(network.result_norm, count, inner, scratch.rows.data());
  AddRows(network.norm, count, inner, scratch.rows.data(), stream);
}

// Everything of a layer after attention, for some rows: output projection, residual and norm, then
// the feed-forward networks, in place in workspace.hidden.
void Transformer::FinishRows(const TransformerLayer& layer, size_t begin, size_t end,
                             TransformerWorkspace& workspace, TransformerScratch& scratch) const {
  const Kernels& kernels = runtime_.kernels();
  const size_t inner = config_.inner;
  const size_t count = end - begin;
  float* hidden = workspace.hidden.row(begin).data();
  float* stream = layer.bottleneck.has_value() ? workspace.inner.row(begin).data() : hidden;
  layer.attention_out.Apply(kernels, count, workspace.context.row(begin).data(),
                            config_.query_width(), scratch.rows.data(), inner, scratch.linear);
  NormalizeRows(layer.attention_result_norm, count, inner, scratch.rows.data());
  AddRows(layer.attention_norm, count, inner, scratch.rows.data(), stream);
  for (const EncoderFeedForward& network : layer.feed_forwards) {
    FeedForwardRows(network, count, stream, scratch);
  }
  if (layer.bottleneck.has_value()) {
    const Bottleneck& bottleneck = *layer.bottleneck;
    bottleneck.output.Apply(kernels, count, stream, inner, scratch.rows.data(), config_.hidden,
                            scratch.linear);
    AddRows(bottleneck.output_norm, count, config_.hidden, scratch.rows.data(), hidden);
  }
}

}  // namespace rag
