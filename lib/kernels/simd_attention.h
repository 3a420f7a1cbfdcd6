// Attention of one head over a vector type V (see simd_vector.h): FlashAttention's online softmax
// (Dao et al. 2022, algorithm 1) on blocks of queries and keys.
#pragma once

#include <xmmintrin.h>

#include <cstddef>

#include "lib/kernels/kernels.h"
#include "lib/kernels/simd_gemm.h"
#include "lib/kernels/simd_vector.h"
#include "lib/kernels/tables.h"

namespace rag::simd {

// Queries that share one transposed block of keys, as long as most texts; a multiple of every
// kTileRows.
inline constexpr size_t kQueryBlock = 288;
// Below this many queries packing keys and values costs more than it saves.
inline constexpr size_t kFewQueries = 4;

// Running state of a block of queries: the largest score, scaled where UpdateSoftmax does it, and
// the sum of exp(score - largest), scaled in any case.
struct SoftmaxState {
  float largest[kQueryBlock];
  float sum[kQueryBlock];
};

// Keys [0, count) as packed B for Tile: panels of 2 registers, head_dim-major, filled up with
// zeros.
template <class V>
void PackKeys(const float* keys, size_t stride, size_t count, size_t head_dim, float* packed) {
  constexpr size_t kPanel = kPanelRegs * V::kWidth;
  static_assert(kPanel % 4 == 0);
  for (size_t first = 0; first < count; first += kPanel) {
    for (size_t j = 0; j < kPanel; j += 4) {
      const size_t valid = count > first + j ? count - first - j : 0;
      const float* key = keys + (first + j) * stride;
      size_t d = 0;
      // Four keys' four elements at a time.
      for (; valid >= 4 && d + 4 <= head_dim; d += 4) {
        __m128 rows[4];
        for (size_t i = 0; i < 4; ++i) rows[i] = _mm_loadu_ps(key + i * stride + d);
        _MM_TRANSPOSE4_PS(rows[0], rows[1], rows[2], rows[3]);
        for (size_t i = 0; i < 4; ++i) _mm_storeu_ps(packed + (d + i) * kPanel + j, rows[i]);
      }
      for (; d < head_dim; ++d) {
        for (size_t i = 0; i < 4; ++i) {
          packed[d * kPanel + j + i] = i < valid ? key[i * stride + d] : 0.0f;
        }
      }
    }
    packed += kPanel * head_dim;
  }
}

// Values [0, count) as packed B for Tile, kKeyBlock rows a panel, filled up with zeros. In place
// they lie a model's row apart: each on a page of its own, and many in the same sets of the
// first-level cache.
template <class V>
void PackValues(const float* values, size_t stride, size_t count, size_t head_dim, float* packed) {
  constexpr size_t kPanel = kPanelRegs * V::kWidth;
  for (size_t i = 0; i < count; ++i) {
    const float* const value = values + i * stride;
    for (size_t d = 0; d < head_dim; d += kPanel) {
      float* const to = packed + d * kKeyBlock + i * kPanel;
      if (d + kPanel <= head_dim) {
        for (size_t j = 0; j < kPanel; j += V::kWidth) V::Store(to + j, V::Load(value + d + j));
      } else {
        for (size_t j = 0; j < kPanel; ++j) to[j] = d + j < head_dim ? value[d + j] : 0.0f;
      }
    }
  }
}

// out [R, head_dim] += weights [R, count] values [count, head_dim], packed or in place.
template <class V, size_t R>
void AddValues(const float* weights, const float* packed, const float* values, size_t stride,
               size_t count, size_t head_dim, float* out, size_t out_stride) {
  constexpr size_t kPanel = kPanelRegs * V::kWidth;
  for (size_t d = 0; d < head_dim; d += kPanel) {
    const bool is_packed = packed != nullptr;
    const TileB operand = {is_packed ? packed + d * kKeyBlock : values + d,
                           is_packed ? kPanel : stride, 0, nullptr, true};
    const size_t columns = head_dim - d < kPanel ? head_dim - d : kPanel;
    if (columns == kPanel || is_packed) {
      Tile<V, R, 1, false>(count, columns, weights, kKeyBlock, operand, out + d, out_stride);
    } else {
      Tile<V, R, 1, true>(count, columns, weights, kKeyBlock, operand, out + d, out_stride);
    }
  }
}

// The keys of a block that a query sees, and the bias of the first of the block, or null.
struct VisibleKeys {
  size_t begin;
  size_t end;
  const float* bias;
};

// Scores -> weights in place for one query over the visible ones of `count` keys; out is scaled
// down when the largest score grows.
template <class V>
void UpdateSoftmax(float* block_scores, const VisibleKeys& keys, size_t count, float scale,
                   float& largest, float& sum, float* out, size_t head_dim) {
  for (size_t j = 0; j < keys.begin; ++j) block_scores[j] = 0.0f;
  for (size_t j = keys.end; j < count; ++j) block_scores[j] = 0.0f;
  if (keys.begin == keys.end) return;
  float* const scores = block_scores + keys.begin;
  const size_t visible = keys.end - keys.begin;
  // Where nothing is added and the largest stays the largest, differences are scaled alone.
  const bool scaled = keys.bias != nullptr || !(scale > 0.0f);
  if (scaled) {
    const typename V::Reg factor = V::Set(scale);
    MapInPlace<V>(scores, visible, [factor](typename V::Reg v) { return V::Mul(v, factor); });
    if (keys.bias != nullptr) Add<V>(scores, keys.bias + keys.begin, visible);
  }
  const float power = scaled ? 1.0f : scale;
  const float block_largest = MaxOf<V>(scores, visible);
  const float new_largest = block_largest > largest ? block_largest : largest;
  if (new_largest == kMinusInfinity) {
    for (size_t j = 0; j < visible; ++j) scores[j] = 0.0f;
    return;
  }
  if (new_largest != largest && sum > 0.0f) {
    float shrink = (largest - new_largest) * power;
    MapInPlace<V>(&shrink, 1, [](typename V::Reg v) { return Exp<V>(v); });
    const typename V::Reg shrinks = V::Set(shrink);
    MapInPlace<V>(out, head_dim, [shrinks](typename V::Reg v) { return V::Mul(v, shrinks); });
    sum *= shrink;
  }
  largest = new_largest;
  sum += ExpRow<V>(scores, visible, new_largest, power);
}

// Whether the window hides any key from any query.
template <class V>
bool Windowed(const Kernels::AttentionArgs& args) {
  return args.window < args.kv_count || args.window < args.q_count;
}

// A block of keys and values as PackKeys and PackValues leave them, or nulls.
struct PackedBlock {
  const float* keys;
  const float* values;
};

// One block of keys, [first_key, first_key + count), for R queries beginning at `query`.
template <class V, size_t R>
void AttendTile(const Kernels::AttentionArgs& args, size_t query, size_t first_key, size_t count,
                const PackedBlock& packed, float* scores, float* largest, float* sum) {
  constexpr size_t kPanel = kPanelRegs * V::kWidth;
  const float* q = args.q + query * args.q_stride;
  float* out = args.out + query * args.out_stride;
  // Keys past the last query's are seen by none of the tile.
  if (args.causal) {
    const size_t end = args.causal_offset + query + R;
    if (end <= first_key) return;
    count = end - first_key < count ? end - first_key : count;
  }
  // Neither are those outside of all windows.
  const bool windowed = Windowed<V>(args);
  if (windowed &&
      (first_key + count + args.window <= query || query + R - 1 + args.window < first_key)) {
    return;
  }
  if (packed.keys != nullptr) {
    for (size_t j = 0; j < count; j += kPanel) {
      const TileB operand = {packed.keys + j * args.head_dim, kPanel, 0, nullptr, false};
      // Whole panels: the block is filled up, and kKeyBlock is a multiple of the panel.
      Tile<V, R, 1, false>(args.head_dim, kPanel, q, args.q_stride, operand, scores + j, kKeyBlock);
    }
  } else {
    for (size_t r = 0; r < R; ++r) {
      ReduceAllRows<V, DotStep<V>>(q + r * args.q_stride, args.k + first_key * args.k_stride,
                                   args.k_stride, count, args.head_dim, scores + r * kKeyBlock);
    }
  }
  for (size_t r = 0; r < R; ++r) {
    VisibleKeys keys = {0, count, nullptr};
    // `limit`, a key, as one of the block.
    const auto clamp = [&](size_t limit) {
      return limit <= first_key ? 0 : (limit - first_key < count ? limit - first_key : count);
    };
    if (args.causal) keys.end = clamp(args.causal_offset + query + r + 1);
    if (windowed) {
      keys.begin = clamp(query + r > args.window ? query + r - args.window : 0);
      if (!args.causal) keys.end = clamp(query + r + args.window + 1);
    }
    if (args.bias != nullptr) {
      keys.bias = args.bias + static_cast<std::ptrdiff_t>(first_key) -
                  static_cast<std::ptrdiff_t>(query + r);
    }
    UpdateSoftmax<V>(scores + r * kKeyBlock, keys, count, args.scale, largest[r], sum[r],
                     out + r * args.out_stride, args.head_dim);
  }
  AddValues<V, R>(scores, packed.values, args.v + first_key * args.v_stride, args.v_stride, count,
                  args.head_dim, out, args.out_stride);
}

using AttendTileFunction = void (*)(const Kernels::AttentionArgs&, size_t, size_t, size_t,
                                    const PackedBlock&, float*, float*, float*);

template <class V, size_t R>
AttendTileFunction ChooseAttendTile(size_t rows) {
  if constexpr (R > 1) {
    if (rows < R) return ChooseAttendTile<V, R - 1>(rows);
  }
  return AttendTile<V, R>;
}

// Kernels::attention.
template <class V>
void Attention(const Kernels::AttentionArgs& args) {
  static_assert(kQueryBlock % V::kTileRows == 0);
  static_assert(kKeyBlock % (kPanelRegs * V::kWidth) == 0);
  static_assert(V::kTileRows <= kMaxAttentionRows);
  const bool windowed = Windowed<V>(args);
  float* const scores = args.scratch;
  float* const packed_keys = scores + kMaxAttentionRows * kKeyBlock;
  float* const packed_values = packed_keys + args.head_dim * kKeyBlock;
  for (size_t begin = 0; begin < args.q_count; begin += kQueryBlock) {
    const size_t queries = args.q_count - begin < kQueryBlock ? args.q_count - begin : kQueryBlock;
    SoftmaxState state;
    for (size_t i = 0; i < queries; ++i) {
      state.largest[i] = kMinusInfinity;
      state.sum[i] = 0.0f;
      float* out = args.out + (begin + i) * args.out_stride;
      for (size_t d = 0; d < args.head_dim; ++d) out[d] = 0.0f;
    }
    size_t keys = args.kv_count;
    if (args.causal && args.causal_offset + begin + queries < keys) {
      keys = args.causal_offset + begin + queries;
    }
    for (size_t first_key = 0; first_key < keys; first_key += kKeyBlock) {
      if (windowed && first_key + kKeyBlock + args.window <= begin) continue;
      if (windowed && begin + queries + args.window <= first_key) break;
      const size_t count = keys - first_key < kKeyBlock ? keys - first_key : kKeyBlock;
      PackedBlock packed = {nullptr, nullptr};
      if (args.q_count >= kFewQueries) {
        PackKeys<V>(args.k + first_key * args.k_stride, args.k_stride, count, args.head_dim,
                    packed_keys);
        PackValues<V>(args.v + first_key * args.v_stride, args.v_stride, count, args.head_dim,
                      packed_values);
        packed = {packed_keys, packed_values};
      }
      for (size_t i = 0; i < queries; i += V::kTileRows) {
        const size_t rows = queries - i < V::kTileRows ? queries - i : V::kTileRows;
        ChooseAttendTile<V, V::kTileRows>(rows)(args, begin + i, first_key, count, packed, scores,
                                                state.largest + i, state.sum + i);
      }
    }
    for (size_t i = 0; i < queries; ++i) {
      const typename V::Reg scale = V::Set(state.sum[i] > 0.0f ? 1.0f / state.sum[i] : 0.0f);
      MapInPlace<V>(args.out + (begin + i) * args.out_stride, args.head_dim,
                    [scale](typename V::Reg v) { return V::Mul(v, scale); });
    }
  }
}

}  // namespace rag::simd
