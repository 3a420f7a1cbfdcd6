#include "lib/nn/linear.h"

#include <new>
#include <utility>

namespace rag {
namespace {

// A row of a tile is a line of the cache.
constexpr std::align_val_t kAlignment{64};

bool CanRound(const Kernels& kernels, Precision precision, size_t in) {
  if (precision == Precision::kBf16x3) return kernels.gemm_split != nullptr;
  return precision != Precision::kInt8 || in <= kMaxInt8Depth;
}

}  // namespace

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

void Linear::AlignedDelete::operator()(std::byte* bytes) const {
  ::operator delete[](bytes, kAlignment);
}

template <class Element>
Element* Linear::Allocate(size_t count) {
  packed_.reset(static_cast<std::byte*>(::operator new[](count * sizeof(Element), kAlignment)));
  return reinterpret_cast<Element*>(packed_.get());
}

Linear::Linear(const Kernels& kernels, MatrixView weight, std::span<const float> bias,
               Precision precision)
    : Linear(
          kernels, {.out = weight.rows, .in = weight.cols},
          [&weight](size_t j) { return weight.row(j).data(); }, bias, precision) {}

Linear::Linear(const Kernels& kernels, LinearSize size, RowSource weight,
               std::span<const float> bias, Precision precision)
    : in_(size.in),
      out_(size.out),
      precision_(CanRound(kernels, precision, size.in) ? precision : Precision::kF32),
      bias_(bias.begin(), bias.end()) {
  switch (precision_) {
    case Precision::kF32:
      PackGemmB(kernels, weight, out_, in_, Allocate<float>(PackedGemmBSize(kernels, out_, in_)));
      return;
    case Precision::kBf16x3:
      PackGemmSplit(kernels, weight, out_, in_,
                    Allocate<uint16_t>(2 * PackedGemmBf16Size(kernels, out_, in_)));
      return;
    case Precision::kBf16:
      PackGemmBf16(kernels, weight, out_, in_,
                   Allocate<uint16_t>(PackedGemmBf16Size(kernels, out_, in_)));
      return;
    case Precision::kInt8: {
      scales_.resize(out_);
      std::vector<int8_t> values(in_);
      PackInt8(kernels, [&](size_t j) {
        scales_[j] = QuantizeWeights(weight(j), in_, values.data());
        return values.data();
      });
      return;
    }
  }
}

Linear::Linear(const Kernels& kernels, LinearSize size, Int8RowSource values,
               std::vector<float> scales, std::span<const float> bias)
    : in_(size.in),
      out_(size.out),
      precision_(Precision::kInt8),
      scales_(std::move(scales)),
      bias_(bias.begin(), bias.end()) {
  PackInt8(kernels, values);
}

void Linear::PackInt8(const Kernels& kernels, Int8RowSource values) {
  sums_.resize(out_);
  inputs_ = PackGemmInt8(kernels, values, out_, in_,
                         Allocate<int8_t>(PackedGemmInt8Size(kernels, out_, in_)), sums_.data());
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
              .packed_b = Packed<uint16_t>(),
              .bias = bias,
              .c = y,
              .ldc = y_stride,
              .activation = activation});
  };
  switch (precision_) {
    case Precision::kF32:
      kernels.gemm(rows, out_, in_, x, x_stride, Packed<float>(), bias, y, y_stride);
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
      if (scratch.rest.size() < in_) scratch.rest.resize(in_);
      for (size_t i = 0; i < rows; ++i) {
        scratch.rows[i] =
            kernels.quantize_int8(x + i * x_stride, in_, inputs_.steps, scratch.rest.data(),
                                  scratch.int8.data() + i * width);
      }
      kernels.gemm_int8({.m = rows,
                         .n = out_,
                         .k = in_,
                         .a = scratch.int8.data(),
                         .lda = width,
                         .a_rows = scratch.rows.data(),
                         .packed_b = Packed<int8_t>(),
                         .b_scales = scales_.data(),
                         .b_sums = sums_.data(),
                         .bias = bias,
                         .c = y,
                         .ldc = y_stride,
                         .activation = activation,
                         .two_groups = inputs_.two_groups});
      return;
    }
  }
}

}  // namespace rag
