#include "embed/encoder_weights.h"

#include <algorithm>
#include <utility>

#include "lib/base/hash.h"

namespace rag {
namespace {

std::string ShapeText(std::span<const size_t> shape) {
  std::string text = "[";
  for (const size_t extent : shape) text += StrCat(text.size() > 1 ? ", " : "", extent);
  return text + "]";
}

bool IsFloatType(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

// Where a family keeps its tensors.
struct LayerNames {
  std::string_view layer, query, key, value, attention_out, attention_norm, up, down, output_norm;
};
constexpr LayerNames kBertNames = {
    "encoder.layer.",       "attention.self.query",   "attention.self.key",
    "attention.self.value", "attention.output.dense", "attention.output.LayerNorm",
    "intermediate.dense",   "output.dense",           "output.LayerNorm"};
constexpr LayerNames kDistilBertNames = {
    "transformer.layer.", "attention.q_lin",   "attention.k_lin",
    "attention.v_lin",    "attention.out_lin", "sa_layer_norm",
    "ffn.lin1",           "ffn.lin2",          "output_layer_norm"};

// Finds tensors by name below a prefix and checks them.
class TensorFinder {
 public:
  static Result<TensorFinder> Create(const SafetensorsFile& file, const std::string& folder) {
    for (const std::string_view prefix : {"", "bert.", "roberta.", "distilbert.", "model."}) {
      if (file.Find(StrCat(prefix, "embeddings.word_embeddings.weight")) != nullptr) {
        return TensorFinder(file, folder, std::string(prefix));
      }
    }
    return InvalidArgumentError(folder, ": the weights have no tensor ",
                                "'embeddings.word_embeddings.weight', with or without 'bert.', ",
                                "'roberta.' or 'distilbert.' in front");
  }

  Result<const TensorView*> Find(const std::string& name, std::vector<size_t> shape) const {
    const std::string full = prefix_ + name;
    const TensorView* tensor = file_.Find(full);
    if (tensor == nullptr) return InvalidArgumentError(folder_, ": tensor '", full, "' is missing");
    if (tensor->shape != shape) {
      return InvalidArgumentError(folder_, ": tensor '", full, "' has shape ",
                                  ShapeText(tensor->shape), "; config.json says ",
                                  ShapeText(shape));
    }
    if (!IsFloatType(tensor->type)) {
      return InvalidArgumentError(folder_, ": tensor '", full, "' has type ",
                                  GetDTypeInfo(tensor->type).name, ", not F32, F16 or BF16");
    }
    return tensor;
  }

  bool Has(const std::string& name) const { return file_.Find(prefix_ + name) != nullptr; }

  Status ReadMatrix(const std::string& name, size_t rows, size_t cols, float* out) const {
    RAG_ASSIGN_OR_RETURN(const TensorView* tensor, Find(name, {rows, cols}));
    return DequantizeTo(*tensor, 0, {out, rows * cols});
  }

  Status ReadVector(const std::string& name, size_t size, std::vector<float>& out) const {
    RAG_ASSIGN_OR_RETURN(const TensorView* tensor, Find(name, {size}));
    out.resize(size);
    return DequantizeTo(*tensor, 0, out);
  }

  // Files converted from TensorFlow call the scale gamma and the shift beta.
  Result<NormWeights> ReadNorm(const std::string& name, size_t size) const {
    const bool old = Has(name + ".gamma");
    NormWeights norm;
    RAG_RETURN_IF_ERROR(ReadVector(name + (old ? ".gamma" : ".weight"), size, norm.gamma));
    RAG_RETURN_IF_ERROR(ReadVector(name + (old ? ".beta" : ".bias"), size, norm.beta));
    return norm;
  }

  // The layers `names`, each [out, in] with a bias, stacked into one.
  Result<Linear> ReadLinear(const Kernels& kernels, std::span<const std::string> names, size_t out,
                            size_t in) const {
    Matrix weight(names.size() * out, in);
    std::vector<float> bias;
    std::vector<float> part;
    for (size_t i = 0; i < names.size(); ++i) {
      RAG_RETURN_IF_ERROR(ReadMatrix(names[i] + ".weight", out, in, weight.data() + i * out * in));
      RAG_RETURN_IF_ERROR(ReadVector(names[i] + ".bias", out, part));
      bias.insert(bias.end(), part.begin(), part.end());
    }
    return Linear(kernels, weight.view(), bias);
  }

 private:
  TensorFinder(const SafetensorsFile& file, std::string folder, std::string prefix)
      : file_(file), folder_(std::move(folder)), prefix_(std::move(prefix)) {}

  const SafetensorsFile& file_;
  std::string folder_;
  std::string prefix_;
};

Status ReadLayer(const TensorFinder& finder, const EncoderConfig& config, const Kernels& kernels,
                 size_t index, EncoderLayer& layer) {
  const LayerNames& names =
      config.family == EncoderFamily::kDistilBert ? kDistilBertNames : kBertNames;
  const auto name = [&](std::string_view part) { return StrCat(names.layer, index, '.', part); };
  const std::string qkv[] = {name(names.query), name(names.key), name(names.value)};
  const std::string attention_out[] = {name(names.attention_out)};
  const std::string up[] = {name(names.up)};
  const std::string down[] = {name(names.down)};
  const size_t hidden = config.hidden;
  RAG_ASSIGN_OR_RETURN(layer.qkv, finder.ReadLinear(kernels, qkv, hidden, hidden));
  RAG_ASSIGN_OR_RETURN(layer.attention_out,
                       finder.ReadLinear(kernels, attention_out, hidden, hidden));
  RAG_ASSIGN_OR_RETURN(layer.up, finder.ReadLinear(kernels, up, config.intermediate, hidden));
  RAG_ASSIGN_OR_RETURN(layer.down, finder.ReadLinear(kernels, down, hidden, config.intermediate));
  RAG_ASSIGN_OR_RETURN(layer.attention_norm, finder.ReadNorm(name(names.attention_norm), hidden));
  RAG_ASSIGN_OR_RETURN(layer.output_norm, finder.ReadNorm(name(names.output_norm), hidden));
  return OkStatus();
}

// The hash of all tensors. Their bytes are hashed in pieces, on all threads.
uint64_t HashTensors(const SafetensorsFile& file, ThreadPool& pool) {
  constexpr size_t kPieceBytes = size_t{4} << 20;
  std::string description;
  std::vector<std::span<const std::byte>> pieces;
  for (const std::string& name : file.TensorNames()) {
    const TensorView& tensor = *file.Find(name);
    description +=
        StrCat(name, ' ', GetDTypeInfo(tensor.type).name, ' ', ShapeText(tensor.shape), '\n');
    for (size_t begin = 0; begin < tensor.bytes.size(); begin += kPieceBytes) {
      pieces.push_back(
          tensor.bytes.subspan(begin, std::min(kPieceBytes, tensor.bytes.size() - begin)));
    }
  }
  std::vector<uint64_t> hashes(pieces.size());
  pool.ParallelFor(pieces.size(), 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) hashes[i] = Hash64(pieces[i]);
  });
  return Hash64(std::as_bytes(std::span(hashes)), Hash64(description));
}

}  // namespace

