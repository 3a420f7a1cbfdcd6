// Packed products with AVX-512 VNNI: vpdpbusd multiplies four unsigned columns of 16 rows with four
// signed activations that are broadcast to all of them.
#include <cstring>

#include "lib/kernels/avx512_intrinsics.h"
#include "lib/kernels/packed_layout.h"
#include "lib/kernels/quantized_blocks.h"

namespace rag {
namespace {

constexpr size_t kMaxTokens = 8;   // of one pass over a tile
constexpr size_t kTokenTile = 16;  // of a call: their activations stay in the first-level cache

struct Fetch {
  size_t tiles;  // side by side, at most kMaxTokens of them with one token
  size_t ahead;  // bytes of each that are asked for
};
constexpr Fetch FetchOf(WeightStreams streams) {
  return streams == WeightStreams::kOne ? Fetch{1, 8192} : Fetch{kMaxTokens, 2048};
}

__m512i Low(int mask) { return _mm512_set1_epi8(static_cast<char>(mask)); }
__m512 Halves(const std::byte* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// The unsigned codes of a block, a quad in each of `quads`. Inlined, so that they stay in
// registers.
template <size_t kPlanes>
inline __attribute__((always_inline)) void LoadQuads(NibbleCodes<kPlanes>, const std::byte* p,
                                                     __m512i* quads) {
  using Codes = NibbleCodes<kPlanes>;
#pragma GCC unroll 4
  for (size_t i = 0; i < kQuads / 2; ++i) {
    const __m512i both = _mm512_load_si512(p + (kPlanes + i) * kQuadBytes);
    quads[i] = _mm512_and_si512(both, Low(15));
    quads[i + kQuads / 2] = _mm512_and_si512(_mm512_srli_epi16(both, 4), Low(15));
  }
  if (kPlanes == 0) return;
#pragma GCC unroll 8
  for (size_t i = 0; i < kQuads; ++i) {
    // The plane's bits moved to the fourth and beyond; the others are anything.
    const __m512i plane = _mm512_load_si512(p + Codes::Plane(i) * kQuadBytes);
    const __m512i more = Codes::Bit(i) < 4 ? _mm512_slli_epi16(plane, 4 - Codes::Bit(i))
                                           : _mm512_srli_epi16(plane, Codes::Bit(i) - 4);
    constexpr int kOrAnd = 0xF8;  // a | (b & c)
    quads[i] = _mm512_ternarylogic_epi32(quads[i], more, Low(Codes::kMore), kOrAnd);
  }
}

inline __attribute__((always_inline)) void LoadQuads(ByteCodes, const std::byte* p,
                                                     __m512i* quads) {
#pragma GCC unroll 8
  for (size_t i = 0; i < kQuads; ++i) quads[i] = _mm512_load_si512(p + i * kQuadBytes);
}

// The scales of a tile's rows, behind one header.
template <class F>
__m512 HalfScale(const std::byte* header, size_t block) {
  return Halves(F::Scales::Scale(header, block));
}
template <class F>
__m512 HalfMinimum(const std::byte* header, size_t block) {
  return Halves(F::Scales::Minimum(header, block));
}
template <class F>
__m512 Dmin(const std::byte* header) {
  return Halves(F::Scales::Dmin(header));
}
template <class F>
__m512i WholeScale(const std::byte* header, size_t block, size_t part) {
  const std::byte* const at = F::Scales::Scale(header, block, part);
  return _mm512_cvtepi8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(at)));
}
// Two of 16 bits in each lane: of blocks 2 * pair and 2 * pair + 1.
template <class F>
__m512i Minima(const std::byte* header, size_t pair) {
  const std::byte* const at = F::Scales::Minima(header, pair);
  return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
}

// The values that the codes of IQ4_NL stand for, unsigned.
__m512i Values(__m512i codes) {
  const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(kIq4Unsigned.values));
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), codes);
}

// sums + the products of four unsigned columns with the four activations at `x`. Written so, since
// the compiler broadcasts each four with an instruction of its own.
inline __attribute__((always_inline)) __m512i AddQuad(__m512i sums, __m512i quad, const int8_t* x) {
  struct Four {
    int8_t values[4];
  };
  __asm__("vpdpbusd %2%{1to16%}, %1, %0"
          : "+v"(sums)
          : "v"(quad), "m"(*reinterpret_cast<const Four*>(x)));
  return sums;
}

__m512i Broadcast2(const int16_t* p) {
  int32_t two;
  std::memcpy(&two, p, sizeof(two));
  return _mm512_set1_epi32(two);
}

// What the codes' zero point adds to a product, negated: of a part of a block whose first group of
// 16 activations is `group`.
template <class F>
__m512i ZeroPoint(const Activations8& x, size_t group, size_t part) {
  const int32_t minus = F::Scales::kParts == 1 ? x.minus32[group / 2] : x.minus16[group + part];
  return _mm512_slli_epi32(_mm512_set1_epi32(minus), F::kZeroBits);
}

