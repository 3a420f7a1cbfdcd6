// A dense layer in a folder of its own, as sentence-transformers keeps them behind a network.
#pragma once

#include <cstddef>
#include <optional>
#include <utility>

#include "embed/modules.h"
#include "embed/tensor_finder.h"
#include "lib/base/status.h"
#include "lib/kernels/kernels.h"
#include "lib/nn/linear.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Immutable after Load; Apply may be called from any thread.
class DenseLayer {
 public:
  // Errors: as TensorFinder's.
  static Result<DenseLayer> Load(const DenseConfig& config, const Kernels& kernels);
  // The same over tensors that are found already: config.tensor and, where needed, "residual".
  static Result<DenseLayer> Load(const DenseConfig& config, const TensorFinder& finder,
                                 const Kernels& kernels);

  // x [rows, in] -> [rows, out].
  Matrix Apply(const Kernels& kernels, MatrixView x) const;

  size_t out() const { return config_.out; }
  size_t bytes() const { return bytes_; }  // of the folder's tensors
  uint64_t hash() const { return hash_; }  // likewise

 private:
  explicit DenseLayer(DenseConfig config) : config_(std::move(config)) {}

  DenseConfig config_;
  Linear linear_;
  std::optional<Linear> residual_;
  size_t bytes_ = 0;
  uint64_t hash_ = 0;
};

}  // namespace rag