Result<EncoderWeights> EncoderWeights::Load(const EncoderConfig& config, const Runtime& runtime) {
  RAG_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(config.folder));
  EncoderWeights weights(std::move(file));
  RAG_ASSIGN_OR_RETURN(const TensorFinder finder,
                       TensorFinder::Create(weights.file_, config.folder));
  RAG_ASSIGN_OR_RETURN(weights.words_, finder.Find("embeddings.word_embeddings.weight",
                                                   {config.vocab, config.hidden}));
  weights.positions = Matrix(config.positions, config.hidden);
  RAG_RETURN_IF_ERROR(finder.ReadMatrix("embeddings.position_embeddings.weight", config.positions,
                                        config.hidden, weights.positions.data()));
  if (config.type_vocab > 0) {
    weights.types = Matrix(config.type_vocab, config.hidden);
    RAG_RETURN_IF_ERROR(finder.ReadMatrix("embeddings.token_type_embeddings.weight",
                                          config.type_vocab, config.hidden, weights.types.data()));
  }
  RAG_ASSIGN_OR_RETURN(weights.norm, finder.ReadNorm("embeddings.LayerNorm", config.hidden));

  weights.layers.resize(config.layers);
  std::vector<Status> failures(config.layers);
  runtime.pool().ParallelFor(config.layers, 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      failures[i] = ReadLayer(finder, config, runtime.kernels(), i, weights.layers[i]);
    }
  });
  for (const Status& failure : failures) RAG_RETURN_IF_ERROR(failure);

  for (const std::string& name : weights.file_.TensorNames()) {
    weights.bytes += weights.file_.Find(name)->bytes.size();
  }
  weights.hash = HashTensors(weights.file_, runtime.pool());
  return weights;
}

void EncoderWeights::ReadWord(size_t id, std::span<float> out) const {
  // Inside the tensor, whose shape and type were checked.
  DequantizeTo(*words_, id * out.size(), out).Ignore();
}

}  // namespace rag
