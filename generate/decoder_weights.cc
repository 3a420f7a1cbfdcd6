#include "generate/decoder_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>

#include "generate/expert_names.h"
#include "lib/kernels/quantized.h"
#include "lib/tensor/shape_text.h"

namespace rag {
namespace {

constexpr std::string_view kLayerPrefix = "blk.";

// Rows [begin, begin + count) of a matrix.
TensorView Rows(const TensorView& matrix, size_t begin, size_t count) {
  const size_t row_bytes = matrix.bytes.size() / matrix.shape[0];
  return {matrix.type,
          {count, matrix.shape[1]},
          matrix.bytes.subspan(begin * row_bytes, count * row_bytes)};
}

class Reader {
 public:
  Reader(const GgufFile& file, NormKind norm) : file_(file), norm_(norm) {}

  Result<const TensorView*> Find(const std::string& name, std::span<const size_t> shape) {
    used_.insert(name);
    const TensorView* tensor = file_.Find(name);
    if (tensor == nullptr) {
      return InvalidArgumentError(file_.path(), ": tensor '", name, "' is missing");
    }
    if (!std::equal(shape.begin(), shape.end(), tensor->shape.begin(), tensor->shape.end())) {
      return InvalidArgumentError(file_.path(), ": tensor '", name, "' has shape ",
                                  ShapeText(tensor->shape), ", not ", ShapeText(shape));
    }
    if (!HasProduct(tensor->type)) {
      return InvalidArgumentError(file_.path(), ": tensor '", name, "' has type ",
                                  GetDTypeInfo(tensor->type).name, ", which is no weight type");
    }
    return tensor;
  }

  Status Matrix(const std::string& name, size_t rows, size_t cols, TensorView& out) {
    RAG_ASSIGN_OR_RETURN(const TensorView* tensor, Find(name, std::array{rows, cols}));
    out = *tensor;
    return OkStatus();
  }

  Status Vector(const std::string& name, size_t size, std::vector<float>& out) {
    RAG_ASSIGN_OR_RETURN(const TensorView* tensor, Find(name, std::array{size}));
    out.resize(size);
    return DequantizeTo(*tensor, 0, out).WithContext(StrCat(file_.path(), ": '", name, "'"));
  }
  Status VectorIfThere(const std::string& name, size_t size, std::vector<float>& out) {
    return Has(name) ? Vector(name, size, out) : OkStatus();
  }

  // `name` without ".weight"; the bias may be absent.
  Status Project(const std::string& name, size_t rows, size_t cols, Projection& out) {
    out.tensor = name + ".weight";
    RAG_RETURN_IF_ERROR(Matrix(out.tensor, rows, cols, out.weights));
    return VectorIfThere(name + ".bias", rows, out.bias);
  }

  // One tensor that holds several projections' rows one after another.
  Status ProjectFused(const std::string& name, size_t cols,
                      std::span<const std::pair<Projection*, size_t>> parts) {
    size_t rows = 0;
    for (const auto& [part, count] : parts) rows += count;
    Projection fused;
    RAG_RETURN_IF_ERROR(Project(name, rows, cols, fused));
    size_t begin = 0;
    for (const auto& [part, count] : parts) {
      part->weights = Rows(fused.weights, begin, count);
      part->tensor = fused.tensor;
      part->first_row = begin;
      if (!fused.bias.empty()) {
        const auto first = fused.bias.begin() + static_cast<ptrdiff_t>(begin);
        part->bias.assign(first, first + static_cast<ptrdiff_t>(count));
      }
      begin += count;
    }
    return OkStatus();
  }

  Status Norm(const std::string& name, size_t size, NormWeights& out) {
    RAG_RETURN_IF_ERROR(Vector(name + ".weight", size, out.gamma));
    if (norm_ == NormKind::kRms) return OkStatus();
    out.beta.assign(size, 0.0f);
    return VectorIfThere(name + ".bias", size, out.beta);
  }

