// Linear: a dense layer, its weights packed once for one kernel table.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "lib/kernels/kernels.h"
#include "lib/tensor/tensor.h"

namespace rag {

// y = x W^T + bias. Immutable after construction; Apply may be called from any thread.
class Linear {
 public:
  Linear() = default;
  // weight [out, in], row-major as Hugging Face stores it; bias [out] or empty.
  Linear(const Kernels& kernels, MatrixView weight, std::span<const float> bias);

  // x [rows, in], row stride x_stride -> y [rows, out], row stride y_stride; elements. x and y do
  // not overlap. A row of y depends on its row of x alone, bit for bit, whatever the other rows.
  void Apply(const Kernels& kernels, size_t rows, const float* x, size_t x_stride, float* y,
             size_t y_stride) const;

  size_t in() const { return in_; }
  size_t out() const { return out_; }

 private:
  size_t in_ = 0;
  size_t out_ = 0;
  Matrix packed_;  // [1, PackedGemmBSize]
  std::vector<float> bias_;
};

}  // namespace rag
