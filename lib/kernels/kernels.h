// Kernels: the arithmetic, as one table of functions for each instruction set. The scalar table is
// the reference that the others are tested against.
//
// All pointers may be unaligned; lengths may be any number >= 0. Sizes are elements, not bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/runtime/runtime.h"

namespace rag {

// What a product's results go through before they are stored.
enum class Activation { kNone, kGelu, kGeluTanh, kSilu };

struct Kernels {
  Isa isa;

  // --- distances, f32 ---
  float (*dot)(const float* a, const float* b, size_t n);
  float (*l2_squared)(const float* a, const float* b, size_t n);
  // out[i] = dot(query, rows + i * stride) for i < count.
  void (*dot_rows)(const float* query, const float* rows, size_t stride, size_t count, size_t dim,
                   float* out);
  void (*l2_squared_rows)(const float* query, const float* rows, size_t stride, size_t count,
                          size_t dim, float* out);

  // --- matrix product, f32 ---
  // c [m, n] (row stride ldc) = a [m, k] (row stride lda) * b^T + bias, b packed by PackGemmB from
  // [n, k]; bias [n] or null. One thread: callers split m.
  void (*gemm)(size_t m, size_t n, size_t k, const float* a, size_t lda, const float* packed_b,
               const float* bias, float* c, size_t ldc);
  // Columns of a packed panel; PackGemmB depends on it.
  size_t gemm_panel;

  // --- matrix products of narrow elements ---
  // A row of a is filled up to a multiple of so many bytes: Bf16RowSize, Int8RowSize.
  size_t narrow_row_bytes;
  // As gemm, with both operands rounded to bf16 and sums in f32, in one order whatever m and n. a
  // [m, k] is written by round_bf16, rows of lda elements, at least Bf16RowSize(k); packed_b by
  // PackGemmBf16.
  struct Bf16Product {
    size_t m, n, k;
    const uint16_t* a;
    size_t lda;
    const uint16_t* packed_b;
    const float* bias;  // [n] or null
    float* c;
    size_t ldc;
    Activation activation = Activation::kNone;
  };
  void (*gemm_bf16)(const Bf16Product& product);
  // The same where every factor is the sum of two bf16, and what the smaller ones give together is
  // left out: the error of a product is below 2^-15 of its magnitude, and it takes three of bf16.
  // Null where it is not faster than gemm. a [m, k] is written by split_bf16, rows of lda elements,
  // at least 2 Bf16RowSize(k); packed_b by PackGemmSplit.
  void (*gemm_split)(const Bf16Product& product);
  // As gemm, with both operands in 8 bits and an exact integer sum, but that each row's outliers
  // are multiplied as they are. a [m, k] and its rows are written by this table's quantize_int8,
  // rows of lda bytes, at least Int8RowSize(k); packed_b, b_scales and b_sums by PackGemmInt8. k <=
  // kMaxInt8Depth.
  // x[i] ~ scale * (value[i] - zero), but for the outliers: the kInt8Outliers elements of the
  // largest magnitude, which would leave the others few steps, whose place in the row is a zero.
  // LLM.int8() (Dettmers et al. 2022, section 3) keeps outlying columns apart for the same reason.
  static constexpr size_t kInt8Outliers = 4;
  struct Int8Row {
    struct Outlier {
      uint32_t index;  // < k; 0 of a value that is 0
      float value;
    };
    float scale;
    int32_t zero;
    Outlier outliers[kInt8Outliers];
  };
  struct Int8Product {
    size_t m, n, k;
    const uint8_t* a;
    size_t lda;
    const Int8Row* a_rows;  // [m]
    const int8_t* packed_b;
    const float* b_scales;
    const int32_t* b_sums;
    const float* bias;  // [n] or null
    float* c;
    size_t ldc;
    Activation activation = Activation::kNone;
    bool two_groups = false;  // Int8Inputs'
  };
  void (*gemm_int8)(const Int8Product& product);
  // x [n] to nearest-even bf16; out [Bf16RowSize(n)], filled up with zeros.
  void (*round_bf16)(const float* x, size_t n, uint16_t* out);
  // x [n] in two halves of Bf16RowSize(n) elements, one after the other: nearest-even bf16, and
  // that of what it leaves. Null where gemm_split is.
  void (*split_bf16)(const float* x, size_t n, uint16_t* out);
  // x [n], n <= kMaxInt8Depth, in `steps` even steps, 63 to 253, from its smallest to its largest
  // element but the outliers, or 0 where that lies outside, in the form that this table's gemm_int8
  // reads; rest [n] is overwritten; out [Int8RowSize(n)]. What comes of NaN and infinities is not
  // defined.
  Int8Row (*quantize_int8)(const float* x, size_t n, int32_t steps, float* rest, uint8_t* out);
  // The most steps of inputs that gemm_int8 multiplies exactly with a row of weights b [k], from 63
  // to 253: when it adds products of few inputs, or of two groups of four in 16 bits.
  struct Int8Limits {
    int32_t steps;
    int32_t two_groups;
  };
  Int8Limits (*int8_limits)(const int8_t* b, size_t k);