  // `needed` or present: [head_dim], [heads, head_dim] each by itself, or [heads * head_dim].
  Status HeadNorm(const std::string& name, size_t heads, size_t head_dim, bool needed,
                  HeadNormWeights& out) {
    const TensorView* tensor = file_.Find(name);
    if (tensor == nullptr && !needed) return OkStatus();
    const bool each = tensor != nullptr && tensor->shape.size() == 2;
    out.whole = tensor != nullptr && tensor->shape.size() == 1 && tensor->shape[0] != head_dim;
    std::vector<size_t> shape = {out.whole ? heads * head_dim : head_dim};
    if (each) shape = {heads, head_dim};
    RAG_ASSIGN_OR_RETURN(const TensorView* found, Find(name, shape));
    out.gamma.resize(found->elements());
    return DequantizeTo(*found, 0, out.gamma).WithContext(StrCat(file_.path(), ": '", name, "'"));
  }

  // One matrix of each expert: a tensor [experts, rows, cols], or one tensor for each in old files.
  Status Experts(const std::string& prefix, const std::string& kind, size_t rows, size_t cols,
                 std::vector<FeedForward>& experts, Projection FeedForward::*part) {
    const std::string name = StrCat(prefix, kind, kStackedExperts);
    for (size_t i = 0; i < experts.size(); ++i) {
      (experts[i].*part).tensor = ExpertName(name, i);
    }
    if (!Has(name)) {
      for (FeedForward& expert : experts) {
        Projection& projection = expert.*part;
        RAG_RETURN_IF_ERROR(Matrix(projection.tensor, rows, cols, projection.weights));
      }
      return OkStatus();
    }
    RAG_ASSIGN_OR_RETURN(const TensorView* all, Find(name, std::array{experts.size(), rows, cols}));
    const size_t bytes = all->bytes.size() / experts.size();
    for (size_t i = 0; i < experts.size(); ++i) {
      (experts[i].*part).weights = {all->type, {rows, cols}, all->bytes.subspan(i * bytes, bytes)};
    }
    return OkStatus();
  }

  bool Has(const std::string& name) const { return file_.Find(name) != nullptr; }
  bool Used(const std::string& name) const { return used_.count(name) != 0; }

