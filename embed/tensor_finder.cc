#include "embed/tensor_finder.h"

#include <algorithm>
#include <cstdint>

namespace rag {
namespace {

bool IsFloatType(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

// Row `row` of a matrix whose type was checked: where it lies, or converted into `buffer`.
const float* RowOf(const TensorView& tensor, size_t row, std::span<float> buffer) {
  const std::byte* const bytes = tensor.bytes.data() + row * buffer.size() * sizeof(float);
  if (tensor.type == DType::kF32 && reinterpret_cast<uintptr_t>(bytes) % alignof(float) == 0) {
    return reinterpret_cast<const float*>(bytes);
  }
  DequantizeTo(tensor, row * buffer.size(), buffer).Ignore();  // inside the tensor
  return buffer.data();
}

}  // namespace

std::string TensorShapeText(std::span<const size_t> shape) {
  std::string text = "[";
  for (const size_t extent : shape) text += StrCat(text.size() > 1 ? ", " : "", extent);
  return text + "]";
}

Result<const TensorView*> TensorFinder::Find(std::string_view name,
                                             std::span<const size_t> shape) const {
  const std::string full = StrCat(prefix_, name);
  const TensorView* tensor = file_->Find(full);
  if (tensor == nullptr) return InvalidArgumentError(folder_, ": tensor '", full, "' is missing");
  if (!std::equal(tensor->shape.begin(), tensor->shape.end(), shape.begin(), shape.end())) {
    return InvalidArgumentError(folder_, ": tensor '", full, "' has shape ",
                                TensorShapeText(tensor->shape), "; config.json says ",
                                TensorShapeText(shape));
  }
  if (!IsFloatType(tensor->type)) {
    return InvalidArgumentError(folder_, ": tensor '", full, "' has type ",
                                GetDTypeInfo(tensor->type).name, ", not F32, F16 or BF16");
  }
  return tensor;
}

Result<size_t> TensorFinder::Rows(std::string_view name) const {
  const std::string full = StrCat(prefix_, name);
  const TensorView* tensor = file_->Find(full);
  if (tensor == nullptr) return InvalidArgumentError(folder_, ": tensor '", full, "' is missing");
  if (tensor->shape.size() != 2 || tensor->shape[0] == 0) {
    return InvalidArgumentError(folder_, ": tensor '", full, "' has shape ",
                                TensorShapeText(tensor->shape), ", not that of a matrix");
  }
  return tensor->shape[0];
}

Result<Matrix> TensorFinder::ReadMatrix(std::string_view name, size_t rows, size_t cols) const {
  const size_t shape[] = {rows, cols};
  RAG_ASSIGN_OR_RETURN(const TensorView* tensor, Find(name, shape));
  Matrix matrix(rows, cols);
  RAG_RETURN_IF_ERROR(DequantizeTo(*tensor, 0, {matrix.data(), rows * cols}));
  return matrix;
}

Status TensorFinder::ReadVector(std::string_view name, size_t size, std::vector<float>& out) const {
  RAG_ASSIGN_OR_RETURN(const TensorView* tensor, Find(name, {&size, 1}));
  out.resize(size);
  return DequantizeTo(*tensor, 0, out);
}

Result<EncoderNorm> TensorFinder::ReadNorm(std::string_view name, size_t size,
                                           BiasRule bias) const {
  const bool old = Has(StrCat(name, ".gamma"));
  EncoderNorm norm;
  RAG_RETURN_IF_ERROR(ReadVector(StrCat(name, old ? ".gamma" : ".weight"), size, norm.gamma));
  if (bias == BiasRule::kNone) return norm;
  const std::string beta = StrCat(name, old ? ".beta" : ".bias");
  if (bias == BiasRule::kOptional && !Has(beta)) {
    norm.beta.assign(size, 0.0f);
    return norm;
  }
  RAG_RETURN_IF_ERROR(ReadVector(beta, size, norm.beta));
  return norm;
}

Result<Linear> TensorFinder::ReadLinear(const Kernels& kernels, std::span<const std::string> names,
                                        const LinearShape& shape) const {
  const size_t others = names.size() - 1;
  const size_t first = shape.first == 0 ? shape.out / names.size() : shape.first;
  const size_t other = others == 0 ? 0 : (shape.out - first) / others;
  std::vector<const TensorView*> parts;
  for (const std::string& name : names) {
    const size_t part_shape[] = {parts.empty() ? first : other, shape.in};
    RAG_ASSIGN_OR_RETURN(const TensorView* part, Find(name + ".weight", part_shape));
    parts.push_back(part);
  }
  std::vector<float> bias;
  std::vector<float> part_bias;
  // Where one part has a bias all have: one that is missing is none that the model does not have.
  const bool has_bias = shape.bias == BiasRule::kRequired ||
                        (shape.bias == BiasRule::kOptional &&
                         std::any_of(names.begin(), names.end(), [this](const std::string& name) {
                           return Has(name + ".bias");
                         }));
  for (size_t i = 0; has_bias && i < parts.size(); ++i) {
    RAG_RETURN_IF_ERROR(ReadVector(names[i] + ".bias", parts[i]->shape[0], part_bias));
    bias.insert(bias.end(), part_bias.begin(), part_bias.end());
  }
  const size_t moved = shape.swap_halves ? shape.out / 2 : 0;
  if (has_bias && moved > 0) {
    std::rotate(bias.begin(), bias.begin() + static_cast<std::ptrdiff_t>(moved), bias.end());
  }
  std::vector<float> row(shape.in);
  const auto read = [&](size_t j) {
    const size_t stored = j + moved < shape.out ? j + moved : j + moved - shape.out;
    const size_t part = stored < first ? 0 : 1 + (stored - first) / other;
    const size_t part_row = stored < first ? stored : (stored - first) % other;
    return RowOf(*parts[part], part_row, row);
  };
  Linear linear(kernels, {.out = shape.out, .in = shape.in}, read, bias, shape.precision);
  for (const TensorView* part : parts) file_->Forget(part->bytes);
  return linear;
}

}  // namespace rag
