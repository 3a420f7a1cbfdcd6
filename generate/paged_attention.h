// Attention of one key head over the cached blocks of a sequence, with what decoders add to it.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "generate/kv_pool.h"
#include "lib/kernels/kernels.h"

namespace rag {

// One query head of one token, which sees the keys up to its own position.
struct AttentionRow {
  const float* q = nullptr;  // [head_dim]
  float* out = nullptr;      // [head_dim]
  size_t position = 0;
  float slope = 0;  // ALiBi (Press et al. 2022): slope * (key's position - query's) is added
};

struct PagedAttention {
  const Kernels* kernels = nullptr;
  const KvBlockKernels* block_kernels = nullptr;
  KvPool* pool = nullptr;
  std::span<const KvPool::BlockId> blocks;  // of the sequence, up to the last row's position
  size_t layer = 0;
  size_t head = 0;  // of keys and values
  float scale = 1;
  float cap = 0;  // 0: none; a score becomes cap * tanh(score / cap) (Gemma Team 2024, "Gemma 2")
  size_t window = 0;  // 0: all keys; else the last `window` ones
};

// Rows that share a pass over the blocks, at most.
inline constexpr size_t kMaxAttentionRows = 12;

// Attends for 1 to kMaxAttentionRows rows. A row's result does not depend on the others, bit for
// bit. `scratch` is made as large as needed.
void AttendRows(const PagedAttention& attention, std::span<const AttentionRow> rows,
                std::vector<float>& scratch);

}  // namespace rag
