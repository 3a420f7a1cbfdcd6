// Finds a model's tensors by their Hugging Face names and checks their shapes and types.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/kernels/kernels.h"
#include "lib/model/model_file.h"
#include "lib/nn/linear.h"
#include "lib/tensor/tensor.h"

namespace rag {

struct EncoderNorm {
  std::vector<float> gamma;  // empty: there is no norm here
  std::vector<float> beta;
};

enum class BiasRule { kRequired, kOptional, kNone };

struct LinearShape {
  size_t out = 0;
  size_t in = 0;
  size_t first = 0;  // rows of the first of several parts; 0: as many as each other has
  BiasRule bias = BiasRule::kRequired;
  bool swap_halves = false;  // the rows' second half comes first
  Precision precision = Precision::kF32;
};

// All errors are invalid_argument naming the folder, the tensor and what was expected.
class TensorFinder {
 public:
  // `file` outlives it; `prefix` stands before every name.
  TensorFinder(const TensorFile& file, std::string folder, std::string prefix)
      : file_(&file), folder_(std::move(folder)), prefix_(std::move(prefix)) {}

  TensorFinder WithPrefix(std::string prefix) const {
    return TensorFinder(*file_, folder_, std::move(prefix));
  }
  bool Has(std::string_view name) const { return file_->Find(StrCat(prefix_, name)) != nullptr; }
  // A floating-point tensor of this shape.
  Result<const TensorView*> Find(std::string_view name, std::span<const size_t> shape) const;
  // The rows of a matrix whose columns are checked when it is read.
  Result<size_t> Rows(std::string_view name) const;
  // Nothing is allocated before the tensor's shape was compared.
  Result<Matrix> ReadMatrix(std::string_view name, size_t rows, size_t cols) const;
  Status ReadVector(std::string_view name, size_t size, std::vector<float>& out) const;
  // name.weight and name.bias, or TensorFlow's name.gamma and name.beta. kNone leaves beta empty.
  Result<EncoderNorm> ReadNorm(std::string_view name, size_t size,
                               BiasRule bias = BiasRule::kRequired) const;
  // name.weight and name.bias of each of `names`, parts of shape.out, stacked into one layer. Where
  // the weights are stored in 8 bits, with name.weight_scale of each row (QuantizeEncoder), they
  // are packed as they are, whatever shape.precision says. The memory of the file that held them
  // is let go of: the layer has its own.
  Result<Linear> ReadLinear(const Kernels& kernels, std::span<const std::string> names,
                            const LinearShape& shape) const;
  // The tensors of such a layer are there, and of these shapes.
  Status CheckLinear(std::span<const std::string> names, const LinearShape& shape) const;
  std::string FullName(std::string_view name) const { return StrCat(prefix_, name); }

 private:
  // A tensor of this shape and any type.
  Result<const TensorView*> FindShape(std::string_view name, std::span<const size_t> shape) const;
  // The weights of a layer's parts, of floating-point types or all in 8 bits.
  Result<std::vector<const TensorView*>> FindParts(std::span<const std::string> names,
                                                   const LinearShape& shape) const;
  // Of all parts one after another; empty where there is none.
  Status ReadBias(std::span<const std::string> names, std::span<const TensorView* const> parts,
                  const LinearShape& shape, std::vector<float>& bias) const;
  // Of weights in 8 bits, whose values are checked.
  Status ReadScales(std::span<const std::string> names, std::span<const TensorView* const> parts,
                    const LinearShape& shape, std::vector<float>& scales) const;

  const TensorFile* file_;
  std::string folder_;
  std::string prefix_;
};

}  // namespace rag
