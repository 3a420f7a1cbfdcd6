// Packed products with AVX-512 VNNI: vpdpbusd multiplies four unsigned columns of 16 rows with four
// signed activations that are broadcast to all of them.
#include <cstring>

#include "lib/kernels/avx512_intrinsics.h"
#include "lib/kernels/packed_tables.h"
#include "lib/kernels/quantized_blocks.h"

namespace rag {
namespace {

constexpr size_t kBlock = 32;       // columns whose codes stand together
constexpr size_t kQuads = 8;        // groups of four columns in them
constexpr size_t kVector = 64;      // bytes
constexpr size_t kGroupBlocks = 8;  // blocks behind one header of scales
constexpr size_t kMaxTokens = 8;    // of one pass over a tile
// As in quantized_avx512.cc.
constexpr size_t kPrefetchBytes = 2048;

__m512i Low(int mask) { return _mm512_set1_epi8(static_cast<char>(mask)); }
__m512 Halves(const std::byte* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// --- codes: what stands for a weight, unsigned ---

// Four bits, two groups of columns to a vector, and kPlanes more of each in front of them: a byte
// of a vector of those holds the bits of its place in 8 / kPlanes groups of columns.
template <size_t kPlanes>
struct Nibbles {
  static constexpr size_t kBytes = kPlanes * kVector + kQuads / 2 * kVector;
  static constexpr unsigned kMore = ((1u << kPlanes) - 1) << 4;

  static void Load(const std::byte* p, __m512i* quads) {
    for (size_t i = 0; i < kQuads / 2; ++i) {
      const __m512i both = _mm512_load_si512(p + (kPlanes + i) * kVector);
      quads[i] = _mm512_and_si512(both, Low(15));
      quads[i + kQuads / 2] = _mm512_and_si512(_mm512_srli_epi16(both, 4), Low(15));
    }
    if (kPlanes == 0) return;
    for (size_t i = 0; i < kQuads; ++i) {
      const __m512i more = ToNibbles(_mm512_load_si512(p + Plane(i) * kVector), i);
      constexpr int kOrAnd = 0xF8;  // a | (b & c)
      quads[i] = _mm512_ternarylogic_epi32(quads[i], more, Low(kMore), kOrAnd);
    }
  }
  static void Store(const __m512i* quads, std::byte* p) {
    for (size_t i = 0; i < kQuads / 2; ++i) {
      const __m512i low = _mm512_and_si512(quads[i], Low(15));
      const __m512i high = _mm512_and_si512(quads[i + kQuads / 2], Low(15));
      _mm512_store_si512(p + (kPlanes + i) * kVector,
                         _mm512_or_si512(low, _mm512_slli_epi16(high, 4)));
    }
    for (size_t plane = 0; plane < kPlanes; ++plane) {
      __m512i bits = _mm512_setzero_si512();
      for (size_t i = 0; i < kQuads; ++i) {
        if (Plane(i) != plane) continue;
        const __m512i more = _mm512_and_si512(quads[i], Low(kMore));
        bits = _mm512_or_si512(bits, _mm512_slli_epi16(_mm512_srli_epi16(more, 4), Bit(i)));
      }
      _mm512_store_si512(p + plane * kVector, bits);
    }
  }

 private:
  // Where a group's bits lie: the vector, and the first one's place in its bytes.
  static constexpr size_t Plane(size_t quad) { return quad * kPlanes / kQuads; }
  static constexpr unsigned Bit(size_t quad) {
    return static_cast<unsigned>(quad * kPlanes % kQuads);
  }
  // Moves them to the bits from the fourth on; the others are anything.
  static __m512i ToNibbles(__m512i bits, size_t quad) {
    return Bit(quad) < 4 ? _mm512_slli_epi16(bits, 4 - Bit(quad))
                         : _mm512_srli_epi16(bits, Bit(quad) - 4);
  }
};

struct Bytes {
  static constexpr size_t kBytes = kQuads * kVector;

  static void Load(const std::byte* p, __m512i* quads) {
    for (size_t i = 0; i < kQuads; ++i) quads[i] = _mm512_load_si512(p + i * kVector);
  }
  static void Store(const __m512i* quads, std::byte* p) {
    for (size_t i = 0; i < kQuads; ++i) _mm512_store_si512(p + i * kVector, quads[i]);
  }
};

// --- scales: weight = scale * code - offset; they stand in front of a group's codes ---

void PutHalf(float value, std::byte* to) {
  const uint16_t bits = _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT);
  std::memcpy(to, &bits, sizeof(bits));
}

constexpr size_t kHalves = kTileRows * sizeof(uint16_t);

// One scale in half precision for 32 columns, and one minimum where kMinima.
template <bool kMinima>
struct HalfScales {
  static constexpr ScaleOf kScaleOf = ScaleOf::k32;
  static constexpr size_t kParts = 1;  // of a block that have a scale of their own
  static constexpr size_t kEach = (kMinima ? 2 : 1) * kHalves;
  static constexpr size_t kBytes = kGroupBlocks * kEach;