template <class F>
inline __attribute__((always_inline)) void LoadCodes(const std::byte* codes, __m512i* quads) {
  LoadQuads(typename F::Codes(), codes, quads);
  if (F::kValues) {
#pragma GCC unroll 8
    for (size_t i = 0; i < kQuads; ++i) quads[i] = Values(quads[i]);
  }
}

// The sum of weight times activation, in whole numbers, over a part of a block whose first
// activation is `at`.
template <class F>
inline __attribute__((always_inline)) __m512i DotPart(const __m512i* quads, const Activations8& x,
                                                      size_t at, size_t part) {
  constexpr size_t kOfPart = kQuads / F::Scales::kParts;
  // Two, since each waits for its last; whole numbers can be added in any order.
  __m512i even = _mm512_setzero_si512();
  __m512i odd = F::kMinima ? even : ZeroPoint<F>(x, at / kScaleGroup, part);
#pragma GCC unroll 8
  for (size_t i = part * kOfPart; i < (part + 1) * kOfPart; i += 2) {
    even = AddQuad(even, quads[i], x.values + at + 4 * i);
    odd = AddQuad(odd, quads[i + 1], x.values + at + 4 * i + 4);
  }
  return _mm512_add_epi32(even, odd);
}

// What a tile's rows have summed up for some tokens.
template <size_t kTokens>
struct Sums {
  __m512 sums[kTokens];
  __m512i wholes[kTokens];  // of the group so far, where scales are of 256 columns
};

// Adds the part of kBlocks neighbouring blocks of a group; `at` is the first token's first
// activation of them. As PackedKernels says.
template <class F, size_t kTokens, size_t kBlocks>
inline __attribute__((always_inline)) void AddBlocks(const std::byte* group, size_t first,
                                                     size_t ahead, const Activations8& x, size_t at,
                                                     Sums<kTokens>& sums) {
  const std::byte* const codes = F::CodesOfBlock(group, first);
  // Here and not in a function, calls of which g++ drops, since all it does is to prefetch.
#pragma GCC unroll 16
  for (size_t line = 0; line < kBlocks * F::Codes::kBytes; line += kQuadBytes) {
    _mm_prefetch(codes + ahead + line, _MM_HINT_T0);
  }
  Sums<kTokens> own = sums;
#pragma GCC unroll 2
  for (size_t i = 0; i < kBlocks; ++i) {
    __m512i quads[kQuads];
    LoadCodes<F>(codes + i * F::Codes::kBytes, quads);
    if constexpr (F::Scales::kScaleOf == ScaleOf::k32) {
      const __m512 scale = HalfScale<F>(group, first + i);
      const __m512 minimum = F::kMinima ? HalfMinimum<F>(group, first + i) : _mm512_setzero_ps();
#pragma GCC unroll 8
      for (size_t t = 0; t < kTokens; ++t) {
        const size_t row = at + i * kPackedBlock + t * x.stride;
        const __m512 whole = _mm512_cvtepi32_ps(DotPart<F>(quads, x, row, 0));
        if (F::kMinima) {
          const float sum = x.sums32[row / kPackedBlock];
          own.sums[t] = _mm512_fnmadd_ps(minimum, _mm512_set1_ps(sum), own.sums[t]);
        }
        const __m512 of_x = _mm512_set1_ps(x.scales[row / kPackedBlock]);
        own.sums[t] = _mm512_fmadd_ps(whole, _mm512_mul_ps(scale, of_x), own.sums[t]);
      }
    } else {
#pragma GCC unroll 2
      for (size_t part = 0; part < F::Scales::kParts; ++part) {
        const __m512i scale = WholeScale<F>(group, first + i, part);
#pragma GCC unroll 8
        for (size_t t = 0; t < kTokens; ++t) {
          const __m512i whole = DotPart<F>(quads, x, at + i * kPackedBlock + t * x.stride, part);
          own.wholes[t] = _mm512_add_epi32(own.wholes[t], _mm512_mullo_epi32(whole, scale));
        }
      }
    }
  }
  sums = own;
}

