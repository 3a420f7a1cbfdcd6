#include "generate/head_attention.h"

#include <algorithm>
#include <cmath>

namespace rag {
namespace {

// Key rows [first, position + 1) of query `i`.
size_t FirstKey(const HeadAttention& head, size_t i) {
  const size_t end = head.position + i + 1;
  return head.window == 0 || end <= head.window ? 0 : end - head.window;
}

// One query with its scores stored, so that each can be changed.
void AttendScored(const Kernels& kernels, const HeadAttention& head, size_t i) {
  const size_t first = FirstKey(head, i);
  const size_t count = head.position + i + 1 - first;
  float* scores = head.scratch;
  kernels.dot_rows(head.q + i * head.q_stride, head.keys + first * head.head_dim, head.head_dim,
                   count, head.head_dim, scores);
  for (size_t j = 0; j < count; ++j) {
    float score = scores[j] * head.scale;
    if (head.cap > 0) score = head.cap * std::tanh(score / head.cap);
    scores[j] = score - head.slope * static_cast<float>(count - 1 - j);
  }
  kernels.softmax(scores, count);
  float* out = head.out + i * head.out_stride;
  std::fill(out, out + head.head_dim, 0.0f);
  for (size_t j = 0; j < count; ++j) {
    kernels.axpy(scores[j], head.values + (first + j) * head.head_dim, out, head.head_dim);
  }
}

}  // namespace

void AttendHead(const Kernels& kernels, const HeadAttention& head) {
  if (head.cap > 0 || head.slope != 0) {
    for (size_t i = 0; i < head.q_count; ++i) AttendScored(kernels, head, i);
    return;
  }
  Kernels::AttentionArgs args = {
      .q = head.q,
      .q_stride = head.q_stride,
      .q_count = head.q_count,
      .k = head.keys,
      .k_stride = head.head_dim,
      .v = head.values,
      .v_stride = head.head_dim,
      .kv_count = head.position + head.q_count,
      .head_dim = head.head_dim,
      .scale = head.scale,
      .causal = true,
      .causal_offset = head.position,
      .out = head.out,
      .out_stride = head.out_stride,
      .scratch = head.scratch,
  };
  if (FirstKey(head, head.q_count - 1) == 0) {
    kernels.attention(args);
    return;
  }
  // Each query has a first key of its own.
  args.q_count = 1;
  for (size_t i = 0; i < head.q_count; ++i) {
    const size_t first = FirstKey(head, i);
    args.q = head.q + i * head.q_stride;
    args.k = head.keys + first * head.head_dim;
    args.v = head.values + first * head.head_dim;
    args.kv_count = head.position + i + 1 - first;
    args.causal_offset = args.kv_count - 1;
    args.out = head.out + i * head.out_stride;
    kernels.attention(args);
  }
}

}  // namespace rag
