// Packed products with AVX2: vpmaddubsw multiplies four unsigned columns of eight rows with four
// signed activations that are broadcast to all of them, into pairs of 16 bits.
//
// Codes of 4 bits leave room for the pairs of eight quads in 16 bits (8 * 2 * 15 * 127), those of 5
// for four (4 * 2 * 31 * 127), those of 6 for two (2 * 2 * 63 * 127): a multiplication and an
// addition for 32 products. What widens the sums to 32 bits multiplies them with the scale of their
// columns where that is a whole number. Of values of 8 bits a single pair fits (2 * 128 * 127),
// with the sign moved to the activation.
#include <immintrin.h>

#include <cstring>
#include <type_traits>

#include "lib/kernels/packed_layout.h"
#include "lib/kernels/quantized_blocks.h"

namespace rag {
namespace {

constexpr size_t kHalfRows = 8;           // of a tile, in a register
constexpr size_t kHalfBytes = 32;         // of a quad
constexpr size_t kMostTokens = 4;         // of one pass, and tiles of one token
constexpr size_t kUnpackFromTokens = 16;  // a group is unpacked once for as many
constexpr size_t kTokenTile = 64;         // of a call: so many rows stay in the second-level cache
// As in quantized_avx512.cc.
constexpr size_t kPrefetchBytes = 2048;

__m256i Low(int mask) { return _mm256_set1_epi8(static_cast<char>(mask)); }
__m256i Load32(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
__m128i Load16(const std::byte* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
void Store32(std::byte* p, __m256i a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a); }
__m256i BroadcastFour(const int8_t* x) {
  int32_t four;
  std::memcpy(&four, x, sizeof(four));
  return _mm256_set1_epi32(four);
}
__m256i BroadcastTwo(const int16_t* x) {
  int32_t two;
  std::memcpy(&two, x, sizeof(two));
  return _mm256_set1_epi32(two);
}
__m256 Halves(const std::byte* p) { return _mm256_cvtph_ps(Load16(p)); }

template <class F>
constexpr bool kIsShort = F::Scales::kScaleOf == ScaleOf::k32;

template <class F>
constexpr bool kBytes = std::is_same_v<typename F::Codes, ByteCodes>;
// Of values with 8 bits and a sign.
template <class F>
constexpr bool kSigned = F::kValues || kBytes<F>;
// Quads whose pairs are summed up in 16 bits.
template <class F>
constexpr size_t kRun = kSigned<F> ? 1 : kQuads >> F::Codes::kPlanes;

// Tiles that are multiplied side by side with one token.
template <class F>
constexpr size_t kSideBySide = F::kValues || (F::Codes::kPlanes > 0) ? 1 : 4;

// Four columns of eight rows: codes, or signed values with their magnitudes.
struct Quad {
  __m256i magnitude;
  __m256i value;
};
inline __attribute__((always_inline)) __m256i Multiply(const Quad& quad, __m256i four,
                                                       bool is_signed) {
  return _mm256_maddubs_epi16(quad.magnitude,
                              is_signed ? _mm256_sign_epi8(four, quad.value) : four);
}

// Of a tile's half `side`.
template <class F>
inline __attribute__((always_inline)) Quad LoadQuad(const std::byte* codes, size_t quad,
                                                    size_t side) {
  const std::byte* const at = codes + side * kHalfBytes;
  if constexpr (kBytes<F>) {
    const __m256i value = _mm256_sub_epi8(Load32(at + quad * kQuadBytes), Low(F::kZero));
    return {_mm256_abs_epi8(value), value};
  } else {
    using Codes = typename F::Codes;
    const __m256i both = Load32(at + (Codes::kPlanes + quad % (kQuads / 2)) * kQuadBytes);
    __m256i code = _mm256_and_si256(quad < kQuads / 2 ? both : _mm256_srli_epi16(both, 4), Low(15));
    if constexpr (F::kValues) {
      const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(kIq4Values));
      code = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(values), code);
      return {_mm256_abs_epi8(code), code};
    }
    if constexpr (Codes::kPlanes > 0) {
      const __m256i plane = Load32(at + Codes::Plane(quad) * kQuadBytes);
      const unsigned bit = Codes::Bit(quad);
      const __m256i more = bit < 4 ? _mm256_slli_epi16(plane, static_cast<int>(4 - bit))
                                   : _mm256_srli_epi16(plane, static_cast<int>(bit - 4));
      code = _mm256_or_si256(code, _mm256_and_si256(more, Low(Codes::kMore)));
    }
    return {code, code};
  }
}

// A group read as it lies in its tile: for few tokens.
template <class F>
struct TileGroup {
  const std::byte* group;

