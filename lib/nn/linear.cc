#include "lib/nn/linear.h"

namespace rag {

Linear::Linear(const Kernels& kernels, MatrixView weight, std::span<const float> bias)
    : in_(weight.cols),
      out_(weight.rows),
      packed_(1, PackedGemmBSize(kernels, weight.rows, weight.cols)),
      bias_(bias.begin(), bias.end()) {
  PackGemmB(kernels, weight.data, weight.stride, out_, in_, packed_.data());
}

void Linear::Apply(const Kernels& kernels, size_t rows, const float* x, size_t x_stride, float* y,
                   size_t y_stride) const {
  kernels.gemm(rows, out_, in_, x, x_stride, packed_.data(), bias_.empty() ? nullptr : bias_.data(),
               y, y_stride);
}

}  // namespace rag
