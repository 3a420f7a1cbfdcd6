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

// Elements whose sums stand together, and the fewest that share a scale.
inline constexpr size_t kActivationGroup = 32;

// Activations as whole numbers of 8 bits with f32 scales: x[i] ~ scales[i / 32] * values[i], values
// in [-127, 127]. A scale is of 32 elements, or of 256 and repeated: as a product needs them.
// sums16[i] and sums32[i] are scale times the sum of 16 and 32 values, for weights with a minimum;
// minus16[i] and minus32[i] that sum itself, negated, for weights with a zero point; whole32[i] the
// sum of 32. Rows are padded with zeros to `stride` elements, a multiple of 256.
struct Activations8 {
  const int8_t* values = nullptr;
  const float* scales = nullptr;
  const float* sums16 = nullptr;
  const float* sums32 = nullptr;
  const int32_t* minus16 = nullptr;
  const int32_t* minus32 = nullptr;
  const int16_t* whole32 = nullptr;
  size_t stride = 0;
};

// Elements that share a scale.
enum class ScaleOf { k32, k256 };

// 16 tokens' activations together, as products on tiles read them. Tokens stand in panels of
// kPanelTokens, a panel's blocks or groups one after another; what the last panel lacks is
// anything.
inline constexpr size_t kPanelTokens = 16;
// 32 columns, scales of 32.
struct alignas(64) PanelBlock {
  int8_t values[kPanelTokens][32];
  float scales[kPanelTokens];
  float sums32[kPanelTokens];
};
// 256 columns, scales of 256.
struct alignas(64) PanelGroup {
  int8_t values[4][kPanelTokens][64];
  int16_t whole32[4][kPanelTokens][2];
  float scales[kPanelTokens];
};

// One row of Activations8, to be written.
struct ActivationRow {
  int8_t* values;
  float* scales;
  float* sums16;
  float* sums32;
  int32_t* minus16;
  int32_t* minus32;
  int16_t* whole32;
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
  // Quantizes x [cols] to 8 bits; padded is a multiple of 256, and the same numbers come from every
  // instruction set. Rounds to nearest even; what shares a scale with an infinite or NaN element
  // becomes NaN.
  void (*quantize_row)(const float* x, size_t cols, size_t padded, ScaleOf scale_of,
                       const ActivationRow& out);
};

// The table of an instruction set; null when this build or this processor cannot run it.
const QuantizedKernels* GetQuantizedKernels(Isa isa);

// Whether MatMul takes weights of the type.
bool HasProduct(DType type);

// The memory of Activations8.
class ActivationRows {
 public:
  // Makes room for rows of cols elements, padded. What the rows hold is lost.
  void Resize(size_t rows, size_t cols);
  size_t stride() const { return stride_; }
  ActivationRow row(size_t i);
  Activations8 view() const;

 private:
  size_t stride_ = 0;
  std::vector<int8_t> values_;
  std::vector<float> scales_;
  std::vector<float> sums16_;
  std::vector<float> sums32_;
  std::vector<int32_t> minus16_;
  std::vector<int32_t> minus32_;
  std::vector<int16_t> whole32_;
};

// Activations [tokens, cols] in the forms that products need; the 8-bit forms are made on first
// use. Used by one thread at a time; keeps its memory between Set calls.
class ProductInput {
 public:
  // x stays valid until the products are done.
  void Set(MatrixView x);
  const MatrixView& x() const { return x_; }
  // In panels too, where `runtime` multiplies those: the first PanelTokens(x().rows) tokens.
  struct Quantized8 {
    Activations8 rows;
    const PanelBlock* blocks = nullptr;  // of ScaleOf::k32
    const PanelGroup* groups = nullptr;  // of ScaleOf::k256
  };
  const Quantized8& Quantized(const Runtime& runtime, ScaleOf scale_of);

 private:
  struct Form {
    bool made = false;
    Quantized8 view;
    ActivationRows rows;
    std::vector<PanelBlock> blocks;
    std::vector<PanelGroup> groups;
  };

  MatrixView x_;
  Form forms_[2];  // by ScaleOf
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