  Quad Codes(size_t block, size_t quad, size_t side) const {
    return LoadQuad<F>(F::CodesOfBlock(group, block), quad, side);
  }
  // The scales with the first block. Inlined, since g++ drops calls of what only prefetches.
  inline __attribute__((always_inline)) void Prefetch(size_t block) const {
    if (block == 0) {
#pragma GCC unroll 16
      for (size_t line = 0; line < F::Scales::kBytes; line += 64) {
        _mm_prefetch(group + kPrefetchBytes + line, _MM_HINT_T0);
      }
    }
#pragma GCC unroll 16
    for (size_t line = 0; line < F::Codes::kBytes; line += 64) {
      _mm_prefetch(F::CodesOfBlock(group, block) + kPrefetchBytes + line, _MM_HINT_T0);
    }
  }
  // ScaleOf::k32.
  __m256 Scale(size_t block, size_t side) const {
    return Halves(F::Scales::Scale(group, block) + side * kHalfRows * sizeof(uint16_t));
  }
  __m256 Minimum(size_t block, size_t side) const {
    return Halves(F::Scales::Minimum(group, block) + side * kHalfRows * sizeof(uint16_t));
  }
  // ScaleOf::k256: the scale of each row in both halves of its 32 bits.
  __m256i WholeScale(size_t block, size_t part, size_t side) const {
    const __m128i bytes = _mm_loadl_epi64(
        reinterpret_cast<const __m128i*>(F::Scales::Scale(group, block, part) + side * kHalfRows));
    return _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(bytes, bytes));
  }
  __m256i Minima(size_t pair, size_t side) const {
    return _mm256_cvtepu8_epi16(Load16(F::Scales::Minima(group, pair) + side * 2 * kHalfRows));
  }
};

// A group unpacked once for many tokens.
template <class F>
struct UnpackedGroup {
  struct Short {
    alignas(32) float scales[kGroupBlocks][kTileRows];
    alignas(32) float minima[kGroupBlocks][kTileRows];
  };
  struct Long {
    static constexpr size_t kParts = F::Scales::kParts;
    alignas(32) int16_t scales[kGroupBlocks][kParts][kTileRows][2];
    alignas(32) int16_t minima[kGroupBlocks / 2][kTileRows][2];
  };
  static constexpr size_t kPieces = kSigned<F> ? 2 : 1;  // the magnitudes and the values
  alignas(64) std::byte codes[kGroupBlocks][kQuads][kPieces][kQuadBytes];
  std::conditional_t<kIsShort<F>, Short, Long> header;

  void Unpack(const TileGroup<F>& from, size_t blocks) {
    for (size_t block = 0; block < blocks; ++block) {
      from.Prefetch(block);
#pragma GCC unroll 8
      for (size_t quad = 0; quad < kQuads; ++quad) {
#pragma GCC unroll 2
        for (size_t side = 0; side < 2; ++side) {
          const Quad code = from.Codes(block, quad, side);
          std::byte* const to = codes[block][quad][0] + side * kHalfBytes;
          Store32(to, code.magnitude);
          if (kSigned<F>) Store32(to + kQuadBytes, code.value);
        }
      }
      for (size_t side = 0; side < 2; ++side) {
        const size_t row = side * kHalfRows;
        if constexpr (kIsShort<F>) {
          _mm256_store_ps(header.scales[block] + row, from.Scale(block, side));
          if (F::kMinima) _mm256_store_ps(header.minima[block] + row, from.Minimum(block, side));
        } else {
          for (size_t part = 0; part < F::Scales::kParts; ++part) {
            _mm256_store_si256(reinterpret_cast<__m256i*>(header.scales[block][part][row]),
                               from.WholeScale(block, part, side));
          }
          if (F::kMinima && block % 2 == 0) {
            _mm256_store_si256(reinterpret_cast<__m256i*>(header.minima[block / 2][row]),
                               from.Minima(block / 2, side));
          }
        }
      }
    }
  }

