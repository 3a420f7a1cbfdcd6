// Attention of one head over the cached keys and values, with what decoders add to it.
#pragma once

#include <cstddef>

#include "lib/kernels/kernels.h"

namespace rag {

// Queries at positions [position, position + q_count), each of which sees the keys up to its own
// position: all of them, or the last `window` ones.
struct HeadAttention {
  const float* q = nullptr;  // [q_count, head_dim], row stride q_stride (elements)
  size_t q_stride = 0;
  size_t q_count = 0;
  size_t position = 0;
  const float* keys = nullptr;  // [position + q_count, head_dim]
  const float* values = nullptr;
  size_t head_dim = 0;
  float scale = 1;
  float cap = 0;    // 0: none; a score becomes cap * tanh(score / cap) (Gemma Team 2024, "Gemma 2")
  float slope = 0;  // ALiBi (Press et al. 2022): slope * (key's position - query's) is added
  size_t window = 0;     // 0: all keys
  float* out = nullptr;  // [q_count, head_dim], row stride out_stride
  size_t out_stride = 0;
  float* scratch = nullptr;  // AttentionScratch(keys, head_dim) floats
};
void AttendHead(const Kernels& kernels, const HeadAttention& head);

}  // namespace rag
