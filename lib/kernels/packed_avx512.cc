// Packed products with AVX-512 VNNI: vpdpbusd multiplies four unsigned columns of 16 rows with four
// signed activations that are broadcast to all of them.
#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 warns of its own header's _mm512_undefined_* (gcc bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <cstring>

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
__m512 Signed(const std::byte* p) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
__m512 Unsigned(const std::byte* p) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

// --- codes: what stands for a weight, unsigned ---

// Four bits, and kPlanes more as masks in front of them.
template <size_t kPlanes>
struct Nibbles {
  static constexpr size_t kBytes = kPlanes * kVector + kQuads / 2 * kVector;

  static void Load(const std::byte* p, __m512i* quads) {
    for (size_t i = 0; i < kQuads / 2; ++i) {
      const __m512i both = _mm512_load_si512(p + (kPlanes + i) * kVector);
      quads[i] = _mm512_and_si512(both, Low(15));
      quads[i + kQuads / 2] = _mm512_and_si512(_mm512_srli_epi16(both, 4), Low(15));
    }
    for (size_t plane = 0; plane < kPlanes; ++plane) {
      for (size_t i = 0; i < kQuads; ++i) {
        uint64_t mask;
        std::memcpy(&mask, p + plane * kVector + i * sizeof(mask), sizeof(mask));
        quads[i] = _mm512_mask_add_epi8(quads[i], mask, quads[i], Low(16 << plane));
      }
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
      for (size_t i = 0; i < kQuads; ++i) {
        const uint64_t mask = _mm512_test_epi8_mask(quads[i], Low(16 << plane));
        std::memcpy(p + plane * kVector + i * sizeof(mask), &mask, sizeof(mask));
      }
    }
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
  static constexpr size_t kParts = 1;  // of a block that have a scale of their own
  static constexpr size_t kEach = (kMinima ? 2 : 1) * kHalves;
  static constexpr size_t kBytes = kGroupBlocks * kEach;

  explicit HalfScales(const std::byte* header) : header(header) {}
  __m512 Scale(size_t block, size_t) const { return Halves(header + block * kEach); }
  __m512 Minimum(size_t block) const { return Halves(header + block * kEach + kHalves); }
  static void Store(const DecodedBlock& decoded, size_t row, size_t block, std::byte* header) {
    std::byte* const at = header + block * kEach + row * sizeof(uint16_t);
    PutHalf(decoded.scale[0], at);
    if (kMinima) PutHalf(decoded.offset[0], at + kHalves);
  }

  const std::byte* header;
};

// d for the group and a signed byte of it for each of its kScales parts; with kMinima dmin and
// unsigned bytes likewise.
template <size_t kScales, bool kMinima>
struct ByteScales {
  static constexpr size_t kParts = kScales / kGroupBlocks;
  static constexpr size_t kFactors = (kMinima ? 2 : 1) * kHalves;
  static constexpr size_t kBytes =
      (kFactors + (kMinima ? 2 : 1) * kScales * kTileRows + kVector - 1) / kVector * kVector;

  explicit ByteScales(const std::byte* header) : header(header), d(Halves(header)) {
    if (kMinima) dmin = Halves(header + kHalves);
  }
  __m512 Scale(size_t block, size_t part) const {
    return _mm512_mul_ps(d, Signed(header + kFactors + (block * kParts + part) * kTileRows));
  }
  __m512 Minimum(size_t block) const {
    return _mm512_mul_ps(dmin, Unsigned(header + kFactors + (kScales + block) * kTileRows));
  }
  static void Store(const DecodedBlock& decoded, size_t row, size_t, std::byte* header) {
    PutHalf(decoded.d, header + row * sizeof(uint16_t));
    if (kMinima) PutHalf(decoded.dmin, header + kHalves + row * sizeof(uint16_t));
    constexpr size_t kStep = kMaxBlockElements / kScaleGroup / kScales;
    for (size_t i = 0; i < kScales; ++i) {
      std::byte* const at = header + kFactors + i * kTileRows + row;
      *at = static_cast<std::byte>(decoded.subscale[i * kStep]);
      if (kMinima) at[kScales * kTileRows] = static_cast<std::byte>(decoded.subminimum[i * kStep]);
    }
  }