  // Inlined, since g++ would take two types' equal functions for one, and warn of their sizes.
  inline __attribute__((always_inline)) Quad Codes(size_t block, size_t quad, size_t side) const {
    const std::byte* const at = codes[block][quad][0] + side * kHalfBytes;
    return {Load32(at), Load32(at + (kPieces - 1) * kQuadBytes)};
  }
  void Prefetch(size_t) const {}
  inline __attribute__((always_inline)) __m256 Scale(size_t block, size_t side) const {
    return _mm256_load_ps(header.scales[block] + side * kHalfRows);
  }
  inline __attribute__((always_inline)) __m256 Minimum(size_t block, size_t side) const {
    return _mm256_load_ps(header.minima[block] + side * kHalfRows);
  }
  inline __attribute__((always_inline)) __m256i WholeScale(size_t block, size_t part,
                                                           size_t side) const {
    return _mm256_load_si256(
        reinterpret_cast<const __m256i*>(header.scales[block][part][side * kHalfRows]));
  }
  inline __attribute__((always_inline)) __m256i Minima(size_t pair, size_t side) const {
    return _mm256_load_si256(
        reinterpret_cast<const __m256i*>(header.minima[pair][side * kHalfRows]));
  }
};

// What a tile's rows have summed up for some tokens.
template <size_t kTokens>
struct Sums {
  __m256 sums[kTokens][2];
  __m256i wholes[kTokens][2];  // of the group so far, where scales are of 256 columns
};

// The i-th quad that is multiplied: the two that share bytes follow each other.
template <class F>
constexpr size_t QuadAt(size_t i) {
  if (kBytes<F> || F::Codes::kPlanes > 0) return i;
  return i / 2 + i % 2 * (kQuads / 2);
}

// Sums up the products of kRun<F> quads from `first` of a block of each tile with the activations
// at `at`, times `scales` (pairs of 16 bits for each half): add(tile, t, side, sum) gets those of
// each token and half. The tiles take turns quad by quad.
template <class F, size_t kTokens, size_t kTiles, class Group, class Add>
inline __attribute__((always_inline)) void SumRun(const Group (&groups)[kTiles], size_t block,
                                                  size_t first, const Activations8& x, size_t at,
                                                  const __m256i (&scales)[kTiles][2],
                                                  const Add& add) {
  __m256i pairs[kTiles][kTokens][2];
#pragma GCC unroll 8
  for (size_t i = 0; i < kRun<F>; ++i) {
    const size_t quad = QuadAt<F>(first + i);
#pragma GCC unroll 4
    for (size_t k = 0; k < kTiles; ++k) {
      const Quad quads[2] = {groups[k].Codes(block, quad, 0), groups[k].Codes(block, quad, 1)};
#pragma GCC unroll 4
      for (size_t t = 0; t < kTokens; ++t) {
        const __m256i four = BroadcastFour(x.values + at + t * x.stride + 4 * quad);
#pragma GCC unroll 2
        for (size_t side = 0; side < 2; ++side) {
          const __m256i products = Multiply(quads[side], four, kSigned<F>);
          __m256i& sum = pairs[k][t][side];
          sum = i == 0 ? products : _mm256_add_epi16(sum, products);
          // Keeps g++ from adding in another order, for which it stores all products first.
          __asm__("" : "+x"(sum));
        }
      }
    }
  }
#pragma GCC unroll 4
  for (size_t k = 0; k < kTiles; ++k) {
#pragma GCC unroll 4
    for (size_t t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (size_t side = 0; side < 2; ++side) {
        add(k, t, side, _mm256_madd_epi16(pairs[k][t][side], scales[k][side]));
      }
    }
  }
}

// As the order of additions that g++ is kept from choosing above.
inline __attribute__((always_inline)) void AddWhole(__m256i& sum, __m256i more) {
  sum = _mm256_add_epi32(sum, more);
  __asm__("" : "+x"(sum));
}

