// The vector tables of kv_block.h, written once over a vector type V, which lives in the unnamed
// namespace of the file that defines it (simd_vector.h says why). V gives Reg, kWidth, Load, Store,
// LoadFirst, StoreFirst, Set, Zero, Add, Mul, MulAdd; LoadHalves and LoadBytes, which widen kWidth
// elements; LoadPairs, the low and the high four bits of kWidth bytes less 8; HalfToFloat;
// kScoreRows, the rows of a tile; and kScoreChains, 1 or 2.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/kernels/kv_block.h"

namespace rag::simd {

template <class V>
void LoadHalfBlock(const std::byte* block, size_t elements, float* out) {
  // Whole registers: a block is a multiple of them.
  for (size_t i = 0; i < elements; i += V::kWidth) {
    V::Store(out + i, V::LoadHalves(block + i * sizeof(uint16_t)));
  }
}

// A group's scales of all tokens of a block.
template <class V>
struct KeyScales {
  static constexpr size_t kRegs = kKvBlockTokens / V::kWidth;
  KeyScales(const std::byte* scales, size_t group) {
    const std::byte* from = scales + group * kKvBlockTokens * sizeof(uint16_t);
#pragma GCC unroll 4
    for (size_t r = 0; r < kRegs; ++r) {
      of[r] = V::LoadHalves(from + r * V::kWidth * sizeof(uint16_t));
    }
  }
  typename V::Reg of[kRegs];
};

template <class V>
void LoadByteKeys(const std::byte* block, size_t head_dim, float* out) {
  constexpr size_t W = V::kWidth;
  const std::byte* scales = block + head_dim * kKvBlockTokens;
  for (size_t group = 0; group < KvGroups(head_dim); ++group) {
    const KeyScales<V> scale(scales, group);
    const size_t begin = group * kKvScaleElements;
    for (size_t i = begin; i < begin + KvGroupElements(head_dim, group); ++i) {
      const size_t at = i * kKvBlockTokens;
#pragma GCC unroll 4
      for (size_t r = 0; r < scale.kRegs; ++r) {
        V::Store(out + at + r * W, V::Mul(V::LoadBytes(block + at + r * W), scale.of[r]));
      }
    }
  }
}

template <class V>
void LoadPairKeys(const std::byte* block, size_t head_dim, float* out) {
  constexpr size_t W = V::kWidth;
  const std::byte* scales = block + KvPairBytes(head_dim) * kKvBlockTokens;
  for (size_t group = 0; group < KvGroups(head_dim); ++group) {
    const KeyScales<V> scale(scales, group);
    const size_t count = KvGroupElements(head_dim, group);
    const size_t pairs = KvPairBytes(count);
    const std::byte* from = block + group * kKvPairBytes * kKvBlockTokens;
    float* const low_out = out + group * kKvScaleElements * kKvBlockTokens;
    float* const high_out = low_out + pairs * kKvBlockTokens;
    for (size_t i = 0; i < pairs; ++i) {
      const bool has_high = pairs + i < count;
#pragma GCC unroll 4
      for (size_t r = 0; r < scale.kRegs; ++r) {
        const size_t at = i * kKvBlockTokens + r * W;
        typename V::Reg low, high;
        V::LoadPairs(from + at, low, high);
        V::Store(low_out + at, V::Mul(low, scale.of[r]));
        if (has_high) V::Store(high_out + at, V::Mul(high, scale.of[r]));
      }
    }
  }
}

template <class V>
void LoadKvKeys(DType type, const std::byte* block, size_t head_dim, float* out) {
  if (type == DType::kF16) return LoadHalfBlock<V>(block, head_dim * kKvBlockTokens, out);
  if (type == DType::kQ8_0) return LoadByteKeys<V>(block, head_dim, out);
  LoadPairKeys<V>(block, head_dim, out);
}

template <class V>
void LoadByteGroup(const std::byte* codes, size_t count, float scale, float* out) {
  size_t i = 0;
  for (; i + V::kWidth <= count; i += V::kWidth) {
    V::Store(out + i, V::Mul(V::LoadBytes(codes + i), V::Set(scale)));
  }
  for (; i < count; ++i) out[i] = static_cast<float>(static_cast<int8_t>(codes[i])) * scale;
}

template <class V>
void LoadPairGroup(const std::byte* codes, size_t count, float scale, float* out) {
  const size_t pairs = KvPairBytes(count);
  size_t i = 0;
  for (; i + V::kWidth <= count - pairs; i += V::kWidth) {
    typename V::Reg low, high;
    V::LoadPairs(codes + i, low, high);
    V::Store(out + i, V::Mul(low, V::Set(scale)));
    V::Store(out + pairs + i, V::Mul(high, V::Set(scale)));
  }
  for (; i < pairs; ++i) {
    const int pair = static_cast<int>(codes[i]);
    out[i] = static_cast<float>((pair & 15) - 8) * scale;
    if (pairs + i < count) out[pairs + i] = static_cast<float>((pair >> 4) - 8) * scale;
  }
}

template <class V>
void LoadKvValues(DType type, const std::byte* block, size_t head_dim, size_t count, float* out) {
  if (type == DType::kF16) return LoadHalfBlock<V>(block, count * head_dim, out);
  const bool pairs = type == DType::kQ4_0;
  const size_t groups = KvGroups(head_dim);
  const size_t token_bytes = KvCodeBytes(type, head_dim);
  const size_t group_bytes = pairs ? kKvPairBytes : kKvScaleElements;
  const std::byte* scales = block + token_bytes * kKvBlockTokens;
  for (size_t j = 0; j < count; ++j) {
    for (size_t group = 0; group < groups; ++group) {
      const float scale = V::HalfToFloat(scales + (j * groups + group) * sizeof(uint16_t));
      const std::byte* codes = block + j * token_bytes + group * group_bytes;
      float* const to = out + j * head_dim + group * kKvScaleElements;
      const size_t elements = KvGroupElements(head_dim, group);
      if (pairs) {
        LoadPairGroup<V>(codes, elements, scale, to);
      } else {
        LoadByteGroup<V>(codes, elements, scale, to);
      }
    }
  }
}

// V::kScoreChains sums for each register of keys, element i going to chain i % kScoreChains, hide
// the multiply-add's latency where there are few rows.
template <class V, size_t R>
void ScoreTile(const float* const* queries, const float* keys, size_t head_dim,
               float* const* scores) {
  constexpr size_t W = V::kWidth;
  constexpr size_t kRegs = kKvBlockTokens / W;
  constexpr size_t kChains = V::kScoreChains;
  typename V::Reg sums[kChains][R][kRegs];
#pragma GCC unroll 2
  for (size_t chain = 0; chain < kChains; ++chain) {
#pragma GCC unroll 8
    for (size_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (size_t c = 0; c < kRegs; ++c) sums[chain][r][c] = V::Zero();
    }
  }
  const auto add = [&](size_t i, auto& into) {
    typename V::Reg key[kRegs];
#pragma GCC unroll 4
    for (size_t c = 0; c < kRegs; ++c) key[c] = V::Load(keys + i * kKvBlockTokens + c * W);
#pragma GCC unroll 8
    for (size_t r = 0; r < R; ++r) {
      const typename V::Reg query = V::Set(queries[r][i]);
#pragma GCC unroll 4
      for (size_t c = 0; c < kRegs; ++c) into[r][c] = V::MulAdd(query, key[c], into[r][c]);
    }
  };
  size_t i = 0;
  for (; i + kChains <= head_dim; i += kChains) {
#pragma GCC unroll 2
    for (size_t chain = 0; chain < kChains; ++chain) add(i + chain, sums[chain]);
  }
  for (; i < head_dim; ++i) add(i, sums[0]);
#pragma GCC unroll 8
  for (size_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (size_t c = 0; c < kRegs; ++c) {
      typename V::Reg sum = sums[0][r][c];
      if constexpr (kChains > 1) sum = V::Add(sum, sums[1][r][c]);
      V::Store(scores[r] + c * W, sum);
    }
  }
}

// Elements [begin, begin + P * V::kWidth) of the head, or up to its end where kTail.
template <class V, size_t R, size_t P, bool kTail>
void AddPanel(const float* const* weights, const float* values, size_t head_dim, size_t begin,
              size_t count, float* const* out) {
  constexpr size_t W = V::kWidth;
  const size_t rest = head_dim - begin;
  const auto load = [&](const float* from, size_t p) {
    if constexpr (kTail) return V::LoadFirst(from, rest);
    return V::Load(from + p * W);
  };
  typename V::Reg sums[R][P];
#pragma GCC unroll 8
  for (size_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (size_t p = 0; p < P; ++p) sums[r][p] = load(out[r] + begin, p);
  }
  for (size_t j = 0; j < count; ++j) {
    typename V::Reg value[P];
#pragma GCC unroll 4
    for (size_t p = 0; p < P; ++p) value[p] = load(values + j * head_dim + begin, p);
#pragma GCC unroll 8
    for (size_t r = 0; r < R; ++r) {
      const typename V::Reg weight = V::Set(weights[r][j]);
#pragma GCC unroll 4
      for (size_t p = 0; p < P; ++p) sums[r][p] = V::MulAdd(weight, value[p], sums[r][p]);
    }
  }
#pragma GCC unroll 8
  for (size_t r = 0; r < R; ++r) {
    if constexpr (kTail) {
      V::StoreFirst(out[r] + begin, sums[r][0], rest);
    } else {
#pragma GCC unroll 4
      for (size_t p = 0; p < P; ++p) V::Store(out[r] + begin + p * W, sums[r][p]);
    }
  }
}

template <class V, size_t R>
void AddTile(const float* const* weights, const float* values, size_t head_dim, size_t count,
             float* const* out) {
  constexpr size_t W = V::kWidth;
  size_t begin = 0;
  for (; begin + 4 * W <= head_dim; begin += 4 * W) {
    AddPanel<V, R, 4, false>(weights, values, head_dim, begin, count, out);
  }
  for (; begin + W <= head_dim; begin += W) {
    AddPanel<V, R, 1, false>(weights, values, head_dim, begin, count, out);
  }
  if (begin < head_dim) AddPanel<V, R, 1, true>(weights, values, head_dim, begin, count, out);
}

template <class V, size_t R>
void ScoreRows(const float* const* queries, size_t rows, const float* keys, size_t head_dim,
               float* const* scores) {
  size_t row = 0;
  for (; row + R <= rows; row += R) {
    ScoreTile<V, R>(queries + row, keys, head_dim, scores + row);
  }
  if constexpr (R > 1) ScoreRows<V, R - 1>(queries + row, rows - row, keys, head_dim, scores + row);
}

template <class V, size_t R>
void AddRows(const float* const* weights, size_t rows, const float* values, size_t head_dim,
             size_t count, float* const* out) {
  size_t row = 0;
  for (; row + R <= rows; row += R) {
    AddTile<V, R>(weights + row, values, head_dim, count, out + row);
  }
  if constexpr (R > 1) {
    AddRows<V, R - 1>(weights + row, rows - row, values, head_dim, count, out + row);
  }
}

template <class V>
constexpr KvBlockKernels MakeKvBlockTable(Isa isa) {
  return {.isa = isa,
          .load_keys = LoadKvKeys<V>,
          .load_values = LoadKvValues<V>,
          .scores = ScoreRows<V, V::kScoreRows>,
          .add_values = AddRows<V, V::kScoreRows>};
}

}  // namespace rag::simd
