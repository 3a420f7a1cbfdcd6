#include "embed/encoder_forward.h"

#include <algorithm>
#include <cmath>

#include "lib/kernels/kernels.h"

namespace rag {
namespace {

// Rows that one worker takes through the feed-forward network at a time: their intermediate
// activations (48 * 1536 floats for MiniLM) stay in the second-level cache.
constexpr size_t kRowBlock = 48;

}  // namespace

EncoderScratch EncoderForward::MakeScratch() const {
  EncoderScratch scratch;
  scratch.rows = Matrix(kRowBlock, config_.hidden);
  scratch.up = Matrix(kRowBlock, config_.intermediate);
  scratch.attention.resize(AttentionScratch(config_.max_tokens, config_.hidden / config_.heads));
  return scratch;
}

bool EncoderForward::EncodeBatch(std::span<const TokenSequence> sequences,
                                 EncoderWorkspace& workspace, std::span<EncoderScratch> scratch,
                                 const CancelToken* cancel) const {
  size_t tokens = 0;
  for (const TokenSequence& sequence : sequences) tokens += sequence.ids.size();
  if (workspace.hidden.rows() < tokens) {
    workspace.hidden = Matrix(tokens, config_.hidden);
    workspace.qkv = Matrix(tokens, 3 * config_.hidden);
    workspace.context = Matrix(tokens, config_.hidden);
  }
  Embed(sequences, workspace.hidden);

  ThreadPool& pool = runtime_.pool();
  const size_t threads = static_cast<size_t>(pool.size());
  const size_t block = std::clamp<size_t>((tokens + threads - 1) / threads, 1, kRowBlock);
  for (const EncoderLayer& layer : weights_.layers) {
    if (cancel != nullptr && cancel->cancelled()) return false;
    pool.ParallelFor(tokens, block, [&](size_t begin, size_t end, int) {
      layer.qkv.Apply(runtime_.kernels(), end - begin, workspace.hidden.row(begin).data(),
                      config_.hidden, workspace.qkv.row(begin).data(), 3 * config_.hidden);
    });
    Attend(sequences, workspace, scratch);
    pool.ParallelFor(tokens, block, [&](size_t begin, size_t end, int worker) {
      FinishRows(layer, begin, end, workspace, scratch[static_cast<size_t>(worker)]);
    });
  }
  Pool(sequences, workspace.hidden);
  return true;
}

void EncoderForward::Embed(std::span<const TokenSequence> sequences, Matrix& hidden) const {
  const Kernels& kernels = runtime_.kernels();
  size_t row = 0;
  for (const TokenSequence& sequence : sequences) {
    for (size_t i = 0; i < sequence.ids.size(); ++i, ++row) {
      const std::span<float> x = hidden.row(row);
      weights_.ReadWord(static_cast<size_t>(sequence.ids[i]), x);
      if (config_.type_vocab > 0) {
        const size_t type = std::min<size_t>(sequence.type_ids[i], config_.type_vocab - 1);
        kernels.add(x.data(), weights_.types.row(type).data(), x.size());
      }
      kernels.add(x.data(), weights_.positions.row(config_.first_position + i).data(), x.size());
      kernels.layer_norm(x.data(), weights_.norm.gamma.data(), weights_.norm.beta.data(),
                         config_.layer_norm_epsilon, x.data(), x.size());
    }
  }
}

// context = attention of each sequence on itself, each head on its own.
void EncoderForward::Attend(std::span<const TokenSequence> sequences, EncoderWorkspace& workspace,
                            std::span<EncoderScratch> scratch) const {
  const size_t heads = config_.heads;
  const size_t head_dim = config_.hidden / heads;
  const size_t stride = 3 * config_.hidden;
  std::vector<size_t> first_rows;
  size_t row = 0;
  for (const TokenSequence& sequence : sequences) {
    first_rows.push_back(row);
    row += sequence.ids.size();
  }
  runtime_.pool().ParallelFor(
      sequences.size() * heads, 1, [&](size_t begin, size_t end, int worker) {
        for (size_t item = begin; item < end; ++item) {
          const size_t length = sequences[item / heads].ids.size();
          if (length == 0) continue;
          const size_t first_row = first_rows[item / heads];
          const size_t column = item % heads * head_dim;
          const float* query = workspace.qkv.row(first_row).data() + column;
          runtime_.kernels().attention(Kernels::AttentionArgs{
              .q = query,
              .q_stride = stride,
              .q_count = length,
              .k = query + config_.hidden,
              .k_stride = stride,
              .v = query + 2 * config_.hidden,
              .v_stride = stride,
              .kv_count = length,
              .head_dim = head_dim,
              .scale = 1.0f / std::sqrt(static_cast<float>(head_dim)),
              .causal = false,
              .causal_offset = 0,
              .out = workspace.context.row(first_row).data() + column,
              .out_stride = config_.hidden,
              .scratch = scratch[static_cast<size_t>(worker)].attention.data(),
          });
        }
      });
}

// Everything of a layer after attention, for some rows: output projection, residual and norm, then
// the feed-forward network, residual and norm, in place in workspace.hidden.
void EncoderForward::FinishRows(const EncoderLayer& layer, size_t begin, size_t end,
                                EncoderWorkspace& workspace, EncoderScratch& scratch) const {
  const Kernels& kernels = runtime_.kernels();
  const size_t hidden = config_.hidden;
  const size_t count = end - begin;
  const auto add_and_normalize = [&](const NormWeights& norm) {
    for (size_t i = 0; i < count; ++i) {
      float* x = workspace.hidden.row(begin + i).data();
      kernels.add(x, scratch.rows.row(i).data(), hidden);
      kernels.layer_norm(x, norm.gamma.data(), norm.beta.data(), config_.layer_norm_epsilon, x,
                         hidden);
    }
  };
  layer.attention_out.Apply(kernels, count, workspace.context.row(begin).data(), hidden,
                            scratch.rows.data(), hidden);
  add_and_normalize(layer.attention_norm);
  layer.up.Apply(kernels, count, workspace.hidden.row(begin).data(), hidden, scratch.up.data(),
                 config_.intermediate);
  Activate(scratch.up.data(), count * config_.intermediate);
  layer.down.Apply(kernels, count, scratch.up.data(), config_.intermediate, scratch.rows.data(),
                   hidden);
  add_and_normalize(layer.output_norm);
}

void EncoderForward::Activate(float* x, size_t n) const {
  const Kernels& kernels = runtime_.kernels();
  switch (config_.activation) {
    case Activation::kGelu:
      return kernels.gelu(x, n);
    case Activation::kGeluTanh:
      return kernels.gelu_tanh(x, n);
    case Activation::kSilu:
      return kernels.silu(x, n);
    case Activation::kRelu:
      for (size_t i = 0; i < n; ++i) x[i] = std::max(x[i], 0.0f);
      return;
  }
}

void EncoderForward::Pool(std::span<const TokenSequence> sequences, const Matrix& hidden) const {
  const Kernels& kernels = runtime_.kernels();
  const size_t dim = config_.hidden;
  size_t row = 0;
  for (const TokenSequence& sequence : sequences) {
    const std::span<float> out(sequence.out, dim);
    std::fill(out.begin(), out.end(), 0.0f);
    if (sequence.ids.empty()) continue;
    const size_t first = row + sequence.pool_begin;
    const size_t length = sequence.ids.size() - sequence.pool_begin;
    std::copy_n(hidden.row(first).data(), dim, out.data());
    if (config_.pooling == Pooling::kMean) {
      for (size_t i = 1; i < length; ++i) {
        kernels.add(out.data(), hidden.row(first + i).data(), dim);
      }
      for (float& value : out) value /= static_cast<float>(length);
    } else if (config_.pooling == Pooling::kMax) {
      for (size_t i = 1; i < length; ++i) {
        const float* other = hidden.row(first + i).data();
        for (size_t d = 0; d < dim; ++d) out[d] = std::max(out[d], other[d]);
      }
    }
    if (config_.normalize) {
      // torch.nn.functional.normalize's smallest divisor.
      const float norm = std::max(std::sqrt(kernels.dot(out.data(), out.data(), dim)), 1e-12f);
      for (float& value : out) value /= norm;
    }
    row += sequence.ids.size();
  }
}

}  // namespace rag