// Adds a block of a group of each tile; `at` is the first token's first activation of it. As
// PackedKernels says.
template <class F, size_t kTokens, size_t kTiles, class Group>
inline __attribute__((always_inline)) void AddBlock(const Group (&groups)[kTiles], size_t block,
                                                    const Activations8& x, size_t at,
                                                    Sums<kTokens> (&sums)[kTiles]) {
  constexpr size_t kRuns = kQuads / kRun<F>;
  constexpr size_t kParts = F::Scales::kParts;
  // What a zero point adds to unsigned codes is taken off again.
  constexpr bool kZeroPoint = !F::kMinima && !kSigned<F>;
  if constexpr (kIsShort<F>) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i scales[kTiles][2];
#pragma GCC unroll 4
    for (size_t k = 0; k < kTiles; ++k) scales[k][0] = scales[k][1] = ones;
    __m256i wholes[kTiles][kTokens][2];
#pragma GCC unroll 8
    for (size_t run = 0; run < kRuns; ++run) {
      const auto add = [&](size_t k, size_t t, size_t side, __m256i sum)
          __attribute__((always_inline)) {
        if (run > 0) return AddWhole(wholes[k][t][side], sum);
        wholes[k][t][side] = sum;
        if (!kZeroPoint) return;
        const __m256i minus = _mm256_set1_epi32(x.minus32[(at + t * x.stride) / kPackedBlock]);
        AddWhole(wholes[k][t][side], _mm256_slli_epi32(minus, F::kZeroBits));
      };
      SumRun<F, kTokens>(groups, block, run * kRun<F>, x, at, scales, add);
    }
#pragma GCC unroll 4
    for (size_t k = 0; k < kTiles; ++k) {
#pragma GCC unroll 2
      for (size_t side = 0; side < 2; ++side) {
        const __m256 factors = groups[k].Scale(block, side);
        const __m256 minimum = F::kMinima ? groups[k].Minimum(block, side) : _mm256_setzero_ps();
#pragma GCC unroll 4
        for (size_t t = 0; t < kTokens; ++t) {
          __m256& sum = sums[k].sums[t][side];
          const size_t row = (at + t * x.stride) / kPackedBlock;
          if (F::kMinima) sum = _mm256_fnmadd_ps(minimum, _mm256_set1_ps(x.sums32[row]), sum);
          const __m256 factor = _mm256_mul_ps(factors, _mm256_set1_ps(x.scales[row]));
          sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(wholes[k][t][side]), factor, sum);
        }
      }
    }
  } else {
    constexpr size_t kRunsOfPart = kRuns / kParts;
#pragma GCC unroll 2
    for (size_t part = 0; part < kParts; ++part) {
      __m256i scales[kTiles][2];
#pragma GCC unroll 4
      for (size_t k = 0; k < kTiles; ++k) {
        scales[k][0] = groups[k].WholeScale(block, part, 0);
        scales[k][1] = groups[k].WholeScale(block, part, 1);
      }
      const auto add = [&](size_t k, size_t t, size_t side, __m256i sum)
          __attribute__((always_inline)) {
        AddWhole(sums[k].wholes[t][side], sum);
      };
#pragma GCC unroll 8
      for (size_t run = part * kRunsOfPart; run < (part + 1) * kRunsOfPart; ++run) {
        SumRun<F, kTokens>(groups, block, run * kRun<F>, x, at, scales, add);
      }
      if constexpr (kZeroPoint) {
#pragma GCC unroll 4
        for (size_t k = 0; k < kTiles; ++k) {
#pragma GCC unroll 2
          for (size_t side = 0; side < 2; ++side) {
            // Both factors fit in 16 bits.
            const __m256i zero = _mm256_and_si256(_mm256_slli_epi16(scales[k][side], F::kZeroBits),
                                                  _mm256_set1_epi32(0xffff));
#pragma GCC unroll 4
            for (size_t t = 0; t < kTokens; ++t) {
              const size_t row = at + t * x.stride;
              const int32_t minus =
                  kParts == 1 ? x.minus32[row / kPackedBlock] : x.minus16[row / kScaleGroup + part];
              __m256i& sum = sums[k].wholes[t][side];
              sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_set1_epi32(minus), zero));
            }
          }
        }
      }
    }
  }
}