  // --- elementwise, f32 ---
  void (*softmax)(float* row, size_t n);  // in place, one row; all -inf gives zeros
  // out = (x - mean) / sqrt(variance + epsilon) * gamma + beta; one row; out may be x.
  void (*layer_norm)(const float* x, const float* gamma, const float* beta, float epsilon,
                     float* out, size_t n);
  // out = x / sqrt(mean(x^2) + epsilon) * gamma; one row; out may be x.
  void (*rms_norm)(const float* x, const float* gamma, float epsilon, float* out, size_t n);
  void (*gelu)(float* x, size_t n);       // exact, with erf
  void (*gelu_tanh)(float* x, size_t n);  // the tanh approximation
  void (*silu)(float* x, size_t n);
  void (*add)(float* x, const float* y, size_t n);            // x += y
  void (*mul)(float* x, const float* y, size_t n);            // x *= y
  void (*axpy)(float a, const float* x, float* y, size_t n);  // y += a * x

  // --- attention, one head, in f32 or, where `rounded` says so, with factors of 16 bits ---
  // out [q_count, head_dim] = softmax(scale * q k^T) v over kv_count keys, without storing the
  // score matrix. Row strides are given for each; causal: query i sees keys [0, causal_offset + i].
  // bias: bias[j - i] is added to the scaled score of query i and key j, or null. window: query i
  // sees keys [i - window, i + window] alone, or [i - window, i] where it is causal, whose offset
  // is 0 then; bias does not go with causal.
  struct AttentionArgs {
    const float* q;
    size_t q_stride;
    size_t q_count;
    const float* k;
    size_t k_stride;
    const float* v;
    size_t v_stride;
    size_t kv_count;
    size_t head_dim;
    float scale;
    bool causal;
    size_t causal_offset;
    float* out;
    size_t out_stride;
    float* scratch;  // AttentionScratch(kv_count, head_dim) floats
    const float* bias = nullptr;
    size_t window = SIZE_MAX;
    // Factors may be rounded to what gemm_split keeps of them, in a table that has it.
    bool rounded = false;
  };
  void (*attention)(const AttentionArgs& args);
};

// Products of 8 bits of this depth cannot overflow their sums.
inline constexpr size_t kMaxInt8Depth = 1 << 16;

// x = activation(x), elementwise.
void Activate(const Kernels& kernels, Activation activation, float* x, size_t n);

// Floats of scratch that `attention` needs.
size_t AttentionScratch(size_t kv_count, size_t head_dim);

// The table of an instruction set; null when this build or this processor cannot run it.
const Kernels* GetKernels(Isa isa);

// Elements that a row of k takes, rounded to bf16 or int8.
size_t Bf16RowSize(const Kernels& kernels, size_t k);
size_t Int8RowSize(const Kernels& kernels, size_t k);

// Floats that PackGemmB writes for b [n, k].
size_t PackedGemmBSize(const Kernels& kernels, size_t n, size_t k);
// Elements that PackGemmBf16 and PackGemmInt8 write for b [n, k].
size_t PackedGemmBf16Size(const Kernels& kernels, size_t n, size_t k);
size_t PackedGemmInt8Size(const Kernels& kernels, size_t n, size_t k);
// Row j of a matrix b [n, k], valid until it is asked for another.
using RowSource = FunctionRef<const float*(size_t j)>;
using Int8RowSource = FunctionRef<const int8_t*(size_t j)>;
// Packs b [n, k] for kernels.gemm. Rows are asked for in order, each once, here and below.
void PackGemmB(const Kernels& kernels, RowSource b, size_t n, size_t k, float* packed);
// The same for kernels.gemm_bf16, rounded to nearest even.
void PackGemmBf16(const Kernels& kernels, RowSource b, size_t n, size_t k, uint16_t* packed);
// The same for kernels.gemm_split: twice PackedGemmBf16Size elements.
void PackGemmSplit(const Kernels& kernels, RowSource b, size_t n, size_t k, uint16_t* packed);
// What quantize_int8 and gemm_int8 take for a packed matrix.
struct Int8Inputs {
  int32_t steps = 0;
  bool two_groups = false;  // their products are added in 16 bits
};
// The same for kernels.gemm_int8, of values of -127 to 127, whose sums [n] are written too.
Int8Inputs PackGemmInt8(const Kernels& kernels, Int8RowSource b, size_t n, size_t k, int8_t* packed,
                        int32_t* sums);
// A row of weights x [n] ~ the scale that it returns times values of -127 to 127.
float QuantizeWeights(const float* x, size_t n, int8_t* values);

}  // namespace rag
