#include "generate/lora/lora_adapter.h"

#include <algorithm>
#include <cmath>
#include <map>

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

Status CheckLoraShape(const LoraFile& file, const LoraTensor& tensor, size_t rows, size_t cols) {
  if (tensor.b.shape[0] == rows && tensor.a.shape[1] == cols) return OkStatus();
  return InvalidArgumentError(file.path, ": the adapter of '", tensor.weight,
                              "' is for a matrix of [", tensor.b.shape[0], ", ", tensor.a.shape[1],
                              "], and the model's is [", rows, ", ", cols, "]");
}

Result<std::unique_ptr<LoraAdapter>> LoraAdapter::Bind(const LoraFile& file,
                                                       DecoderWeights& weights) {
  // Of a fused tensor there are several, with rows one after another.
  std::map<std::string, std::vector<const Projection*>> by_name;
  for (const Projection* projection : Projections(weights)) {
    by_name[projection->tensor].push_back(projection);
  }
  auto adapter = std::make_unique<LoraAdapter>();
  for (const LoraTensor& tensor : file.tensors) {
    const auto found = by_name.find(tensor.weight);
    if (found == by_name.end()) {
      return InvalidArgumentError(file.path, ": the model has no matrix '", tensor.weight,
                                  "' for the adapter to change");
    }
    size_t rows = 0;
    for (const Projection* part : found->second) rows += part->weights.shape[0];
    RAG_RETURN_IF_ERROR(
        CheckLoraShape(file, tensor, rows, found->second.front()->weights.shape[1]));
    Matrix a;
    Matrix b;
    RAG_RETURN_IF_ERROR(ReadFinite(file, tensor, tensor.a, a));
    RAG_RETURN_IF_ERROR(ReadFinite(file, tensor, tensor.b, b));
    const auto down = std::make_shared<const Matrix>(std::move(a));
    for (const Projection* part : found->second) {
      LoraMatrix& matrix = adapter->matrices_[part];
      matrix.down = down;
      matrix.up = Matrix(tensor.rank(), part->weights.shape[0]);
      matrix.scale = static_cast<float>(tensor.scale);
      TransposeRows(b, part->first_row, matrix.up);
    }
    adapter->rank_ = std::max(adapter->rank_, tensor.rank());
    adapter->parameters_ += tensor.a.elements() + tensor.b.elements();
  }
  return adapter;
}

}  // namespace rag