// Adds what a group of scales of 256 has summed up in whole numbers; `at` is the first token's
// first activation of it.
template <class F, size_t kTokens, class Group>
inline __attribute__((always_inline)) void EndGroup(const std::byte* header, const Group& group,
                                                    const Activations8& x, size_t at,
                                                    Sums<kTokens>& sums) {
#pragma GCC unroll 2
  for (size_t side = 0; side < 2; ++side) {
    const size_t offset = side * kHalfRows * sizeof(uint16_t);
    const __m256 d = Halves(header + offset);
#pragma GCC unroll 4
    for (size_t t = 0; t < kTokens; ++t) {
      const size_t row = (at + t * x.stride) / kPackedBlock;
      __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(sums.wholes[t][side]), d);
      if constexpr (F::kMinima) {
        __m256i minima = _mm256_setzero_si256();
#pragma GCC unroll 4
        for (size_t pair = 0; pair < kGroupBlocks / 2; ++pair) {
          const __m256i two = BroadcastTwo(x.whole32 + row + 2 * pair);
          minima = _mm256_add_epi32(minima, _mm256_madd_epi16(group.Minima(pair, side), two));
        }
        value = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(minima),
                                 Halves(F::Scales::Dmin(header) + offset), value);
      }
      __m256& sum = sums.sums[t][side];
      sum = _mm256_fmadd_ps(value, _mm256_set1_ps(x.scales[row]), sum);
      sums.wholes[t][side] = _mm256_setzero_si256();
    }
  }
}

// Adds the products of a group of each tile with kTokens tokens; sums.wholes is zero before and
// after. headers[k] is where the group of the k-th tile begins.
template <class F, size_t kTokens, size_t kTiles, class Group>
inline __attribute__((always_inline)) void AddGroup(const std::byte* const (&headers)[kTiles],
                                                    const Group (&groups)[kTiles], size_t blocks,
                                                    const Activations8& x, size_t at,
                                                    Sums<kTokens> (&sums)[kTiles]) {
  Sums<kTokens> own[kTiles];
#pragma GCC unroll 4
  for (size_t k = 0; k < kTiles; ++k) own[k] = sums[k];
  for (size_t block = 0; block < blocks; ++block) {
    if (kTiles == 1) groups[0].Prefetch(block);
    AddBlock<F, kTokens>(groups, block, x, at + block * kPackedBlock, own);
  }
#pragma GCC unroll 4
  for (size_t k = 0; k < kTiles; ++k) {
    if constexpr (!kIsShort<F>) EndGroup<F, kTokens>(headers[k], groups[k], x, at, own[k]);
    sums[k] = own[k];
  }
}

template <size_t kTokens>
void Clear(Sums<kTokens>& sums) {
  for (size_t t = 0; t < kTokens; ++t) {
    sums.sums[t][0] = sums.sums[t][1] = _mm256_setzero_ps();
    sums.wholes[t][0] = sums.wholes[t][1] = _mm256_setzero_si256();
  }
}