  explicit HalfScales(const std::byte* header) : header(header) {}
  __m512 Scale(size_t block) const { return Halves(header + block * kEach); }
  __m512 Minimum(size_t block) const { return Halves(header + block * kEach + kHalves); }
  static void Store(const DecodedBlock& decoded, size_t row, size_t block, std::byte* header) {
    std::byte* const at = header + block * kEach + row * sizeof(uint16_t);
    PutHalf(decoded.scale[0], at);
    if (kMinima) PutHalf(decoded.offset[0], at + kHalves);
  }

  const std::byte* header;
};

// d for the group and a signed byte of it for each of its kScales parts; with kMinima dmin and
// unsigned bytes likewise, those of two blocks side by side.
template <size_t kScales, bool kMinima>
struct ByteScales {
  static constexpr ScaleOf kScaleOf = ScaleOf::k256;
  static constexpr size_t kParts = kScales / kGroupBlocks;
  static constexpr size_t kFactors = (kMinima ? 2 : 1) * kHalves;
  static constexpr size_t kBytes =
      (kFactors + (kMinima ? 2 : 1) * kScales * kTileRows + kVector - 1) / kVector * kVector;

  explicit ByteScales(const std::byte* header) : header(header) {}
  __m512 d() const { return Halves(header); }
  __m512 dmin() const { return Halves(header + kHalves); }
  __m512i Scale(size_t block, size_t part) const {
    const std::byte* const at = header + kFactors + (block * kParts + part) * kTileRows;
    return _mm512_cvtepi8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(at)));
  }
  // Two of 16 bits in each lane: of blocks 2 * pair and 2 * pair + 1.
  __m512i Minima(size_t pair) const {
    const std::byte* const at = header + kFactors + (kScales + 2 * pair) * kTileRows;
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
  }
  static void Store(const DecodedBlock& decoded, size_t row, size_t, std::byte* header) {
    PutHalf(decoded.d, header + row * sizeof(uint16_t));
    if (kMinima) PutHalf(decoded.dmin, header + kHalves + row * sizeof(uint16_t));
    constexpr size_t kStep = kMaxBlockElements / kScaleGroup / kScales;
    for (size_t i = 0; i < kScales; ++i) {
      std::byte* const scales = header + kFactors;
      scales[i * kTileRows + row] = static_cast<std::byte>(decoded.subscale[i * kStep]);
      if (!kMinima) continue;
      std::byte* const pair = scales + (kScales + i / 2 * 2) * kTileRows;
      pair[2 * row + i % 2] = static_cast<std::byte>(decoded.subminimum[i * kStep]);
    }
  }

  const std::byte* header;
};

// --- formats ---

// 2^kZeroBits is added to a weight's whole number to make it unsigned, nothing where kMinima.
// kValues: the codes stand for the values of IQ4_NL, made unsigned already.
template <DType kType, class CodesOf, class ScalesOf, bool kMinimaOf, unsigned kZeroBitsOf,
          bool kValuesOf = false>
struct Format {
  using Codes = CodesOf;
  using Scales = ScalesOf;
  static constexpr DType kDType = kType;
  static constexpr bool kMinima = kMinimaOf;
  static constexpr unsigned kZeroBits = kZeroBitsOf;
  static constexpr int kZero = kMinima ? 0 : 1 << kZeroBits;
  static constexpr bool kValues = kValuesOf;
};

