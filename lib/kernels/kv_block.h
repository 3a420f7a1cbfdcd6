// Attention's arithmetic over blocks of cached keys and values of one head, and the forms in which
// they are kept.
//
// A block holds kKvBlockTokens tokens. Its keys lie transposed, [head_dim][tokens], so that a lane
// is a key and a query's score needs no sum across lanes; its values lie [tokens][head_dim]. A
// result for one query does not depend on the queries beside it, bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

inline constexpr size_t kKvBlockTokens = 32;
// Elements of a token that share a scale in kQ8_0 and kQ4_0, as in GGUF's, but the scales lie
// behind all elements of the block; the last group of a head may have fewer.
inline constexpr size_t kKvScaleElements = 32;
// A group's codes of kQ4_0 lie in pairs: the first half of its elements (one more, if they are odd)
// in the low four bits of its bytes, the second half in the high ones.
inline constexpr size_t kKvPairBytes = kKvScaleElements / 2;

constexpr size_t KvGroups(size_t head_dim) {
  return (head_dim + kKvScaleElements - 1) / kKvScaleElements;
}
// Elements of a group, the last of a head among them.
constexpr size_t KvGroupElements(size_t head_dim, size_t group) {
  const size_t left = head_dim - group * kKvScaleElements;
  return left < kKvScaleElements ? left : kKvScaleElements;
}
// Bytes of a token's codes in kQ4_0.
constexpr size_t KvPairBytes(size_t head_dim) { return (head_dim + 1) / 2; }
// Bytes of a token's codes in kQ8_0 or kQ4_0. A block's scales lie behind those of all its tokens.
constexpr size_t KvCodeBytes(DType type, size_t head_dim) {
  return type == DType::kQ4_0 ? KvPairBytes(head_dim) : head_dim;
}

// F32, F16, Q8_0 and Q4_0.
bool IsKvType(DType type);
// Bytes of a block's keys, and of its values; a multiple of 64.
size_t KvBlockBytes(DType type, size_t head_dim);

// Writes one token's f32 [head_dim] at `slot` of a block. F16 takes what is too large for it as its
// largest number; Q8_0 and Q4_0 round to nearest, Q4_0 as GGUF's does (the largest magnitude
// becomes -8), and make a group with an infinite or NaN element NaN.
void StoreKey(DType type, const float* key, size_t head_dim, size_t slot, std::byte* block);
void StoreValue(DType type, const float* value, size_t head_dim, size_t slot, std::byte* block);

struct KvBlockKernels {
  Isa isa;
  // A block's keys as f32 [head_dim][kKvBlockTokens]; all types but F32.
  void (*load_keys)(DType type, const std::byte* block, size_t head_dim, float* out);
  // The first `count` tokens' values as f32 [count][head_dim]; `out` has room for a whole block.
  void (*load_values)(DType type, const std::byte* block, size_t head_dim, size_t count,
                      float* out);
  // scores[i][j] = dot(queries[i], key j) for all keys of the block.
  void (*scores)(const float* const* queries, size_t rows, const float* keys, size_t head_dim,
                 float* const* scores);
  // out[i] += sum over j < count of weights[i][j] * value j.
  void (*add_values)(const float* const* weights, size_t rows, const float* values, size_t head_dim,
                     size_t count, float* const* out);
};

// The table of an instruction set; null when this build or this processor cannot run it.
const KvBlockKernels* GetKvBlockKernels(Isa isa);

}  // namespace rag