  const std::byte* header;
  __m512 d;
  __m512 dmin = _mm512_setzero_ps();
};

// --- formats ---

// kZero is added to a weight's whole number to make it unsigned. kValues: the codes stand for the
// values of IQ4_NL, made unsigned already.
template <DType kType, class CodesOf, class ScalesOf, bool kMinimaOf, int kZeroOf,
          bool kValuesOf = false>
struct Format {
  using Codes = CodesOf;
  using Scales = ScalesOf;
  static constexpr DType kDType = kType;
  static constexpr bool kMinima = kMinimaOf;
  static constexpr int kZero = kZeroOf;
  static constexpr bool kValues = kValuesOf;
};

using PackedQ4_0 = Format<DType::kQ4_0, Nibbles<0>, HalfScales<false>, false, 8>;
using PackedQ4_1 = Format<DType::kQ4_1, Nibbles<0>, HalfScales<true>, true, 0>;
using PackedQ5_0 = Format<DType::kQ5_0, Nibbles<1>, HalfScales<false>, false, 16>;
using PackedQ5_1 = Format<DType::kQ5_1, Nibbles<1>, HalfScales<true>, true, 0>;
using PackedQ8_0 = Format<DType::kQ8_0, Bytes, HalfScales<false>, false, 128>;
using PackedQ4_K = Format<DType::kQ4_K, Nibbles<0>, ByteScales<8, true>, true, 0>;
using PackedQ5_K = Format<DType::kQ5_K, Nibbles<1>, ByteScales<8, true>, true, 0>;
using PackedQ6_K = Format<DType::kQ6_K, Nibbles<2>, ByteScales<16, false>, false, 32>;
using PackedIQ4_NL = Format<DType::kIQ4_NL, Nibbles<0>, HalfScales<false>, false, 128, true>;
using PackedIQ4_XS = Format<DType::kIQ4_XS, Nibbles<0>, ByteScales<8, false>, false, 128, true>;

// The values that the codes of IQ4_NL stand for, 128 more than quantized_blocks.cc has.
constexpr uint8_t kNonLinear4[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                     129, 141, 153, 166, 181, 197, 217, 241};
__m512i Values(__m512i codes) {
  const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(kNonLinear4));
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

// A weight's whole number as the unsigned code that is stored.
template <class F>
uint8_t Code(int8_t q) {
  const auto value = static_cast<uint8_t>(q + F::kZero);
  if (!F::kValues) return value;
  uint8_t code = 0;
  while (kNonLinear4[code] != value) ++code;
  return code;
}

template <class F>
void Pack(const std::byte* const rows[kTileRows], size_t cols, std::byte* tile) {
  const DTypeInfo& info = GetDTypeInfo(F::kDType);
  for (size_t begin = 0; begin < cols; begin += info.block_size) {
    const size_t first = begin / kBlock % kGroupBlocks;  // of the group's blocks
    std::byte* const header = tile + begin / kBlock / kGroupBlocks * GroupBytes<F>();
    alignas(64) uint8_t codes[kMaxBlockElements / 4][kTileRows][4];
    for (size_t row = 0; row < kTileRows; ++row) {
      DecodedBlock decoded;
      if (rows[row] != nullptr) {
        DecodeBlock(F::kDType, rows[row] + begin / info.block_size * info.block_bytes, decoded);
      } else {
        // Of scale zero, whatever the codes are.
        std::memset(&decoded, 0, sizeof(decoded));
        if (F::kValues) std::memset(decoded.q, 1, sizeof(decoded.q));
      }
      for (size_t i = 0; i < info.block_size; ++i) {
        codes[i / 4][row][i % 4] = Code<F>(decoded.q[i]);
      }
      F::Scales::Store(decoded, row, first, header);
    }
    for (size_t block = 0; block < info.block_size / kBlock; ++block) {
      __m512i quads[kQuads];
      for (size_t i = 0; i < kQuads; ++i) {
        quads[i] = _mm512_load_si512(codes[block * kQuads + i]);
      }
      F::Codes::Store(quads, header + F::Scales::kBytes + (first + block) * F::Codes::kBytes);
    }
  }
}

__m512i Broadcast4(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, sizeof(four));
  return _mm512_set1_epi32(four);
}

