#include "lib/nn/linear.h"

namespace rag {

std::string_view PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return "f32";
    case Precision::kBf16x3:
      return "bf16x3";
    case Precision::kBf16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
  }
  return "unknown";
}

Result<Precision> ParsePrecision(std::string_view name) {
  for (const Precision precision : kAllPrecisions) {
    if (name == PrecisionName(precision)) return precision;
  }
  return InvalidArgumentError("precision '", name, "' is none of f32, bf16x3, bf16 and int8");
}

namespace {

bool CanRound(const Kernels& kernels, Precision precision, size_t in) {
  if (precision == Precision::kBf16x3) return kernels.gemm_split != nullptr;
  return precision != Precision::kInt8 || in <= kMaxInt8Depth;
}

}  // namespace

Linear::Linear(const Kernels& kernels, MatrixView weight, std::span<const float> bias,
               Precision precision)
    : in_(weight.cols),
      out_(weight.rows),
      precision_(CanRound(kernels, precision, weight.cols) ? precision : Precision::kF32),
      bias_(bias.begin(), bias.end()) {
  switch (precision_) {
    case Precision::kF32:
      packed_ = Matrix(1, PackedGemmBSize(kernels, out_, in_));
      PackGemmB(kernels, weight.data, weight.stride, out_, in_, packed_.data());
      return;
    case Precision::kBf16x3:
      packed_bf16_.resize(2 * PackedGemmBf16Size(kernels, out_, in_));
      PackGemmSplit(kernels, weight.data, weight.stride, out_, in_, packed_bf16_.data());
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
                   size_t y_stride, LinearScratch& scratch, Activation activation) const {
  const float* bias = bias_.empty() ? nullptr : bias_.data();
  // With rows of bf16 that `round` makes, `width` elements each.
  const auto multiply_bf16 = [&](auto round, size_t width, auto multiply) {
    if (scratch.bf16.size() < rows * width) scratch.bf16.resize(rows * width);
    for (size_t i = 0; i < rows; ++i) {
      round(x + i * x_stride, in_, scratch.bf16.data() + i * width);
    }
    multiply({.m = rows,
              .n = out_,
              .k = in_,
              .a = scratch.bf16.data(),
              .lda = width,
              .packed_b = packed_bf16_.data(),
              .bias = bias,
              .c = y,
              .ldc = y_stride,
              .activation = activation});
  };
  switch (precision_) {
    case Precision::kF32:
      kernels.gemm(rows, out_, in_, x, x_stride, packed_.data(), bias, y, y_stride);
      for (size_t i = 0; i < rows; ++i) Activate(kernels, activation, y + i * y_stride, out_);
      return;
    case Precision::kBf16x3:
      multiply_bf16(kernels.split_bf16, 2 * Bf16RowSize(kernels, in_), kernels.gemm_split);
      return;
    case Precision::kBf16:
      multiply_bf16(kernels.round_bf16, Bf16RowSize(kernels, in_), kernels.gemm_bf16);
      return;
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
                         .ldc = y_stride,
                         .activation = activation});
      return;
    }
  }
}

}  // namespace rag
