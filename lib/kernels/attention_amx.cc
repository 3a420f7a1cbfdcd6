// Attention of one head on tiles: FlashAttention's online softmax (Dao et al. 2022, algorithm 1)
// over blocks of keys, every factor of both products the sum of two bf16 as in gemm_split.
//
// A block of keys and values is packed once and all queries pass over it, kQueryRows at a time, so
// that scores, weights and the block stay in the first-level cache. Exponents are to base 2: the
// queries are scaled by log2(e) more.
#include "lib/kernels/amx_tiles.h"
#include "lib/kernels/avx512_intrinsics.h"
#include "lib/kernels/kernels.h"
#include "lib/kernels/simd_math.h"
#include "lib/kernels/tables.h"

namespace rag {
namespace {

using amx::kRowBytes;
using amx::kTileRows;

constexpr size_t kQueryRows = kAmxQueryRows;
static_assert(kQueryRows == 2 * kTileRows);
constexpr size_t kQueryBlock = 512;  // queries whose softmax is begun at one time
constexpr size_t kFewQueries = 4;    // fewer do not pay for packing keys and values
constexpr size_t kLanes = 16;
constexpr size_t kStep = 32;  // bf16 elements of a tile's row
constexpr size_t kTileElements = kTileRows * kStep;
constexpr float kLog2E = 1.44269504f;

static_assert(kKeyBlock % kStep == 0);

size_t RoundUp(size_t n, size_t step) { return (n + step - 1) / step * step; }

// 32 elements in bf16, and what they leave.
struct Halves {
  __m512i high;
  __m512i low;
};

Halves Round(__m512 first, __m512 second) {
  Halves halves = {};
  halves.high = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));
  const auto widen = [](__m256i bf16) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16));
  };
  halves.low = reinterpret_cast<__m512i>(
      _mm512_cvtne2ps_pbh(_mm512_sub_ps(second, widen(_mm512_extracti64x4_epi64(halves.high, 1))),
                          _mm512_sub_ps(first, widen(_mm512_castsi512_si256(halves.high)))));
  return halves;
}