// Adds a block's part to the tokens' sums.
template <class F, size_t kTokens>
inline __attribute__((always_inline)) void AddBlock(const std::byte* codes,
                                                    const typename F::Scales& scales,
                                                    size_t of_group, size_t block,
                                                    const Activations8& x, size_t first,
                                                    __m512* sums) {
  constexpr size_t kParts = F::Scales::kParts;
  constexpr size_t kOfPart = kQuads / kParts;
  __m512i quads[kQuads];
  F::Codes::Load(codes, quads);
  if (F::kValues) {
    for (size_t i = 0; i < kQuads; ++i) quads[i] = Values(quads[i]);
  }
#pragma GCC unroll 2
  for (size_t part = 0; part < kParts; ++part) {
    const __m512 scale = scales.Scale(of_group, part);
    const __m512 offset = F::kMinima
                              ? scales.Minimum(of_group)
                              : _mm512_mul_ps(scale, _mm512_set1_ps(static_cast<float>(F::kZero)));
#pragma GCC unroll 8
    for (size_t t = 0; t < kTokens; ++t) {
      const size_t row = (first + t) * x.stride;
      const int8_t* const values = x.values + row + block * kBlock;
      // Two, since each waits for its last; whole numbers can be added in any order.
      __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512();
#pragma GCC unroll 8
      for (size_t i = part * kOfPart; i < (part + 1) * kOfPart; i += 2) {
        even = _mm512_dpbusd_epi32(even, quads[i], Broadcast4(values + 4 * i));
        odd = _mm512_dpbusd_epi32(odd, quads[i + 1], Broadcast4(values + 4 * i + 4));
      }
      const float of_x = x.scales[row / kBlock + block];
      const float sum = kParts == 1 ? x.sums32[row / kBlock + block]
                                    : x.sums16[row / kScaleGroup + block * kParts + part];
      sums[t] = _mm512_fnmadd_ps(offset, _mm512_set1_ps(sum), sums[t]);
      sums[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(even, odd)),
                                _mm512_mul_ps(scale, _mm512_set1_ps(of_x)), sums[t]);
    }
  }
}

template <class F, size_t kTokens>
void DotTokens(const std::byte* tile, size_t cols, const Activations8& x, size_t first,
               __mmask16 rows, float* out, size_t out_stride) {
  const size_t blocks = cols / kBlock;
  __m512 sums[kTokens];
  for (size_t t = 0; t < kTokens; ++t) sums[t] = _mm512_setzero_ps();
  for (size_t begin = 0; begin < blocks; begin += kGroupBlocks) {
    const std::byte* const group = tile + begin / kGroupBlocks * GroupBytes<F>();
    const typename F::Scales scales(group);
    const size_t count = blocks - begin < kGroupBlocks ? blocks - begin : kGroupBlocks;
    for (size_t i = 0; i < count; ++i) {
      const std::byte* const codes = group + F::Scales::kBytes + i * F::Codes::kBytes;
      for (size_t line = 0; line < F::Codes::kBytes; line += kVector) {
        _mm_prefetch(codes + kPrefetchBytes + line, _MM_HINT_T0);
      }
      AddBlock<F, kTokens>(codes, scales, i, begin + i, x, first, sums);
    }
  }
  for (size_t t = 0; t < kTokens; ++t) {
    _mm512_mask_storeu_ps(out + (first + t) * out_stride, rows, sums[t]);
  }
}

template <class F>
void Dot(const std::byte* tile, size_t cols, const Activations8& x, size_t tokens, size_t rows,
         float* out, size_t out_stride) {
  const auto mask = static_cast<__mmask16>((1u << rows) - 1u);
  size_t t = 0;
  for (; t + kMaxTokens <= tokens; t += kMaxTokens) {
    DotTokens<F, kMaxTokens>(tile, cols, x, t, mask, out, out_stride);
  }
  if (t + 4 <= tokens) {
    DotTokens<F, 4>(tile, cols, x, t, mask, out, out_stride);
    t += 4;
  }
  if (t + 2 <= tokens) {
    DotTokens<F, 2>(tile, cols, x, t, mask, out, out_stride);
    t += 2;
  }
  if (t < tokens) DotTokens<F, 1>(tile, cols, x, t, mask, out, out_stride);
}

template <class F>
const PackedKernels* Table() {
  static constexpr PackedKernels kTable = {TileBytes<F>, Pack<F>, Dot<F>};
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
