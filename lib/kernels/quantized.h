// Products of weights as GGUF stores them with f32 activations, without unpacking the weights.
//
// Block types (Q4_0 ... MXFP4) are multiplied with activations quantized to 8 bits, in integers;
// F32, F16 and BF16 weights with the f32 activations themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Activations in groups of 32 with an f32 scale each: x[i] ~ scales[i / 32] * values[i], values in
// [-127, 127]. sums16[i] and sums32[i] are scale times the sum of 16 and 32 values, for weights
// with a minimum. Rows are padded with zeros to `stride` elements, a multiple of 256.
struct Activations8 {
  const int8_t* values = nullptr;
  const float* scales = nullptr;
  const float* sums16 = nullptr;
  const float* sums32 = nullptr;
  size_t stride = 0;
};

// The arithmetic of one instruction set. Products of one weight row with `tokens` rows of
// activations: out[t * out_stride] = row . x[t]. A result does not depend on `tokens`, bit for bit.
struct QuantizedKernels {
  Isa isa;
  using BlockDot = void (*)(const std::byte* row, size_t cols, const Activations8& x, size_t tokens,
                            float* out, size_t out_stride);
  using FloatDot = void (*)(const std::byte* row, size_t cols, const float* x, size_t x_stride,
                            size_t tokens, float* out, size_t out_stride);
  // Indexed by DType; null where the type is of the other kind or has no product (integers).
  BlockDot block_dot[kDTypeCount];
  FloatDot float_dot[kDTypeCount];
};

// The table of an instruction set; null when this build or this processor cannot run it.
const QuantizedKernels* GetQuantizedKernels(Isa isa);

// Whether MatMul takes weights of the type.
bool HasProduct(DType type);

// Quantizes x [cols] to 8 bits: values [padded], scales and sums [padded / 32, / 16], padded being
// cols rounded up to 256. Rounds to nearest even; a row with an infinite or NaN element becomes
// NaN.
void QuantizeRow(const float* x, size_t cols, size_t padded, int8_t* values, float* scales,
                 float* sums16, float* sums32);

// Activations [tokens, cols] in the forms that products need; the 8-bit form is made on first use.
// Used by one thread at a time; keeps its memory between Set calls.
class ProductInput {
 public:
  // x stays valid until the products are done.
  void Set(MatrixView x);
  const MatrixView& x() const { return x_; }
  const Activations8& Quantized(const Runtime& runtime);

 private:
  MatrixView x_;
  bool quantized_ = false;
  Activations8 view_;
  std::vector<int8_t> values_;
  std::vector<float> scales_;
  std::vector<float> sums16_;
  std::vector<float> sums32_;
};

class PackedMatrix;  // lib/kernels/packed.h

// out [tokens, weights' rows] (row stride out_stride) = x * weights^T.
struct Product {
  const TensorView* weights;  // [rows, cols], of a type with HasProduct, cols = the input's
  float* out;
  size_t out_stride;
  const PackedMatrix* packed = nullptr;  // the same weights; null or empty: they are not packed
};

// Several products of one input in one parallel loop over all their rows. The bytes of each
// weights must hold its shape (GgufFile guarantees it).
void MatMul(const Runtime& runtime, ProductInput& input, std::span<const Product> products);

}  // namespace rag
