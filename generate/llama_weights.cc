#include "generate/llama_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "lib/kernels/quantized.h"

namespace rag {
namespace {

std::string ShapeText(std::span<const size_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += StrCat(i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

class Reader {
 public:
  explicit Reader(const GgufFile& file) : file_(file) {}

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

  Status Weights(const std::string& name, size_t rows, size_t cols, TensorView& out) {
    RAG_ASSIGN_OR_RETURN(const TensorView* tensor, Find(name, std::array{rows, cols}));
    out = *tensor;
    return OkStatus();
  }

  Status Vector(const std::string& name, size_t size, std::vector<float>& out) {
    RAG_ASSIGN_OR_RETURN(const TensorView* tensor, Find(name, std::array{size}));
    out.resize(size);
    return DequantizeTo(*tensor, 0, out).WithContext(StrCat(file_.path(), ": '", name, "'"));
  }

  bool Has(const std::string& name) const { return file_.Find(name) != nullptr; }
  bool Used(const std::string& name) const { return used_.count(name) != 0; }

 private:
  const GgufFile& file_;
  std::set<std::string> used_;
};

Status ReadLayer(Reader& reader, const LlamaConfig& config, size_t index, LlamaLayer& layer) {
  const std::string prefix = StrCat("blk.", index, ".");
  const size_t width = config.width;
  RAG_RETURN_IF_ERROR(reader.Vector(prefix + "attn_norm.weight", width, layer.attention_norm));
  RAG_RETURN_IF_ERROR(reader.Weights(prefix + "attn_q.weight", config.q_width(), width, layer.q));
  RAG_RETURN_IF_ERROR(reader.Weights(prefix + "attn_k.weight", config.kv_width(), width, layer.k));
  RAG_RETURN_IF_ERROR(reader.Weights(prefix + "attn_v.weight", config.kv_width(), width, layer.v));
  RAG_RETURN_IF_ERROR(reader.Weights(prefix + "attn_output.weight", width, config.q_width(),
                                     layer.attention_output));
  RAG_RETURN_IF_ERROR(reader.Vector(prefix + "ffn_norm.weight", width, layer.feed_norm));
  RAG_RETURN_IF_ERROR(
      reader.Weights(prefix + "ffn_gate.weight", config.feed_forward, width, layer.gate));
  RAG_RETURN_IF_ERROR(
      reader.Weights(prefix + "ffn_up.weight", config.feed_forward, width, layer.up));
  return reader.Weights(prefix + "ffn_down.weight", width, config.feed_forward, layer.down);
}

// Frequencies that some converters also stored; they say nothing that the metadata does not.
bool IsRedundant(std::string_view name) {
  return name.ends_with(".attn_rot_embd.weight") || name.ends_with(".attn_rot_embd");
}

}  // namespace

Result<LlamaWeights> ReadLlamaWeights(const GgufFile& file, const LlamaConfig& config) {
  Reader reader(file);
  LlamaWeights weights;
  RAG_RETURN_IF_ERROR(
      reader.Weights("token_embd.weight", config.vocab_size, config.width, weights.embeddings));
  RAG_RETURN_IF_ERROR(reader.Vector("output_norm.weight", config.width, weights.output_norm));
  weights.output = weights.embeddings;
  if (reader.Has("output.weight")) {
    RAG_RETURN_IF_ERROR(
        reader.Weights("output.weight", config.vocab_size, config.width, weights.output));
  }
  if (reader.Has("rope_freqs.weight")) {
    RAG_RETURN_IF_ERROR(
        reader.Vector("rope_freqs.weight", config.rope_dimensions / 2, weights.rope_factors));
    for (const float factor : weights.rope_factors) {
      if (!(factor > 0) || !std::isfinite(factor)) {
        return InvalidArgumentError(file.path(), ": tensor 'rope_freqs.weight' holds ", factor);
      }
    }
  }
  weights.layers.resize(config.layers);
  for (size_t i = 0; i < config.layers; ++i) {
    RAG_RETURN_IF_ERROR(ReadLayer(reader, config, i, weights.layers[i]));
  }
  std::array<size_t, static_cast<size_t>(DType::kQ6_K) + 1> elements = {};
  for (const std::string& name : file.TensorNames()) {
    const TensorView& tensor = *file.Find(name);
    if (!reader.Used(name) && !IsRedundant(name)) {
      return UnimplementedError(file.path(), ": tensor '", name,
                                "' is not part of a Llama decoder as we know it");
    }
    weights.parameters += tensor.elements();
    weights.bytes += tensor.bytes.size();
    if (tensor.shape.size() == 2) elements[static_cast<size_t>(tensor.type)] += tensor.elements();
  }
  const auto largest = std::max_element(elements.begin(), elements.end());
  weights.commonest_type = GetDTypeInfo(static_cast<DType>(largest - elements.begin())).name;
  return weights;
}

}  // namespace rag