 private:
  const GgufFile& file_;
  const NormKind norm_;
  std::set<std::string> used_;
};

Status ReadAttention(Reader& reader, const DecoderConfig& config, const std::string& prefix,
                     DecoderLayer& layer) {
  const size_t width = config.width;
  if (config.norms_before) {
    RAG_RETURN_IF_ERROR(reader.Norm(prefix + "attn_norm", width, layer.attention_norm));
  }
  if (reader.Has(prefix + "attn_qkv.weight")) {
    const std::pair<Projection*, size_t> parts[] = {
        {&layer.q, config.q_width()}, {&layer.k, config.kv_width()}, {&layer.v, config.kv_width()}};
    RAG_RETURN_IF_ERROR(reader.ProjectFused(prefix + "attn_qkv", width, parts));
  } else {
    RAG_RETURN_IF_ERROR(reader.Project(prefix + "attn_q", config.q_width(), width, layer.q));
    RAG_RETURN_IF_ERROR(reader.Project(prefix + "attn_k", config.kv_width(), width, layer.k));
    RAG_RETURN_IF_ERROR(reader.Project(prefix + "attn_v", config.kv_width(), width, layer.v));
  }
  RAG_RETURN_IF_ERROR(reader.HeadNorm(prefix + "attn_q_norm.weight", config.heads, config.head_dim,
                                      config.head_norms, layer.q_norm));
  RAG_RETURN_IF_ERROR(reader.HeadNorm(prefix + "attn_k_norm.weight", config.kv_heads,
                                      config.head_dim, config.head_norms, layer.k_norm));
  RAG_RETURN_IF_ERROR(
      reader.Project(prefix + "attn_output", width, config.q_width(), layer.attention_output));
  if (!config.norms_after) return OkStatus();
  return reader.Norm(prefix + "post_attention_norm", width, layer.attention_post_norm);
}

Status ReadFeedForward(Reader& reader, const DecoderConfig& config, const std::string& prefix,
                       DecoderLayer& layer) {
  const size_t width = config.width;
  const size_t hidden = config.feed_forward;
  if (config.norms_before && config.residual != Residual::kParallelShared) {
    RAG_RETURN_IF_ERROR(reader.Norm(prefix + "ffn_norm", width, layer.feed_norm));
  }
  if (config.norms_after) {
    RAG_RETURN_IF_ERROR(reader.Norm(prefix + "post_ffw_norm", width, layer.feed_post_norm));
  }
  if (config.experts > 0) {
    layer.feed.resize(config.experts);
    RAG_RETURN_IF_ERROR(
        reader.Project(prefix + "ffn_gate_inp", config.experts, width, layer.router));
    RAG_RETURN_IF_ERROR(
        reader.Experts(prefix, "ffn_gate", hidden, width, layer.feed, &FeedForward::gate));
    RAG_RETURN_IF_ERROR(
        reader.Experts(prefix, "ffn_up", hidden, width, layer.feed, &FeedForward::up));
    return reader.Experts(prefix, "ffn_down", width, hidden, layer.feed, &FeedForward::down);
  }
  layer.feed.resize(1);
  FeedForward& feed = layer.feed[0];
  if (config.gate == Gate::kFused) {
    const std::pair<Projection*, size_t> parts[] = {{&feed.gate, hidden}, {&feed.up, hidden}};
    RAG_RETURN_IF_ERROR(reader.ProjectFused(prefix + "ffn_up", width, parts));
  } else {
    if (config.gate == Gate::kSeparate) {
      RAG_RETURN_IF_ERROR(reader.Project(prefix + "ffn_gate", hidden, width, feed.gate));
    }
    RAG_RETURN_IF_ERROR(reader.Project(prefix + "ffn_up", hidden, width, feed.up));
  }
  return reader.Project(prefix + "ffn_down", width, hidden, feed.down);
}

Status ReadRopeFactors(Reader& reader, const GgufFile& file, const DecoderConfig& config,
                       DecoderWeights& weights) {
  const std::pair<const char*, std::vector<float>*> kinds[] = {
      {"rope_freqs.weight", &weights.rope_factors},
      {"rope_factors_short.weight", &weights.rope_factors_short},
      {"rope_factors_long.weight", &weights.rope_factors_long}};
  for (const auto& [name, factors] : kinds) {
    if (!reader.Has(name)) continue;
    RAG_RETURN_IF_ERROR(reader.Vector(name, config.rope.dimensions / 2, *factors));
    for (const float factor : *factors) {
      if (!(factor > 0) || !std::isfinite(factor)) {
        return InvalidArgumentError(file.path(), ": tensor '", name, "' holds ", factor);
      }
    }
  }
  if (config.rope.scaling.kind == RopeScaling::kLong &&
      (weights.rope_factors_short.empty() || weights.rope_factors_long.empty())) {
    return InvalidArgumentError(file.path(),
                                ": longrope needs the tensors "
                                "'rope_factors_short.weight' and 'rope_factors_long.weight'");
  }
  return OkStatus();
}

// Frequencies that some converters also stored; they say nothing that the metadata does not.
bool IsRedundant(std::string_view name) {
  return name.ends_with(".attn_rot_embd.weight") || name.ends_with(".attn_rot_embd");
}

// What one layer has the others have too: a bias that is missing would otherwise be taken for one
// that the model does not have.
Status CheckLayersAlike(const GgufFile& file, size_t layers) {
  std::map<std::string, std::vector<bool>, std::less<>> parts;  // [layers] of each part's name
  for (const std::string& name : file.TensorNames()) {
    if (!name.starts_with(kLayerPrefix) || IsRedundant(name)) continue;
    const size_t dot = name.find('.', kLayerPrefix.size());
    const size_t layer = std::strtoull(name.c_str() + kLayerPrefix.size(), nullptr, 10);
    std::vector<bool>& has = parts[name.substr(dot + 1)];
    has.resize(layers);
    has[layer] = true;
  }
  for (const auto& [part, has] : parts) {
    const auto missing = std::find(has.begin(), has.end(), false);
    if (missing == has.end()) continue;
    return InvalidArgumentError(file.path(), ": tensor '", kLayerPrefix, missing - has.begin(), ".",
                                part, "' is missing, which other layers have");
  }
  return OkStatus();
}

// Of the embeddings one row is read, which is nothing; of experts those that are chosen.
size_t TokenBytes(const DecoderConfig& config, const DecoderWeights& weights) {
  size_t bytes = weights.output.weights.bytes.size();
  for (const DecoderLayer& layer : weights.layers) {
    for (const Projection* part :
         {&layer.q, &layer.k, &layer.v, &layer.attention_output, &layer.router}) {
      bytes += part->weights.bytes.size();
    }
    const size_t used = config.experts > 0 ? config.experts_used : 1;
    const FeedForward& feed = layer.feed[0];  // all experts are of one size
    for (const Projection* part : {&feed.gate, &feed.up, &feed.down}) {
      bytes += used * part->weights.bytes.size();
    }
  }
  return bytes;
}

Status Summarize(const Reader& reader, const GgufFile& file, const DecoderConfig& config,
                 DecoderWeights& weights) {
  std::array<size_t, kDTypeCount> elements = {};
  for (const std::string& name : file.TensorNames()) {
    const TensorView& tensor = *file.Find(name);
    if (!reader.Used(name) && !IsRedundant(name)) {
      return UnsupportedError(file.path(), ": tensor '", name,
                              "' is not part of this architecture as we know it");
    }
    weights.parameters += tensor.elements();
    weights.bytes += tensor.bytes.size();
    if (tensor.shape.size() >= 2) elements[static_cast<size_t>(tensor.type)] += tensor.elements();
  }
  weights.token_bytes = TokenBytes(config, weights);
  const auto largest = std::max_element(elements.begin(), elements.end());
  weights.commonest_type = GetDTypeInfo(static_cast<DType>(largest - elements.begin())).name;
  return OkStatus();
}

}  // namespace

Result<DecoderWeights> ReadDecoderWeights(const GgufFile& file, const DecoderConfig& config) {
  Reader reader(file, config.norm);
  DecoderWeights weights;
  const size_t width = config.width;
  RAG_RETURN_IF_ERROR(
      reader.Matrix("token_embd.weight", config.vocab_size, width, weights.embeddings));
  if (config.learned_positions) {
    RAG_RETURN_IF_ERROR(
        reader.Matrix("position_embd.weight", config.file_context, width, weights.positions));
  }
  if (reader.Has("token_embd_norm.weight")) {
    RAG_RETURN_IF_ERROR(reader.Norm("token_embd_norm", width, weights.embedding_norm));
  }
  RAG_RETURN_IF_ERROR(reader.Norm("output_norm", width, weights.output_norm));
  weights.output.weights = weights.embeddings;
  weights.output.tensor = "output.weight";
  if (reader.Has("output.weight")) {
    RAG_RETURN_IF_ERROR(reader.Project("output", config.vocab_size, width, weights.output));
  }
  RAG_RETURN_IF_ERROR(ReadRopeFactors(reader, file, config, weights));
  weights.layers.resize(config.layers);
  for (size_t i = 0; i < config.layers; ++i) {
    const std::string prefix = StrCat(kLayerPrefix, i, ".");
    RAG_RETURN_IF_ERROR(ReadAttention(reader, config, prefix, weights.layers[i]));
    RAG_RETURN_IF_ERROR(ReadFeedForward(reader, config, prefix, weights.layers[i]));
  }
  RAG_RETURN_IF_ERROR(Summarize(reader, file, config, weights));
  RAG_RETURN_IF_ERROR(CheckLayersAlike(file, config.layers));
  return weights;
}

std::vector<Projection*> Projections(DecoderWeights& weights) {
  std::vector<Projection*> projections = {&weights.output};
  for (DecoderLayer& layer : weights.layers) {
    projections.insert(projections.end(),
                       {&layer.q, &layer.k, &layer.v, &layer.attention_output, &layer.router});
    for (FeedForward& feed : layer.feed) {
      projections.insert(projections.end(), {&feed.gate, &feed.up, &feed.down});
    }
  }
  std::erase_if(projections, [](const Projection* projection) { return !projection->exists(); });
  return projections;
}

Status PackDecoderWeights(const GgufFile& file, const Runtime& runtime, DecoderWeights& weights) {
  const std::vector<Projection*> projections = Projections(weights);
  size_t bytes = 0;
  for (const Projection* const projection : projections) {
    bytes += PackedMatrix::BytesFor(projection->weights, runtime);
  }
  // One piece, so that small matrices lie in huge pages too, and none leaves the rest of one
  // unused.
  Result<PageBuffer> memory = PageBuffer::Allocate(bytes);
  if (!memory.ok()) return std::move(memory).status().WithContext(file.path());
  weights.packed = std::move(memory).value();
  std::byte* next = weights.packed.data();
  for (Projection* const projection : projections) {
    projection->packed = PackedMatrix::Pack(projection->weights, runtime, next);
    if (projection->packed.empty()) continue;
    next += PackedMatrix::BytesFor(projection->weights, runtime);
    file.Forget(projection->weights.bytes);
  }
  return OkStatus();
}

}  // namespace rag
