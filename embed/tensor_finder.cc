#include "embed/tensor_finder.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "embed/fingerprint.h"
#include "lib/tensor/shape_text.h"

namespace rag {
namespace {

bool IsFloatType(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

// Row `row` of a matrix whose type was checked: where it lies, or converted into `buffer`.
const float* RowOf(const TensorView& tensor, size_t row, std::span<float> buffer) {
  if (tensor.type == DType::kF32) {
    const std::byte* const bytes = tensor.bytes.data() + row * buffer.size() * sizeof(float);
    if (reinterpret_cast<uintptr_t>(bytes) % alignof(float) == 0) {
      return reinterpret_cast<const float*>(bytes);
    }
  }
  DequantizeTo(tensor, row * buffer.size(), buffer).Ignore();  // inside the tensor
  return buffer.data();
}

}  // namespace

Result<const TensorView*> TensorFinder::FindShape(std::string_view name,
                                                  std::span<const size_t> shape) const {
  const std::string full = StrCat(prefix_, name);
  const TensorView* tensor = file_->Find(full);
  if (tensor == nullptr) return InvalidArgumentError(folder_, ": tensor '", full, "' is missing");
  if (!std::equal(tensor->shape.begin(), tensor->shape.end(), shape.begin(), shape.end())) {
    return InvalidArgumentError(folder_, ": tensor '", full, "' has shape ",
                                ShapeText(tensor->shape), "; config.json says ", ShapeText(shape));
  }
  return tensor;
}

Result<const TensorView*> TensorFinder::Find(std::string_view name,
                                             std::span<const size_t> shape) const {
  RAG_ASSIGN_OR_RETURN(const TensorView* tensor, FindShape(name, shape));
  if (!IsFloatType(tensor->type)) {
    return InvalidArgumentError(folder_, ": tensor '", FullName(name), "' has type ",
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
                                ShapeText(tensor->shape), ", not that of a matrix");
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

Status TensorFinder::ReadBias(std::span<const std::string> names,
                              std::span<const TensorView* const> parts, const LinearShape& shape,
                              std::vector<float>& bias) const {
  // Where one part has a bias all have: one that is missing is none that the model does not have.
  const bool has_bias = shape.bias == BiasRule::kRequired ||
                        (shape.bias == BiasRule::kOptional &&
                         std::any_of(names.begin(), names.end(), [this](const std::string& name) {
                           return Has(name + ".bias");
                         }));
  if (!has_bias) return OkStatus();
  std::vector<float> part_bias;
  for (size_t i = 0; i < parts.size(); ++i) {
    RAG_RETURN_IF_ERROR(ReadVector(names[i] + ".bias", parts[i]->shape[0], part_bias));
    bias.insert(bias.end(), part_bias.begin(), part_bias.end());
  }
  if (shape.swap_halves) {
    std::rotate(bias.begin(), bias.begin() + static_cast<std::ptrdiff_t>(shape.out / 2),
                bias.end());
  }
  return OkStatus();
}

Status TensorFinder::ReadScales(std::span<const std::string> names,
                                std::span<const TensorView* const> parts, const LinearShape& shape,
                                std::vector<float>& scales) const {
  if (shape.in > kMaxInt8Depth) {
    return InvalidArgumentError(folder_, ": tensor '", FullName(names.front()),
                                ".weight' is in 8 bits, with ", shape.in, " columns, more than ",
                                kMaxInt8Depth);
  }
  std::vector<float> part_scales;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string name = names[i] + ".weight";
    RAG_RETURN_IF_ERROR(ReadVector(name + "_scale", parts[i]->shape[0], part_scales));
    for (size_t row = 0; row < part_scales.size(); ++row) {
      if (part_scales[row] >= 0 && std::isfinite(part_scales[row])) continue;
      return InvalidArgumentError(folder_, ": tensor '", FullName(name), "_scale', row ", row,
                                  ", is ", part_scales[row]);
    }
    scales.insert(scales.end(), part_scales.begin(), part_scales.end());
    // The products' bounds on their sums are those of an even range.
    const std::span<const std::byte> values = parts[i]->bytes;
    if (std::find(values.begin(), values.end(), std::byte{0x80}) != values.end()) {
      return InvalidArgumentError(folder_, ": tensor '", FullName(name),
                                  "' holds -128, and -127 is the least");
    }
  }
  if (shape.swap_halves) {
    std::rotate(scales.begin(), scales.begin() + static_cast<std::ptrdiff_t>(shape.out / 2),
                scales.end());
  }
  return OkStatus();
}

Result<std::vector<const TensorView*>> TensorFinder::FindParts(std::span<const std::string> names,
                                                               const LinearShape& shape) const {
  const size_t others = names.size() - 1;
  const size_t first = shape.first == 0 ? shape.out / names.size() : shape.first;
  std::vector<const TensorView*> parts;
  for (const std::string& name : names) {
    const size_t rows = parts.empty() ? first : (shape.out - first) / others;
    const size_t part_shape[] = {rows, shape.in};
    RAG_ASSIGN_OR_RETURN(const TensorView* part, FindShape(name + ".weight", part_shape));
    if (part->type != DType::kI8) {
      RAG_ASSIGN_OR_RETURN(part, Find(name + ".weight", part_shape));
    }
    const bool rounded = shape.precision == Precision::kInt8 && shape.in <= kMaxInt8Depth;
    if (rounded && part->type != DType::kI8 && StoresInt8(*file_)) {
      return InvalidArgumentError(
          folder_, ": tensor '", FullName(name), ".weight' has type ",
          GetDTypeInfo(part->type).name,
          " in a folder in 8 bits, as earlier versions wrote them: quantize "
          "what it was made of again");
    }
    if (!parts.empty() && (part->type == DType::kI8) != (parts.front()->type == DType::kI8)) {
      return InvalidArgumentError(folder_, ": tensor '", FullName(name), ".weight' has type ",
                                  GetDTypeInfo(part->type).name, ", and '", FullName(names.front()),
                                  ".weight' ", GetDTypeInfo(parts.front()->type).name);
    }
    parts.push_back(part);
  }
  return parts;
}

Status TensorFinder::CheckLinear(std::span<const std::string> names,
                                 const LinearShape& shape) const {
  RAG_ASSIGN_OR_RETURN(const std::vector<const TensorView*> parts, FindParts(names, shape));
  std::vector<float> bias;
  return ReadBias(names, parts, shape, bias);
}

Result<Linear> TensorFinder::ReadLinear(const Kernels& kernels, std::span<const std::string> names,
                                        const LinearShape& shape) const {
  RAG_ASSIGN_OR_RETURN(const std::vector<const TensorView*> parts, FindParts(names, shape));
  std::vector<float> bias;
  RAG_RETURN_IF_ERROR(ReadBias(names, parts, shape, bias));
  const LinearSize size = {.out = shape.out, .in = shape.in};
  // The part that row j of the layer is in, and its row there.
  const auto locate = [&](size_t j) {
    size_t row = j;
    if (shape.swap_halves) {
      const size_t half = shape.out / 2;
      row = j < shape.out - half ? j + half : j - (shape.out - half);
    }
    size_t part = 0;
    while (row >= parts[part]->shape[0]) row -= parts[part++]->shape[0];
    return std::pair(parts[part], row);
  };
  Linear linear;
  if (parts.front()->type == DType::kI8) {
    std::vector<float> scales;
    RAG_RETURN_IF_ERROR(ReadScales(names, parts, shape, scales));
    const auto values = [&](size_t j) {
      const auto [part, row] = locate(j);
      return reinterpret_cast<const int8_t*>(part->bytes.data() + row * shape.in);
    };
    linear = Linear(kernels, size, values, std::move(scales), bias);
  } else {
    std::vector<float> buffer(shape.in);
    const auto weight = [&](size_t j) {
      const auto [part, row] = locate(j);
      return RowOf(*part, row, buffer);
    };
    linear = Linear(kernels, size, weight, bias, shape.precision);
  }
  for (const TensorView* part : parts) file_->Forget(part->bytes);
  return linear;
}

}  // namespace rag
