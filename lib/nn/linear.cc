#include "lib/nn/linear.h"

namespace rag {

std::string_view PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return "f32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
  }
  return "unknown";
}

Result<Precision> ParsePrecision(std::string_view name) {
  for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    if (name == PrecisionName(precision)) return precision;
  }
  return InvalidArgumentError("precision '", name, "' is none of f32, bf16 and int8");
}

Linear::Linear(const Kernels& kernels, MatrixView weight, std::span<const float> bias,
               Precision precision)
    : in_(weight.cols),
      out_(weight.rows),
      precision_(precision == Precision::kInt8 && weight.cols > kMaxInt8Depth ? Precision::kF32
                                                                              : precision),
      bias_(bias.begin(), bias.end()) {
  switch (precision_) {
    case Precision::kF32:
      packed_ = Matrix(1, PackedGemmBSize(kernels, out_, in_));
      PackGemmB(kernels, weight.data, weight.stride, out_, in_, packed_.data());
      return;
    case Precision::kBf16:
      packed_bf16_.resize(PackedGemmBf16Size(kernels, out_, in_));
      PackGemmBf16(kernels, weight.data, weight.stride, out_, in_, packed_bf16_.data());
      return;
    case Precision::kInt8:
      packed_int8_.resize(PackedGemmInt8Size(kernels, out_, in_));
      scales_.resize(out_);
      sums_.resize(out_);
      PackGemmInt8(kernels, weight.data, weight.stride, out_, in_, packed_int8_.data(),
                   scales_.data(), sums_.data());
      return;
  }
}

void Linear::Apply(const Kernels& kernels, size_t rows, const float* x, size_t x_stride, float* y,
                   size_t y_stride, LinearScratch& scratch) const {
  const float* bias = bias_.empty() ? nullptr : bias_.data();
  switch (precision_) {
    case Precision::kF32:
      kernels.gemm(rows, out_, in_, x, x_stride, packed_.data(), bias, y, y_stride);
      return;
    case Precision::kBf16: {
      const size_t width = Bf16RowSize(kernels, in_);
      if (scratch.bf16.size() < rows * width) scratch.bf16.resize(rows * width);
      for (size_t i = 0; i < rows; ++i) {
        kernels.round_bf16(x + i * x_stride, in_, scratch.bf16.data() + i * width);
      }
      kernels.gemm_bf16({.m = rows,
                         .n = out_,
                         .k = in_,
                         .a = scratch.bf16.data(),
                         .lda = width,
                         .packed_b = packed_bf16_.data(),
                         .bias = bias,
                         .c = y,
                         .ldc = y_stride});
      return;
    }
    case Precision::kInt8: {
      const size_t width = Int8RowSize(kernels, in_);
      if (scratch.int8.size() < rows * width) scratch.int8.resize(rows * width);
      if (scratch.rows.size() < rows) scratch.rows.resize(rows);
      for (size_t i = 0; i < rows; ++i) {
        scratch.rows[i] =
            kernels.quantize_int8(x + i * x_stride, in_, scratch.int8.data() + i * width);
      }
      kernels.gemm_int8({.m = rows,
                         .n = out_,
                         .k = in_,
                         .a = scratch.int8.data(),
                         .lda = width,
                         .a_rows = scratch.rows.data(),
                         .packed_b = packed_int8_.data(),
                         .b_scales = scales_.data(),
                         .b_sums = sums_.data(),
                         .bias = bias,
                         .c = y,
                         .ldc = y_stride});
      return;
    }
  }
}

}  // namespace rag
