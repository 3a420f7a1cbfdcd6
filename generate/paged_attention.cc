#include "generate/paged_attention.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace rag {
namespace {

constexpr size_t kBlock = KvPool::kBlockTokens;

size_t FirstKey(const PagedAttention& attention, size_t position) {
  const size_t end = position + 1;
  return attention.window == 0 || end <= attention.window ? 0 : end - attention.window;
}

// A block's keys or values as f32: where they lie, or unpacked into `room`.
const float* Keys(const PagedAttention& attention, size_t block, float* room) {
  KvPool& pool = *attention.pool;
  const std::byte* keys = pool.keys(attention.blocks[block], attention.layer, attention.head);
  if (pool.shape().type == DType::kF32) return reinterpret_cast<const float*>(keys);
  attention.block_kernels->load_keys(pool.shape().type, keys, pool.shape().head_dim, room);
  return room;
}

const float* Values(const PagedAttention& attention, size_t block, size_t count, float* room) {
  KvPool& pool = *attention.pool;
  const std::byte* values = pool.values(attention.blocks[block], attention.layer, attention.head);
  if (pool.shape().type == DType::kF32) return reinterpret_cast<const float*>(values);
  attention.block_kernels->load_values(pool.shape().type, values, pool.shape().head_dim, count,
                                       room);
  return room;
}

// Scores -> weights of the keys that the row sees. `scores` begins with the key `begin`.
void Weigh(const PagedAttention& attention, const AttentionRow& row, size_t begin, float* scores) {
  const size_t first = FirstKey(attention, row.position) - begin;
  const size_t end = row.position + 1 - begin;
  for (size_t j = first; j < end; ++j) scores[j] *= attention.scale;
  if (attention.cap > 0) {
    for (size_t j = first; j < end; ++j) {
      scores[j] = attention.cap * std::tanh(scores[j] / attention.cap);
    }
  }
  if (row.slope != 0) {
    for (size_t j = first; j < end; ++j) scores[j] -= row.slope * static_cast<float>(end - 1 - j);
  }
  attention.kernels->softmax(scores + first, end - first);
}

}  // namespace

void AttendRows(const PagedAttention& attention, std::span<const AttentionRow> rows,
                std::vector<float>& scratch) {
  const size_t head_dim = attention.pool->shape().head_dim;
  size_t first_key = FirstKey(attention, rows[0].position);
  size_t end_key = 0;
  for (const AttentionRow& row : rows) {
    first_key = std::min(first_key, FirstKey(attention, row.position));
    end_key = std::max(end_key, row.position + 1);
  }
  const size_t first = first_key / kBlock;
  const size_t end = KvPool::BlocksFor(end_key);
  const size_t stride = (end - first) * kBlock;
  const size_t room_floats = head_dim * kBlock;
  const size_t needed = room_floats + rows.size() * stride;
  if (scratch.size() < needed) scratch.resize(std::max(needed, 2 * scratch.size()));
  float* const room = scratch.data();
  float* const all_scores = room + room_floats;

  const float* queries[kMaxAttentionRows];
  float* out[kMaxAttentionRows];
  float* scores[kMaxAttentionRows];
  const float* weights[kMaxAttentionRows];
  for (size_t i = 0; i < rows.size(); ++i) {
    queries[i] = rows[i].q;
    out[i] = rows[i].out;
    std::fill(out[i], out[i] + head_dim, 0.0f);
  }
  for (size_t block = first; block < end; ++block) {
    const float* keys = Keys(attention, block, room);
    for (size_t i = 0; i < rows.size(); ++i) {
      scores[i] = all_scores + i * stride + (block - first) * kBlock;
    }
    attention.block_kernels->scores(queries, rows.size(), keys, head_dim, scores);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    Weigh(attention, rows[i], first * kBlock, all_scores + i * stride);
  }
  for (size_t block = first; block < end; ++block) {
    const size_t begin = block * kBlock;
    const float* values = Values(attention, block, std::min(kBlock, end_key - begin), room);
    // Rows that see the same of the block go together. A value that a row does not see is not even
    // multiplied by 0, which would let a NaN of a later token through.
    for (size_t i = 0; i < rows.size();) {
      const auto sees = [&](const AttentionRow& row) {
        return std::pair(std::max(begin, FirstKey(attention, row.position)),
                         std::min(begin + kBlock, row.position + 1));
      };
      const auto [from, to] = sees(rows[i]);
      size_t count = 0;
      for (; i + count < rows.size() && sees(rows[i + count]) == std::pair(from, to); ++count) {
        weights[count] = all_scores + (i + count) * stride + (from - first * kBlock);
      }
      if (from < to) {
        attention.block_kernels->add_values(weights, count, values + (from - begin) * head_dim,
                                            head_dim, to - from, out + i);
      }
      i += count;
    }
  }
}

}  // namespace rag