using PackedQ4_0 = Format<DType::kQ4_0, Nibbles<0>, HalfScales<false>, false, 3>;
using PackedQ4_1 = Format<DType::kQ4_1, Nibbles<0>, HalfScales<true>, true, 0>;
using PackedQ5_0 = Format<DType::kQ5_0, Nibbles<1>, HalfScales<false>, false, 4>;
using PackedQ5_1 = Format<DType::kQ5_1, Nibbles<1>, HalfScales<true>, true, 0>;
using PackedQ8_0 = Format<DType::kQ8_0, Bytes, HalfScales<false>, false, 7>;
using PackedQ4_K = Format<DType::kQ4_K, Nibbles<0>, ByteScales<8, true>, true, 0>;
using PackedQ5_K = Format<DType::kQ5_K, Nibbles<1>, ByteScales<8, true>, true, 0>;
using PackedQ6_K = Format<DType::kQ6_K, Nibbles<2>, ByteScales<16, false>, false, 5>;
using PackedIQ4_NL = Format<DType::kIQ4_NL, Nibbles<0>, HalfScales<false>, false, 7, true>;
using PackedIQ4_XS = Format<DType::kIQ4_XS, Nibbles<0>, ByteScales<8, false>, false, 7, true>;

// The values that the codes of IQ4_NL stand for, unsigned.
__m512i Values(__m512i codes) {
  const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(kIq4Unsigned.values));
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), codes);
}

template <class F>
constexpr size_t GroupBytes() {
  return F::Scales::kBytes + kGroupBlocks * F::Codes::kBytes;
}

// The last group may have fewer blocks, behind a header of full length.
template <class F>
size_t TileBytes(size_t cols) {
  const size_t blocks = cols / kBlock;
  const size_t groups = (blocks + kGroupBlocks - 1) / kGroupBlocks;
  return groups * F::Scales::kBytes + blocks * F::Codes::kBytes;
}

// The unsigned codes of a block, [block_size].
template <class F>
void TakeCodes(const std::byte* block, const DecodedBlock& decoded, uint8_t* codes) {
  constexpr bool kLong = F::Scales::kScaleOf == ScaleOf::k256;
  if constexpr (F::kValues) {
    // Which of the values, not the value: behind the scales, 16 bytes for 32 columns.
    const std::byte* const nibbles = block + (kLong ? 8 : 2);
    for (size_t i = 0; i < (kLong ? kGroupBlocks : 1); ++i) {
      for (size_t j = 0; j < 16; ++j) {
        const auto byte = static_cast<uint8_t>(nibbles[i * 16 + j]);
        codes[i * kBlock + j] = byte & 15;
        codes[i * kBlock + j + 16] = byte >> 4;
      }
    }
  } else {
    for (size_t i = 0; i < (kLong ? kMaxBlockElements : kBlock); ++i) {
      codes[i] = static_cast<uint8_t>(decoded.q[i] + F::kZero);
    }
  }
}

// Lane i of v[j] becomes lane j of v[i].
void Transpose(__m512i v[16]) {
  __m512i t[16];
  for (size_t i = 0; i < 16; i += 4) {
    const __m512i low = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    const __m512i high = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    const __m512i low2 = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]);
    const __m512i high2 = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);
    t[i] = _mm512_unpacklo_epi64(low, low2);
    t[i + 1] = _mm512_unpackhi_epi64(low, low2);
    t[i + 2] = _mm512_unpacklo_epi64(high, high2);
    t[i + 3] = _mm512_unpackhi_epi64(high, high2);
  }
  // Quarter q of t[4 * r + j] holds lane 4 * q + j of v[4 * r] to v[4 * r + 3].
  for (size_t j = 0; j < 4; ++j) {
    const __m512i even = _mm512_shuffle_i32x4(t[j], t[j + 4], 0x88);
    const __m512i odd = _mm512_shuffle_i32x4(t[j], t[j + 4], 0xdd);
    const __m512i even2 = _mm512_shuffle_i32x4(t[j + 8], t[j + 12], 0x88);
    const __m512i odd2 = _mm512_shuffle_i32x4(t[j + 8], t[j + 12], 0xdd);
    v[j] = _mm512_shuffle_i32x4(even, even2, 0x88);
    v[j + 8] = _mm512_shuffle_i32x4(even, even2, 0xdd);
    v[j + 4] = _mm512_shuffle_i32x4(odd, odd2, 0x88);
    v[j + 12] = _mm512_shuffle_i32x4(odd, odd2, 0xdd);
  }
}