// Adds what a group of scales of 256 has summed up in whole numbers; `at` is the first token's
// first activation of it.
template <class F, size_t kTokens>
inline __attribute__((always_inline)) void EndGroup(const std::byte* group, const Activations8& x,
                                                    size_t at, Sums<kTokens>& sums) {
  if constexpr (F::Scales::kScaleOf == ScaleOf::k256) {
#pragma GCC unroll 8
    for (size_t t = 0; t < kTokens; ++t) {
      const size_t row = at + t * x.stride;
      __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(sums.wholes[t]), Halves(group));
      if (F::kMinima) {
        __m512i minima = _mm512_setzero_si512();
        for (size_t pair = 0; pair < kGroupBlocks / 2; ++pair) {
          minima = _mm512_dpwssd_epi32(minima, Minima<F>(group, pair),
                                       Broadcast2(x.whole32 + row / kPackedBlock + 2 * pair));
        }
        value = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(minima), Dmin<F>(group), value);
      }
      sums.sums[t] =
          _mm512_fmadd_ps(value, _mm512_set1_ps(x.scales[row / kPackedBlock]), sums.sums[t]);
      sums.wholes[t] = _mm512_setzero_si512();
    }
  }
}

// Rows of fetch.tiles neighbouring tiles, at most kMost, two blocks of each in turns. A row's sums
// are made in the same order however many there are; those of a single tile stay in registers.
template <class F, size_t kTokens, size_t kMost>
void DotTiles(const std::byte* tile, Fetch fetch, size_t cols, const Activations8& x, size_t first,
              size_t rows, float* out, size_t out_stride) {
  const size_t tiles = kMost == 1 ? 1 : fetch.tiles;
  const size_t tile_bytes = F::TileBytes(cols);
  const size_t blocks = cols / kPackedBlock;
  Sums<kTokens> sums[kMost];
  for (size_t k = 0; k < tiles; ++k) {
    for (size_t t = 0; t < kTokens; ++t) {
      sums[k].sums[t] = _mm512_setzero_ps();
      sums[k].wholes[t] = _mm512_setzero_si512();
    }
  }
  for (size_t begin = 0; begin < blocks; begin += kGroupBlocks) {
    const std::byte* const group = tile + begin / kGroupBlocks * F::kGroupBytes;
    const size_t count = blocks - begin < kGroupBlocks ? blocks - begin : kGroupBlocks;
    const size_t at = first * x.stride + begin * kPackedBlock;
    // With the codes' all lines of a tile are asked for.
    for (size_t k = 0; k < tiles; ++k) {
#pragma GCC unroll 16
      for (size_t line = 0; line < F::Scales::kBytes; line += kQuadBytes) {
        _mm_prefetch(group + k * tile_bytes + fetch.ahead + line, _MM_HINT_T0);
      }
    }
    size_t block = 0;
    for (; block + 2 <= count; block += 2) {
      for (size_t k = 0; k < tiles; ++k) {
        AddBlocks<F, kTokens, 2>(group + k * tile_bytes, block, fetch.ahead, x,
                                 at + block * kPackedBlock, sums[k]);
      }
    }
    for (size_t k = 0; k < tiles && block < count; ++k) {
      AddBlocks<F, kTokens, 1>(group + k * tile_bytes, block, fetch.ahead, x,
                               at + block * kPackedBlock, sums[k]);
    }
    for (size_t k = 0; k < tiles; ++k) {
      EndGroup<F, kTokens>(group + k * tile_bytes, x, at, sums[k]);
    }
  }
  for (size_t k = 0; k < tiles; ++k) {
    const size_t left = rows - k * kTileRows;
    const auto mask = static_cast<__mmask16>(left < kTileRows ? (1u << left) - 1u : 0xFFFFu);
    for (size_t t = 0; t < kTokens; ++t) {
      _mm512_mask_storeu_ps(out + (first + t) * out_stride + k * kTileRows, mask, sums[k].sums[t]);
    }
  }
}

template <class F, size_t kTokens, WeightStreams kStreams>
void DotTokens(const std::byte* tile, size_t cols, const Activations8& x, size_t first, size_t rows,
               float* out, size_t out_stride) {
  constexpr Fetch kFetch = FetchOf(kStreams);
  constexpr size_t kFitting = kMaxTokens / kTokens;
  constexpr size_t kMost = kFetch.tiles < kFitting ? kFetch.tiles : kFitting;
  const size_t tiles = (rows + kTileRows - 1) / kTileRows;
  for (size_t k = 0; k < tiles; k += kMost) {
    const Fetch fetch = {tiles - k < kMost ? tiles - k : kMost, kFetch.ahead};
    DotTiles<F, kTokens, kMost>(tile + k * F::TileBytes(cols), fetch, cols, x, first,
                                rows - k * kTileRows, out + k * kTileRows, out_stride);
  }
}

template <class F, WeightStreams kStreams>
void Dot(const std::byte* tile, size_t cols, const Activations8& x, size_t tokens, size_t rows,
         float* out, size_t out_stride) {
  size_t t = 0;
  for (; t + kMaxTokens <= tokens; t += kMaxTokens) {
    DotTokens<F, kMaxTokens, kStreams>(tile, cols, x, t, rows, out, out_stride);
  }
  if (t + 4 <= tokens) {
    DotTokens<F, 4, kStreams>(tile, cols, x, t, rows, out, out_stride);
    t += 4;
  }
  if (t + 2 <= tokens) {
    DotTokens<F, 2, kStreams>(tile, cols, x, t, rows, out, out_stride);
    t += 2;
  }
  if (t < tokens) DotTokens<F, 1, kStreams>(tile, cols, x, t, rows, out, out_stride);
}

