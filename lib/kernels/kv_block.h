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
// Elements of a token that share a scale in kQ8_0: as GGUF's, but the scales lie behind all
// elements of the block.
inline constexpr size_t kKvScaleElements = 32;

// F32, F16 and Q8_0.
bool IsKvType(DType type);
// Bytes of a block's keys, and of its values; a multiple of 64.
size_t KvBlockBytes(DType type, size_t head_dim);

// Writes one token's f32 [head_dim] at `slot` of a block. F16 takes what is too large for it as its
// largest number; Q8_0 rounds to nearest, and makes a group with an infinite or NaN element NaN.
void StoreKey(DType type, const float* key, size_t head_dim, size_t slot, std::byte* block);
void StoreValue(DType type, const float* value, size_t head_dim, size_t slot, std::byte* block);

struct KvBlockKernels {
  Isa isa;
  // A block's keys as f32 [head_dim][kKvBlockTokens]; F16 and Q8_0.
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