// Dword j of row i becomes dword i of row j.
void Transpose(__m512i rows[16]) {
  __m512i pairs[16];
#pragma GCC unroll 8
  for (size_t i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  __m512i quads[16];
#pragma GCC unroll 4
  for (size_t i = 0; i < 16; i += 4) {
    quads[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    quads[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    quads[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    quads[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  // quads[4 g + c]: in 128-bit lane l, column 4 l + c of rows 4 g to 4 g + 3.
#pragma GCC unroll 4
  for (size_t c = 0; c < 4; ++c) {
    const __m512i low01 = _mm512_shuffle_i32x4(quads[c], quads[4 + c], 0x44);
    const __m512i high01 = _mm512_shuffle_i32x4(quads[c], quads[4 + c], 0xee);
    const __m512i low23 = _mm512_shuffle_i32x4(quads[8 + c], quads[12 + c], 0x44);
    const __m512i high23 = _mm512_shuffle_i32x4(quads[8 + c], quads[12 + c], 0xee);
    rows[c] = _mm512_shuffle_i32x4(low01, low23, 0x88);
    rows[4 + c] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
    rows[8 + c] = _mm512_shuffle_i32x4(high01, high23, 0x88);
    rows[12 + c] = _mm512_shuffle_i32x4(high01, high23, 0xdd);
  }
}

// Working memory, cut from AttentionArgs::scratch. Of every packed operand the high halves come
// first, then the low ones.
struct Buffers {
  Buffers(float* scratch, size_t padded_dim) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(scratch);
    float* next = scratch + (kRowBytes - address % kRowBytes) % kRowBytes / sizeof(float);
    const auto take = [&next](size_t floats) {
      float* const taken = next;
      next += floats;
      return taken;
    };
    scores = take(kQueryRows * kKeyBlock);
    weights = reinterpret_cast<uint16_t*>(take(kQueryRows * kKeyBlock));
    queries = reinterpret_cast<uint16_t*>(take(kQueryRows * padded_dim));
    keys = reinterpret_cast<uint16_t*>(take(kKeyBlock * padded_dim));
    values = reinterpret_cast<uint16_t*>(take(kKeyBlock * padded_dim));
  }
  float* scores;      // [kQueryRows, kKeyBlock]; then their products with values, 32 columns
  uint16_t* weights;  // [2][kQueryRows, kKeyBlock]
  uint16_t* queries;  // [2][kQueryRows, padded_dim]
  uint16_t* keys;     // [2] tiles: 16 keys by 32 dimensions, those of the same keys in order
  uint16_t* values;   // [2] tiles: 32 keys by 16 dimensions, those of the same keys in order
};

void PackQueries(const Kernels::AttentionArgs& args, size_t first, size_t rows, size_t padded_dim,
                 uint16_t* out) {
  const __m512 scale = _mm512_set1_ps(args.scale * kLog2E);
  for (size_t i = 0; i < rows; ++i) {
    const float* query = args.q + (first + i) * args.q_stride;
    for (size_t d = 0; d < padded_dim; d += kStep) {
      const size_t left = args.head_dim > d ? args.head_dim - d : 0;
      const size_t more = left > kLanes ? left - kLanes : 0;
      const Halves halves =
          Round(_mm512_mul_ps(_mm512_maskz_loadu_ps(FirstLanes(left), query + d), scale),
                _mm512_mul_ps(_mm512_maskz_loadu_ps(FirstLanes(more), query + d + kLanes), scale));
      uint16_t* const to = out + i * padded_dim + d;
      _mm512_store_si512(to, halves.high);
      _mm512_store_si512(to + kQueryRows * padded_dim, halves.low);
    }
  }
}

// Keys [first, first + count), filled up with zeros to a multiple of 32.
void PackKeys(const Kernels::AttentionArgs& args, size_t first, size_t count, size_t padded_dim,
              uint16_t* out) {
  const size_t padded = RoundUp(count, kStep);
  for (size_t j = 0; j < padded; j += kTileRows) {
    for (size_t d = 0; d < padded_dim; d += kStep) {
      const size_t left = args.head_dim > d ? args.head_dim - d : 0;
      const __mmask16 near = FirstLanes(left);
      const __mmask16 far = FirstLanes(left > kLanes ? left - kLanes : 0);
      __m512i high[16];
      __m512i low[16];
      for (size_t i = 0; i < kTileRows; ++i) {
        const bool valid = j + i < count;
        const float* key = args.k + (valid ? first + j + i : first) * args.k_stride + d;
        const Halves halves = Round(_mm512_maskz_loadu_ps(valid ? near : 0, key),
                                    _mm512_maskz_loadu_ps(valid ? far : 0, key + kLanes));
        high[i] = halves.high;
        low[i] = halves.low;
      }
      Transpose(high);
      for (size_t i = 0; i < kTileRows; ++i) _mm512_store_si512(out + i * kStep, high[i]);
      Transpose(low);
      for (size_t i = 0; i < kTileRows; ++i) {
        _mm512_store_si512(out + kKeyBlock * padded_dim + i * kStep, low[i]);
      }
      out += kTileElements;
    }
  }
}

void PackValues(const Kernels::AttentionArgs& args, size_t first, size_t count, size_t padded_dim,
                uint16_t* out) {
  // Elements of two rows of 16 side by side.
  alignas(64) static constexpr uint16_t kInterleaved[32] = {
      0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i order = _mm512_load_si512(kInterleaved);
  const size_t padded = RoundUp(count, kStep);
  for (size_t j = 0; j < padded; j += kStep) {
    for (size_t d = 0; d < padded_dim; d += kLanes) {
      const __mmask16 dims = FirstLanes(args.head_dim > d ? args.head_dim - d : 0);
      for (size_t g = 0; g < kTileRows; ++g) {
        const size_t key = j + 2 * g;
        const float* row = args.v + (first + (key < count ? key : 0)) * args.v_stride + d;
        const Halves halves =
            Round(_mm512_maskz_loadu_ps(key < count ? dims : 0, row),
                  _mm512_maskz_loadu_ps(key + 1 < count ? dims : 0, row + args.v_stride));
        _mm512_store_si512(out + g * kStep, _mm512_permutexvar_epi16(order, halves.high));
        _mm512_store_si512(out + kKeyBlock * padded_dim + g * kStep,
                           _mm512_permutexvar_epi16(order, halves.low));
      }
      out += kTileElements;
    }
  }
}

// C [32, 32] = A B in tiles 0 to 3. A: rows of `stride` elements; B: tiles [step] of two columns of
// tiles.
struct Operands {
  const uint16_t* a;
  size_t a_stride;
  size_t a_low;  // from a high half to its low one; elements
  const uint16_t* b[2];
  size_t b_stride;  // from a step's tile to the next; elements
  size_t b_low;
  size_t steps;
};

// The four products of the tiles that are loaded: A in 4 and 5, B in 6 and 7.
template <bool kTwoRowTiles>
void DotAll() {
  amx::DotBf16<0, 4, 6>();
  amx::DotBf16<1, 4, 7>();
  if constexpr (kTwoRowTiles) {
    amx::DotBf16<2, 5, 6>();
    amx::DotBf16<3, 5, 7>();
  }
}

template <bool kTwoRowTiles>
void LoadA(const uint16_t* a, size_t stride) {
  amx::Load<4>(a, stride * sizeof(uint16_t));
  if constexpr (kTwoRowTiles) {
    amx::Load<5>(a + kTileRows * stride, stride * sizeof(uint16_t));
  }
}

template <bool kTwoRowTiles>
void Multiply(const Operands& o, float* cells, size_t cell_stride) {
  amx::Zero<0>();
  amx::Zero<1>();
  if constexpr (kTwoRowTiles) {
    amx::Zero<2>();
    amx::Zero<3>();
  }
  for (size_t i = 0; i < o.steps; ++i) {
    const uint16_t* const a = o.a + i * kStep;
    const uint16_t* const b0 = o.b[0] + i * o.b_stride;
    const uint16_t* const b1 = o.b[1] + i * o.b_stride;
    amx::Load<6>(b0, kRowBytes);
    amx::Load<7>(b1, kRowBytes);
    LoadA<kTwoRowTiles>(a + o.a_low, o.a_stride);
    DotAll<kTwoRowTiles>();
    LoadA<kTwoRowTiles>(a, o.a_stride);
    DotAll<kTwoRowTiles>();
    amx::Load<6>(b0 + o.b_low, kRowBytes);
    amx::Load<7>(b1 + o.b_low, kRowBytes);
    DotAll<kTwoRowTiles>();
  }
  const size_t stride = cell_stride * sizeof(float);
  amx::Store<0>(cells, stride);
  amx::Store<1>(cells + kLanes, stride);
  if constexpr (kTwoRowTiles) {
    amx::Store<2>(cells + kTileRows * cell_stride, stride);
    amx::Store<3>(cells + kTileRows * cell_stride + kLanes, stride);
  }
}

// 2^x; relative error below 1e-7. 0 for -inf.
__m512 Exp2(__m512 x) {
  const __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 p;
  p = _mm512_set1_ps(1.3276472454e-3f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.6755409613e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.5507130921e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.4022120237e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.9314694405e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0000001192f));
  return _mm512_scalef_ps(p, _mm512_sub_ps(x, r));
}

// The keys of a block that a query sees, and the bias of the first of the block, or null.
struct VisibleKeys {
  size_t begin;
  size_t end;
  const float* bias;
};

struct Softmax {
  float largest;
  float sum;
};

// Scores -> weights of one query over `padded` keys of a block, kWhole: all of it. Gives what its
// earlier sums are to be multiplied by.
template <bool kWhole>
float UpdateSoftmax(const float* scores, const VisibleKeys& keys, size_t padded, Softmax& state,
                    uint16_t* weights, size_t weights_low) {
  constexpr size_t kRegisters = kKeyBlock / kLanes;
  __m512 row[kRegisters];
  const size_t registers = kWhole ? kRegisters : padded / kLanes;
  const __m512 none = _mm512_set1_ps(simd::kMinusInfinity);
  __m512 maxima = none;
  const bool plain = keys.begin == 0 && keys.end == padded && keys.bias == nullptr;
#pragma GCC unroll 8
  for (size_t c = 0; c < registers; ++c) {
    row[c] = _mm512_load_ps(scores + c * kLanes);
    if (!plain) {
      const size_t at = c * kLanes;
      const __mmask16 seen =
          FirstLanes(keys.end > at ? keys.end - at : 0) &
          static_cast<__mmask16>(~FirstLanes(keys.begin > at ? keys.begin - at : 0));
      if (keys.bias != nullptr) {
        row[c] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(seen, keys.bias + at),
                                 _mm512_set1_ps(kLog2E), row[c]);
      }
      row[c] = _mm512_mask_mov_ps(none, seen, row[c]);
    }
    maxima = _mm512_max_ps(row[c], maxima);
  }
  const float block_largest = _mm512_reduce_max_ps(maxima);
  const float largest = block_largest > state.largest ? block_largest : state.largest;
  float shrink = 1.0f;
  __m512 shift = _mm512_set1_ps(largest);
  if (largest == simd::kMinusInfinity) {
    shift = _mm512_setzero_ps();  // all weights are 2^-inf
  } else if (largest != state.largest && state.sum > 0.0f) {
    shrink = _mm512_cvtss_f32(Exp2(_mm512_set1_ps(state.largest - largest)));
  }
  __m512 sums = _mm512_setzero_ps();
#pragma GCC unroll 4
  for (size_t c = 0; c < registers; c += 2) {
    const __m512 first = Exp2(_mm512_sub_ps(row[c], shift));
    const __m512 second = Exp2(_mm512_sub_ps(row[c + 1], shift));
    sums = _mm512_add_ps(sums, _mm512_add_ps(first, second));
    const Halves halves = Round(first, second);
    _mm512_store_si512(weights + c * kLanes, halves.high);
    _mm512_store_si512(weights + weights_low + c * kLanes, halves.low);
  }
  state.largest = largest;
  state.sum = state.sum * shrink + _mm512_reduce_add_ps(sums);
  return shrink;
}

amx::TileShapes ShapesOf(size_t rows) {
  const size_t first = rows < kTileRows ? rows : kTileRows;
  const size_t second = rows > kTileRows ? rows - kTileRows : 1;
  amx::TileShapes shapes;
  for (const int tile : {0, 1, 4}) shapes.Set(tile, first);
  for (const int tile : {2, 3, 5}) shapes.Set(tile, second);
  for (const int tile : {6, 7}) shapes.Set(tile, kTileRows);
  return shapes;
}

class Head {
 public:
  explicit Head(const Kernels::AttentionArgs& args)
      : args_(args),
        padded_dim_(RoundUp(args.head_dim, kStep)),
        windowed_(args.window < args.kv_count || args.window < args.q_count),
        buffers_(args.scratch, padded_dim_) {}

  void Run() {
    if (args_.q_count == 0) return;
    size_t configured = args_.q_count < kQueryRows ? args_.q_count : kQueryRows;
    amx::Tiles tiles(ShapesOf(configured));
    for (size_t begin = 0; begin < args_.q_count; begin += kQueryBlock) {
      const size_t end = args_.q_count - begin < kQueryBlock ? args_.q_count : begin + kQueryBlock;
      for (size_t i = begin; i < end; ++i) {
        states_[i - begin] = {simd::kMinusInfinity, 0.0f};
        float* const out = args_.out + i * args_.out_stride;
        for (size_t d = 0; d < args_.head_dim; ++d) out[d] = 0.0f;
      }
      size_t keys = args_.kv_count;
      if (args_.causal && args_.causal_offset + end < keys) keys = args_.causal_offset + end;
      for (size_t first_key = 0; first_key < keys; first_key += kKeyBlock) {
        if (windowed_ && first_key + kKeyBlock + args_.window <= begin) continue;
        if (windowed_ && end + args_.window <= first_key) break;
        const size_t count = keys - first_key < kKeyBlock ? keys - first_key : kKeyBlock;
        PackKeys(args_, first_key, count, padded_dim_, buffers_.keys);
        PackValues(args_, first_key, count, padded_dim_, buffers_.values);
        for (size_t query = begin; query < end; query += kQueryRows) {
          const size_t rows = end - query < kQueryRows ? end - query : kQueryRows;
          if (!Sees(query, rows, first_key, count)) continue;
          if (rows != configured) {
            tiles.Configure(ShapesOf(rows));
            configured = rows;
          }
          if (rows > kTileRows) {
            Attend<true>(query, rows, first_key, count, states_ + (query - begin));
          } else {
            Attend<false>(query, rows, first_key, count, states_ + (query - begin));
          }
        }
      }
      for (size_t i = begin; i < end; ++i) {
        const float sum = states_[i - begin].sum;
        const __m512 scale = _mm512_set1_ps(sum > 0.0f ? 1.0f / sum : 0.0f);
        float* const out = args_.out + i * args_.out_stride;
        for (size_t d = 0; d < args_.head_dim; d += kLanes) {
          const __mmask16 valid = FirstLanes(args_.head_dim - d);
          _mm512_mask_storeu_ps(out + d, valid,
                                _mm512_mul_ps(_mm512_maskz_loadu_ps(valid, out + d), scale));
        }
      }
    }
  }

 private:
  // Whether any of these queries sees any of these keys.
  bool Sees(size_t query, size_t rows, size_t first_key, size_t count) const {
    if (args_.causal && args_.causal_offset + query + rows <= first_key) return false;
    return !windowed_ || (first_key + count + args_.window > query &&
                          query + rows - 1 + args_.window >= first_key);
  }

  VisibleKeys Visible(size_t query, size_t first_key, size_t count) const {
    // `limit`, a key, as one of the block.
    const auto clamp = [&](size_t limit) {
      return limit <= first_key ? 0 : (limit - first_key < count ? limit - first_key : count);
    };
    VisibleKeys keys = {0, count, nullptr};
    if (args_.causal) keys.end = clamp(args_.causal_offset + query + 1);
    if (windowed_) {
      keys.begin = clamp(query > args_.window ? query - args_.window : 0);
      if (!args_.causal) keys.end = clamp(query + args_.window + 1);
    }
    if (args_.bias != nullptr) {
      keys.bias =
          args_.bias + static_cast<std::ptrdiff_t>(first_key) - static_cast<std::ptrdiff_t>(query);
    }
    return keys;
  }

  // A block of keys for `rows` queries.
  template <bool kTwoRowTiles>
  void Attend(size_t query, size_t rows, size_t first_key, size_t count, Softmax* states) {
    const size_t padded = RoundUp(count, kStep);
    const size_t dim_steps = padded_dim_ / kStep;
    PackQueries(args_, query, rows, padded_dim_, buffers_.queries);
    for (size_t j = 0; j < padded; j += kStep) {
      const uint16_t* const tile = buffers_.keys + j / kTileRows * dim_steps * kTileElements;
      Multiply<kTwoRowTiles>({.a = buffers_.queries,
                              .a_stride = padded_dim_,
                              .a_low = kQueryRows * padded_dim_,
                              .b = {tile, tile + dim_steps * kTileElements},
                              .b_stride = kTileElements,
                              .b_low = kKeyBlock * padded_dim_,
                              .steps = dim_steps},
                             buffers_.scores + j, kKeyBlock);
    }
    float shrinks[kQueryRows];
    for (size_t r = 0; r < rows; ++r) {
      const auto update = padded == kKeyBlock ? UpdateSoftmax<true> : UpdateSoftmax<false>;
      shrinks[r] =
          update(buffers_.scores + r * kKeyBlock, Visible(query + r, first_key, count), padded,
                 states[r], buffers_.weights + r * kKeyBlock, kQueryRows * kKeyBlock);
    }
    const size_t value_stride = padded_dim_ / kLanes * kTileElements;
    for (size_t d = 0; d < padded_dim_; d += kStep) {
      const uint16_t* const tile = buffers_.values + d / kLanes * kTileElements;
      Multiply<kTwoRowTiles>({.a = buffers_.weights,
                              .a_stride = kKeyBlock,
                              .a_low = kQueryRows * kKeyBlock,
                              .b = {tile, tile + kTileElements},
                              .b_stride = value_stride,
                              .b_low = kKeyBlock * padded_dim_,
                              .steps = padded / kStep},
                             buffers_.scores, kStep);
      for (size_t r = 0; r < rows; ++r) {
        const __m512 shrink = _mm512_set1_ps(shrinks[r]);
        float* const out = args_.out + (query + r) * args_.out_stride;
        for (size_t c = d; c < d + kStep && c < args_.head_dim; c += kLanes) {
          const __mmask16 valid = FirstLanes(args_.head_dim - c);
          const __m512 sum = _mm512_load_ps(buffers_.scores + r * kStep + (c - d));
          _mm512_mask_storeu_ps(
              out + c, valid, _mm512_fmadd_ps(_mm512_maskz_loadu_ps(valid, out + c), shrink, sum));
        }
      }
    }
  }

  const Kernels::AttentionArgs& args_;
  const size_t padded_dim_;
  const bool windowed_;
  const Buffers buffers_;
  Softmax states_[kQueryBlock];
};

}  // namespace

void AmxAttention(const Kernels::AttentionArgs& args) {
  if (!args.rounded || args.q_count < kFewQueries) return Avx512Kernels().attention(args);
  Head(args).Run();
}

}  // namespace rag