// The codes of a block as signed bytes.
template <class F>
void LoadSigned(const std::byte* codes, __m512i* quads) {
  LoadCodes<F>(codes, quads);
  for (size_t i = 0; i < kQuads && F::kZero > 0; ++i) {
    quads[i] = _mm512_sub_epi8(quads[i], Low(F::kZero));
  }
}

template <class F>
void UnpackBlocks(const std::byte* tile, size_t first, size_t count, const UnpackedBlocks& out) {
  for (size_t i = 0; i < count; ++i) {
    const size_t block = (first + i) % kGroupBlocks;
    const std::byte* const group = tile + (first + i) / kGroupBlocks * F::kGroupBytes;
    __m512i quads[kQuads];
    LoadSigned<F>(F::CodesOfBlock(group, block), quads);
    for (size_t j = 0; j < kQuads; ++j) {
      _mm512_store_si512(out.codes + (i * kQuads + j) * kQuadBytes, quads[j]);
    }
    _mm512_store_ps(out.scales + i * kTileRows, HalfScale<F>(group, block));
    if (F::kMinima) _mm512_store_ps(out.minima + i * kTileRows, HalfMinimum<F>(group, block));
  }
}

template <class F>
void UnpackGroups(const std::byte* tile, size_t first, size_t count, const UnpackedGroups& out) {
  constexpr size_t kOfPart = kQuads / F::Scales::kParts;
  const __m512i low_bytes = _mm512_set1_epi16(0xff);
  for (size_t i = 0; i < count; ++i) {
    const std::byte* const group = tile + (first + i) * F::kGroupBytes;
    for (size_t block = 0; block < kGroupBlocks; ++block) {
      __m512i quads[kQuads];
      LoadSigned<F>(F::CodesOfBlock(group, block), quads);
      const size_t at = (i * kGroupBlocks + block) * kQuads * kQuadBytes;
      for (size_t j = 0; j < kQuads; ++j) {
        // Times their scale in 16 bits, two columns of a row and the two others; then all columns'
        // low bytes, and their high ones.
        const __m512i one = WholeScale<F>(group, block, j / kOfPart);
        const __m512i scale = _mm512_mask_blend_epi16(0xaaaaaaaa, one, _mm512_slli_epi32(one, 16));
        const __m512i even =
            _mm512_mullo_epi16(_mm512_srai_epi16(_mm512_slli_epi16(quads[j], 8), 8), scale);
        const __m512i odd = _mm512_mullo_epi16(_mm512_srai_epi16(quads[j], 8), scale);
        const __m512i low =
            _mm512_or_si512(_mm512_and_si512(even, low_bytes), _mm512_slli_epi16(odd, 8));
        const __m512i high =
            _mm512_or_si512(_mm512_srli_epi16(even, 8), _mm512_andnot_si512(low_bytes, odd));
        _mm512_store_si512(out.low + at + j * kQuadBytes, low);
        _mm512_store_si512(out.high + at + j * kQuadBytes, high);
      }
    }
    _mm512_store_ps(out.scales + i * kTileRows, Halves(group));
    if (!F::kMinima) continue;
    _mm512_store_ps(out.scales_of_minima + i * kTileRows, Dmin<F>(group));
    for (size_t pair = 0; pair < kGroupBlocks / 2; ++pair) {
      _mm512_store_si512(out.minima + (i * kGroupBlocks / 2 + pair) * 2 * kTileRows,
                         Minima<F>(group, pair));
    }
  }
}

template <class F, WeightStreams kStreams>
constexpr PackedKernels MakeTable() {
  PackedKernels table = {F::Scales::kScaleOf, F::kMinima, kTokenTile,
                         Dot<F, kStreams>,    nullptr,    nullptr};
  if constexpr (F::Scales::kScaleOf == ScaleOf::k32) {
    table.unpack_blocks = UnpackBlocks<F>;
  } else {
    table.unpack_groups = UnpackGroups<F>;
  }
  return table;
}

}  // namespace

const PackedKernels* Avx512PackedKernels(DType type, WeightStreams streams) {
  return VisitPackedFormat(type, [streams]<class F>(F) -> const PackedKernels* {
    static constexpr PackedKernels kOne = MakeTable<F, WeightStreams::kOne>();
    static constexpr PackedKernels kMany = MakeTable<F, WeightStreams::kMany>();
    return streams == WeightStreams::kOne ? &kOne : &kMany;
  });
}

}  // namespace rag
