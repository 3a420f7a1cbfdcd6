// Linear: a dense layer, its weights packed once for one kernel table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/kernels/kernels.h"
#include "lib/tensor/tensor.h"

namespace rag {

// What a product's operands are rounded to. kBf16x3: to the sum of two bf16, 16 bits, where the
// table multiplies these faster than f32 (gemm_split), else not at all. kInt8: each output's
// weights have a scale of their own, each row of inputs a scale, a zero and a few outliers that are
// not rounded (dynamic quantization); sums are exact. AVX2's inputs may have fewer steps than the
// other tables', whose results are nearer to each other than to its (Kernels::Int8Limits). Layers
// of more than kMaxInt8Depth inputs stay f32.
enum class Precision { kF32, kBf16x3, kBf16, kInt8 };
inline constexpr Precision kAllPrecisions[] = {Precision::kF32, Precision::kBf16x3,
                                               Precision::kBf16, Precision::kInt8};
std::string_view PrecisionName(Precision precision);  // "f32", "bf16x3", "bf16", "int8"
Result<Precision> ParsePrecision(std::string_view name);

// The inputs of one Apply at a time, rounded; grows to the largest seen.
struct LinearScratch {
  std::vector<uint16_t> bf16;
  std::vector<uint8_t> int8;
  std::vector<float> rest;
  std::vector<Kernels::Int8Row> rows;
};

struct LinearSize {
  size_t out = 0;
  size_t in = 0;
};

// y = x W^T + bias. Immutable after construction; Apply may be called from any thread, each with
// its own scratch.
class Linear {
 public:
  Linear() = default;
  // weight [out, in], row-major as Hugging Face stores it; bias [out] or empty.
  Linear(const Kernels& kernels, MatrixView weight, std::span<const float> bias,
         Precision precision = Precision::kF32);
  // The same row by row, in order: nobody needs all of it at once.
  Linear(const Kernels& kernels, LinearSize size, RowSource weight, std::span<const float> bias,
         Precision precision = Precision::kF32);
  // Weights that are in 8 bits already: row j is scales[j] times values of -127 to 127; in <=
  // kMaxInt8Depth.
  Linear(const Kernels& kernels, LinearSize size, Int8RowSource values, std::vector<float> scales,
         std::span<const float> bias);

  // x [rows, in], row stride x_stride -> y [rows, out], row stride y_stride; elements. x and y do
  // not overlap. `activation` is applied to y. A row of y depends on its row of x alone, bit for
  // bit, whatever the other rows.
  void Apply(const Kernels& kernels, size_t rows, const float* x, size_t x_stride, float* y,
             size_t y_stride, LinearScratch& scratch,
             Activation activation = Activation::kNone) const;

  size_t in() const { return in_; }
  size_t out() const { return out_; }

 private:
  struct AlignedDelete {
    void operator()(std::byte* bytes) const;
  };
  void PackInt8(const Kernels& kernels, Int8RowSource values);
  // packed_, for `count` elements.
  template <class Element>
  Element* Allocate(size_t count);
  template <class Element>
  const Element* Packed() const {
    return reinterpret_cast<const Element*>(packed_.get());
  }

  size_t in_ = 0;
  size_t out_ = 0;
  Precision precision_ = Precision::kF32;
  // As PackGemmB, PackGemmSplit, PackGemmBf16 or PackGemmInt8 writes it.
  std::unique_ptr<std::byte[], AlignedDelete> packed_;
  std::vector<float> scales_;  // of kInt8, [out]
  std::vector<int32_t> sums_;  // of kInt8, [out]
  Int8Inputs inputs_;          // of kInt8
  std::vector<float> bias_;
};

}  // namespace rag