template <class F>
void Pack(const std::byte* const rows[kTileRows], size_t cols, std::byte* tile) {
  const DTypeInfo& info = GetDTypeInfo(F::kDType);
  // Rows that there are not stay of scale zero.
  alignas(64) uint8_t codes[kTileRows][kMaxBlockElements] = {};
  for (size_t begin = 0; begin < cols; begin += info.block_size) {
    const size_t first = begin / kBlock % kGroupBlocks;  // of the group's blocks
    std::byte* const header = tile + begin / kBlock / kGroupBlocks * GroupBytes<F>();
    for (size_t row = 0; row < kTileRows; ++row) {
      DecodedBlock decoded;
      if (rows[row] != nullptr) {
        const std::byte* const block = rows[row] + begin / info.block_size * info.block_bytes;
        DecodeBlock(F::kDType, block, decoded);
        TakeCodes<F>(block, decoded, codes[row]);
      } else {
        std::memset(&decoded, 0, sizeof(decoded));
      }
      F::Scales::Store(decoded, row, first, header);
    }
    // Two blocks' columns fill a register.
    const size_t blocks = info.block_size / kBlock;
    for (size_t block = 0; block < blocks; block += 2) {
      __m512i quads[2 * kQuads];
      for (size_t row = 0; row < kTileRows; ++row) {
        quads[row] = _mm512_load_si512(codes[row] + block * kBlock);
      }
      Transpose(quads);
      for (size_t i = block; i < blocks && i < block + 2; ++i) {
        F::Codes::Store(quads + (i - block) * kQuads,
                        header + F::Scales::kBytes + (first + i) * F::Codes::kBytes);
      }
    }
  }
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
  F::Codes::Load(codes, quads);
  if (F::kValues) {
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

template <class F>
const std::byte* CodesOf(const std::byte* group, size_t block) {
  return group + F::Scales::kBytes + block * F::Codes::kBytes;
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
                                                     const Activations8& x, size_t at,
                                                     Sums<kTokens>& sums) {
  const typename F::Scales scales(group);
  const std::byte* const codes = CodesOf<F>(group, first);
  // Here and not in a function, calls of which g++ drops, since all it does is to prefetch.
#pragma GCC unroll 16
  for (size_t line = 0; line < kBlocks * F::Codes::kBytes; line += kVector) {
    _mm_prefetch(codes + kPrefetchBytes + line, _MM_HINT_T0);
  }
  Sums<kTokens> own = sums;
#pragma GCC unroll 2
  for (size_t i = 0; i < kBlocks; ++i) {
    __m512i quads[kQuads];
    LoadCodes<F>(codes + i * F::Codes::kBytes, quads);
    if constexpr (F::Scales::kScaleOf == ScaleOf::k32) {
      const __m512 scale = scales.Scale(first + i);
      const __m512 minimum = F::kMinima ? scales.Minimum(first + i) : _mm512_setzero_ps();
#pragma GCC unroll 8
      for (size_t t = 0; t < kTokens; ++t) {
        const size_t row = at + i * kBlock + t * x.stride;
        const __m512 whole = _mm512_cvtepi32_ps(DotPart<F>(quads, x, row, 0));
        if (F::kMinima) {
          const float sum = x.sums32[row / kBlock];
          own.sums[t] = _mm512_fnmadd_ps(minimum, _mm512_set1_ps(sum), own.sums[t]);
        }
        const __m512 of_x = _mm512_set1_ps(x.scales[row / kBlock]);
        own.sums[t] = _mm512_fmadd_ps(whole, _mm512_mul_ps(scale, of_x), own.sums[t]);
      }
    } else {
#pragma GCC unroll 2
      for (size_t part = 0; part < F::Scales::kParts; ++part) {
        const __m512i scale = scales.Scale(first + i, part);
#pragma GCC unroll 8
        for (size_t t = 0; t < kTokens; ++t) {
          const __m512i whole = DotPart<F>(quads, x, at + i * kBlock + t * x.stride, part);
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
    const typename F::Scales scales(group);
#pragma GCC unroll 8
    for (size_t t = 0; t < kTokens; ++t) {
      const size_t row = at + t * x.stride;
      __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(sums.wholes[t]), scales.d());
      if (F::kMinima) {
        __m512i minima = _mm512_setzero_si512();
        for (size_t pair = 0; pair < kGroupBlocks / 2; ++pair) {
          minima = _mm512_dpwssd_epi32(minima, scales.Minima(pair),
                                       Broadcast2(x.whole32 + row / kBlock + 2 * pair));
        }
        value = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(minima), scales.dmin(), value);
      }
      sums.sums[t] = _mm512_fmadd_ps(value, _mm512_set1_ps(x.scales[row / kBlock]), sums.sums[t]);
      sums.wholes[t] = _mm512_setzero_si512();
    }
  }
}

// Rows of `tiles` neighbouring tiles, at most kMaxTokens / kTokens, two blocks of each in turns: a
// tile is a stream of memory of its own, and a processor fetches several ahead faster than one. A
// row's sums are made in the same order however many there are.
template <class F, size_t kTokens>
void DotTiles(const std::byte* tile, size_t tiles, size_t cols, const Activations8& x, size_t first,
              size_t rows, float* out, size_t out_stride) {
  const size_t tile_bytes = TileBytes<F>(cols);
  const size_t blocks = cols / kBlock;
  Sums<kTokens> sums[kMaxTokens / kTokens];
  for (size_t k = 0; k < tiles; ++k) {
    for (size_t t = 0; t < kTokens; ++t) {
      sums[k].sums[t] = _mm512_setzero_ps();
      sums[k].wholes[t] = _mm512_setzero_si512();
    }
  }
  for (size_t begin = 0; begin < blocks; begin += kGroupBlocks) {
    const std::byte* const group = tile + begin / kGroupBlocks * GroupBytes<F>();
    const size_t count = blocks - begin < kGroupBlocks ? blocks - begin : kGroupBlocks;
    const size_t at = first * x.stride + begin * kBlock;
    size_t block = 0;
    for (; block + 2 <= count; block += 2) {
      for (size_t k = 0; k < tiles; ++k) {
        AddBlocks<F, kTokens, 2>(group + k * tile_bytes, block, x, at + block * kBlock, sums[k]);
      }
    }
    for (size_t k = 0; k < tiles && block < count; ++k) {
      AddBlocks<F, kTokens, 1>(group + k * tile_bytes, block, x, at + block * kBlock, sums[k]);
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

template <class F, size_t kTokens>
void DotTokens(const std::byte* tile, size_t cols, const Activations8& x, size_t first, size_t rows,
               float* out, size_t out_stride) {
  constexpr size_t kTiles = kMaxTokens / kTokens;
  const size_t tiles = (rows + kTileRows - 1) / kTileRows;
  for (size_t k = 0; k < tiles; k += kTiles) {
    DotTiles<F, kTokens>(tile + k * TileBytes<F>(cols), tiles - k < kTiles ? tiles - k : kTiles,
                         cols, x, first, rows - k * kTileRows, out + k * kTileRows, out_stride);
  }
}

template <class F>
void Dot(const std::byte* tile, size_t cols, const Activations8& x, size_t tokens, size_t rows,
         float* out, size_t out_stride) {
  size_t t = 0;
  for (; t + kMaxTokens <= tokens; t += kMaxTokens) {
    DotTokens<F, kMaxTokens>(tile, cols, x, t, rows, out, out_stride);
  }
  if (t + 4 <= tokens) {
    DotTokens<F, 4>(tile, cols, x, t, rows, out, out_stride);
    t += 4;
  }
  if (t + 2 <= tokens) {
    DotTokens<F, 2>(tile, cols, x, t, rows, out, out_stride);
    t += 2;
  }
  if (t < tokens) DotTokens<F, 1>(tile, cols, x, t, rows, out, out_stride);
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
    const std::byte* const group = tile + (first + i) / kGroupBlocks * GroupBytes<F>();
    __m512i quads[kQuads];
    LoadSigned<F>(CodesOf<F>(group, block), quads);
    for (size_t j = 0; j < kQuads; ++j) {
      _mm512_store_si512(out.codes + (i * kQuads + j) * kVector, quads[j]);
    }
    const typename F::Scales scales(group);
    _mm512_store_ps(out.scales + i * kTileRows, scales.Scale(block));
    if (F::kMinima) _mm512_store_ps(out.minima + i * kTileRows, scales.Minimum(block));
  }
}

template <class F>
void UnpackGroups(const std::byte* tile, size_t first, size_t count, const UnpackedGroups& out) {
  constexpr size_t kOfPart = kQuads / F::Scales::kParts;
  const __m512i low_bytes = _mm512_set1_epi16(0xff);
  for (size_t i = 0; i < count; ++i) {
    const std::byte* const group = tile + (first + i) * GroupBytes<F>();
    const typename F::Scales scales(group);
    for (size_t block = 0; block < kGroupBlocks; ++block) {
      __m512i quads[kQuads];
      LoadSigned<F>(CodesOf<F>(group, block), quads);
      const size_t at = (i * kGroupBlocks + block) * kQuads * kVector;
      for (size_t j = 0; j < kQuads; ++j) {
        // Times their scale in 16 bits, two columns of a row and the two others; then all columns'
        // low bytes, and their high ones.
        const __m512i one = scales.Scale(block, j / kOfPart);
        const __m512i scale = _mm512_mask_blend_epi16(0xaaaaaaaa, one, _mm512_slli_epi32(one, 16));
        const __m512i even =
            _mm512_mullo_epi16(_mm512_srai_epi16(_mm512_slli_epi16(quads[j], 8), 8), scale);
        const __m512i odd = _mm512_mullo_epi16(_mm512_srai_epi16(quads[j], 8), scale);
        const __m512i low =
            _mm512_or_si512(_mm512_and_si512(even, low_bytes), _mm512_slli_epi16(odd, 8));
        const __m512i high =
            _mm512_or_si512(_mm512_srli_epi16(even, 8), _mm512_andnot_si512(low_bytes, odd));
        _mm512_store_si512(out.low + at + j * kVector, low);
        _mm512_store_si512(out.high + at + j * kVector, high);
      }
    }
    _mm512_store_ps(out.scales + i * kTileRows, scales.d());
    if (!F::kMinima) continue;
    _mm512_store_ps(out.scales_of_minima + i * kTileRows, scales.dmin());
    for (size_t pair = 0; pair < kGroupBlocks / 2; ++pair) {
      _mm512_store_si512(out.minima + (i * kGroupBlocks / 2 + pair) * 2 * kTileRows,
                         scales.Minima(pair));
    }
  }
}

template <class F>
constexpr PackedKernels MakeTable() {
  PackedKernels table = {
      F::Scales::kScaleOf, F::kMinima, TileBytes<F>, Pack<F>, Dot<F>, nullptr, nullptr};
  if constexpr (F::Scales::kScaleOf == ScaleOf::k32) {
    table.unpack_blocks = UnpackBlocks<F>;
  } else {
    table.unpack_groups = UnpackGroups<F>;
  }
  return table;
}

template <class F>
const PackedKernels* Table() {
  static constexpr PackedKernels kTable = MakeTable<F>();
  return &kTable;
}

}  // namespace

const PackedKernels* Avx512PackedKernels(DType type) {
  switch (type) {
    case DType::kQ4_0:
      return Table<PackedQ4_0>();
    case DType::kQ4_1:
      return Table<PackedQ4_1>();
    case DType::kQ5_0:
      return Table<PackedQ5_0>();
    case DType::kQ5_1:
      return Table<PackedQ5_1>();
    case DType::kQ8_0:
      return Table<PackedQ8_0>();
    case DType::kQ4_K:
      return Table<PackedQ4_K>();
    case DType::kQ5_K:
      return Table<PackedQ5_K>();
    case DType::kQ6_K:
      return Table<PackedQ6_K>();
    case DType::kIQ4_NL:
      return Table<PackedIQ4_NL>();
    case DType::kIQ4_XS:
      return Table<PackedIQ4_XS>();
    default:
      return nullptr;
  }
}

}  // namespace rag