// The first n of eight lanes.
__m256i First(size_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// Few tokens: the sums of kTiles neighbouring tiles stay in registers. Each tile is a stream of
// memory of its own, and four are fetched ahead faster than one is, also with prefetches.
template <class F, size_t kTokens, size_t kTiles>
void DotFew(const std::byte* tile, size_t cols, const Activations8& x, size_t first, size_t rows,
            float* out, size_t out_stride) {
  const size_t blocks = cols / kPackedBlock;
  Sums<kTokens> sums[kTiles];
  for (Sums<kTokens>& of_tile : sums) Clear(of_tile);
  for (size_t begin = 0; begin < blocks; begin += kGroupBlocks) {
    const std::byte* headers[kTiles];
    TileGroup<F> groups[kTiles];
    for (size_t k = 0; k < kTiles; ++k) {
      headers[k] = tile + k * F::TileBytes(cols) + begin / kGroupBlocks * F::kGroupBytes;
      groups[k] = {headers[k]};
    }
    const size_t count = blocks - begin < kGroupBlocks ? blocks - begin : kGroupBlocks;
    AddGroup<F, kTokens>(headers, groups, count, x, first * x.stride + begin * kPackedBlock, sums);
  }
  for (size_t row = 0; row < rows && row < kTiles * kTileRows; row += kHalfRows) {
    const __m256i mask = First(rows - row);
    for (size_t t = 0; t < kTokens; ++t) {
      _mm256_maskstore_ps(out + (first + t) * out_stride + row, mask,
                          sums[row / kTileRows].sums[t][row / kHalfRows % 2]);
    }
  }
}

// As many tiles side by side as leave their sums in registers.
template <class F, size_t kTokens>
void DotTokens(const std::byte* tile, size_t cols, const Activations8& x, size_t first, size_t rows,
               float* out, size_t out_stride) {
  constexpr size_t kTiles = kTokens == 1 ? kSideBySide<F> : 1;
  size_t row = 0;
  for (; row + (kTiles - 1) * kTileRows < rows; row += kTiles * kTileRows) {
    DotFew<F, kTokens, kTiles>(tile + row / kTileRows * F::TileBytes(cols), cols, x, first,
                               rows - row, out + row, out_stride);
  }
  for (; row < rows; row += kTileRows) {
    DotFew<F, kTokens, 1>(tile + row / kTileRows * F::TileBytes(cols), cols, x, first, rows - row,
                          out + row, out_stride);
  }
}

// Many tokens: a group is unpacked once for all of them, whose sums wait in memory.
template <class F>
void DotMany(const std::byte* tile, size_t cols, const Activations8& x, size_t tokens, size_t rows,
             float* out, size_t out_stride) {
  alignas(32) float waiting[kTokenTile][kTileRows];
  for (size_t t = 0; t < tokens; ++t) std::memset(waiting[t], 0, sizeof(waiting[t]));
  UnpackedGroup<F> unpacked[1];
  const size_t blocks = cols / kPackedBlock;
  for (size_t begin = 0; begin < blocks; begin += kGroupBlocks) {
    const std::byte* const group = tile + begin / kGroupBlocks * F::kGroupBytes;
    const size_t count = blocks - begin < kGroupBlocks ? blocks - begin : kGroupBlocks;
    unpacked[0].Unpack(TileGroup<F>{group}, count);
    const auto add = [&]<size_t kTokens>(std::integral_constant<size_t, kTokens>, size_t t) {
      Sums<kTokens> sums[1];
      Clear(sums[0]);
      for (size_t i = 0; i < kTokens; ++i) {
        sums[0].sums[i][0] = _mm256_load_ps(waiting[t + i]);
        sums[0].sums[i][1] = _mm256_load_ps(waiting[t + i] + kHalfRows);
      }
      AddGroup<F, kTokens>({group}, unpacked, count, x, t * x.stride + begin * kPackedBlock, sums);
      for (size_t i = 0; i < kTokens; ++i) {
        _mm256_store_ps(waiting[t + i], sums[0].sums[i][0]);
        _mm256_store_ps(waiting[t + i] + kHalfRows, sums[0].sums[i][1]);
      }
    };
    size_t t = 0;
    for (; t + kMostTokens <= tokens; t += kMostTokens) {
      add(std::integral_constant<size_t, kMostTokens>(), t);
    }
    for (; t < tokens; ++t) add(std::integral_constant<size_t, 1>(), t);
  }
  for (size_t t = 0; t < tokens; ++t) {
    std::memcpy(out + t * out_stride, waiting[t], rows * sizeof(float));
  }
}

template <class F>
void Dot(const std::byte* tile, size_t cols, const Activations8& x, size_t tokens, size_t rows,
         float* out, size_t out_stride) {
  if (tokens >= kUnpackFromTokens) {
    for (size_t row = 0; row < rows; row += kTileRows) {
      const size_t count = rows - row < kTileRows ? rows - row : kTileRows;
      DotMany<F>(tile, cols, x, tokens, count, out + row, out_stride);
      tile += F::TileBytes(cols);
    }
    return;
  }
  size_t t = 0;
  for (; t + kMostTokens <= tokens; t += kMostTokens) {
    DotTokens<F, kMostTokens>(tile, cols, x, t, rows, out, out_stride);
  }
  for (; t + 2 <= tokens; t += 2) DotTokens<F, 2>(tile, cols, x, t, rows, out, out_stride);
  if (t < tokens) DotTokens<F, 1>(tile, cols, x, t, rows, out, out_stride);
}

}  // namespace

const PackedKernels* Avx2PackedKernels(DType type) {
  return VisitPackedFormat(type, []<class F>(F) -> const PackedKernels* {
    static constexpr PackedKernels kTable = {
        F::Scales::kScaleOf, F::kMinima, kTokenTile, Dot<F>, nullptr, nullptr};
    return &kTable;
  });
}

}  // namespace rag
