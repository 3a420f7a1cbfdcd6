// The tables of lib/kernels, for its dispatcher and their sources alone.
#pragma once

#include "lib/kernels/kernels.h"

namespace rag {

const Kernels& ScalarKernels();
const Kernels& Avx2Kernels();
const Kernels& Avx512Kernels();
const Kernels& AmxKernels();

// What the vector tables' attention holds of a block at once: the scores of kMaxAttentionRows
// queries against kKeyBlock keys, those keys and their values.
inline constexpr size_t kKeyBlock = 128;
inline constexpr size_t kMaxAttentionRows = 12;
inline constexpr size_t SimdAttentionFloats(size_t head_dim) {
  return (kMaxAttentionRows + head_dim + (head_dim + 31) / 32 * 32) * kKeyBlock;
}

// attention on tiles: also the AMX table's in f32 (attention_amx.cc), and the floats it works in:
// scores and weights of kAmxQueryRows queries, the queries, and a block of keys and of values, each
// element as two of bf16, and what aligns them.
void AmxAttention(const Kernels::AttentionArgs& args);
inline constexpr size_t kAmxQueryRows = 32;
inline constexpr size_t AmxAttentionFloats(size_t head_dim) {
  return 2 * kAmxQueryRows * kKeyBlock +
         (head_dim + 31) / 32 * 32 * (kAmxQueryRows + 2 * kKeyBlock) + 16;
}

// The most steps of quantize_int8: so few that rounding twice, the value and the zero, stays within
// a byte.
inline constexpr int32_t kInt8Steps = 253;
// int8_limits where sums of products cannot overflow.
Kernels::Int8Limits NoInt8Limits(const int8_t* b, size_t k);
// Bytes in front of what gemm_int8 has packed, so that an outlier's weights may be loaded as the
// highest bytes of 32 bits.
inline constexpr size_t kInt8Front = 64;
// Rows that reach less far are zeros: the steps of still smaller ones overflow when they are
// divided by.
inline constexpr float kLeastInt8Range = 1e-30f;

}  // namespace rag
