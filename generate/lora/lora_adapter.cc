#include "generate/lora/lora_adapter.h"

#include <algorithm>
#include <cmath>

namespace rag {
namespace {

Status ReadFinite(const LoraFile& file, const LoraTensor& tensor, const TensorView& half,
                  Matrix& out) {
  out = Matrix(half.shape[0], half.shape[1]);
  const std::span<float> values(out.data(), half.elements());
  RAG_RETURN_IF_ERROR(
      DequantizeTo(half, 0, values).WithContext(StrCat(file.path, ": '", tensor.weight, "'")));
  const auto wrong =
      std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  if (wrong == values.end()) return OkStatus();
  return InvalidArgumentError(file.path, ": the adapter of '", tensor.weight, "' holds ", *wrong);
}

// Columns [begin, begin + out.cols()) of b^T.
void TransposeRows(const Matrix& b, size_t begin, Matrix& out) {
  for (size_t row = 0; row < out.rows(); ++row) {
    for (size_t col = 0; col < out.cols(); ++col) out.row(row)[col] = b.row(begin + col)[row];
  }
}

}  // namespace

LoraTargets::LoraTargets(DecoderWeights& weights) {
  for (const Projection* projection : Projections(weights)) {
    by_name_[projection->tensor].push_back(projection);
  }
}

Result<std::span<const Projection* const>> LoraTargets::Find(const LoraFile& file,
                                                             const LoraTensor& tensor) const {
  const auto found = by_name_.find(tensor.weight);
  if (found == by_name_.end()) {
    return InvalidArgumentError(file.path, ": the model has no matrix '", tensor.weight,
                                "' for the adapter to change");
  }
  const std::span<const Projection* const> parts = found->second;
  const size_t cols = parts.front()->weights.shape[1];
  size_t rows = 0;
  for (const Projection* part : parts) rows += part->weights.shape[0];
  if (tensor.b.shape[0] == rows && tensor.a.shape[1] == cols) return parts;
  return InvalidArgumentError(file.path, ": the adapter of '", tensor.weight,
                              "' is for a matrix of [", tensor.b.shape[0], ", ", tensor.a.shape[1],
                              "], and the model's is [", rows, ", ", cols, "]");
}

Result<LoraFactors> ReadFactors(const LoraFile& file, const LoraTensor& tensor) {
  LoraFactors factors;
  RAG_RETURN_IF_ERROR(ReadFinite(file, tensor, tensor.a, factors.a));
  RAG_RETURN_IF_ERROR(ReadFinite(file, tensor, tensor.b, factors.b));
  return factors;
}

Result<std::unique_ptr<LoraAdapter>> LoraAdapter::Bind(const LoraFile& file,
                                                       DecoderWeights& weights) {
  const LoraTargets targets(weights);
  auto adapter = std::make_unique<LoraAdapter>();
  for (const LoraTensor& tensor : file.tensors) {
    RAG_ASSIGN_OR_RETURN(const auto parts, targets.Find(file, tensor));
    RAG_ASSIGN_OR_RETURN(LoraFactors factors, ReadFactors(file, tensor));
    const auto down = std::make_shared<const Matrix>(std::move(factors.a));
    for (const Projection* part : parts) {
      LoraMatrix& matrix = adapter->matrices_[part];
      matrix.down = down;
      matrix.up = Matrix(tensor.rank(), part->weights.shape[0]);
      matrix.scale = static_cast<float>(tensor.scale);
      TransposeRows(factors.b, part->first_row, matrix.up);
    }
    adapter->rank_ = std::max(adapter->rank_, tensor.rank());
    adapter->parameters_ += tensor.a.elements() + tensor.b.elements();
  }
  return adapter;
}

}  // namespace rag
