// Products with AVX-512 VNNI: vpdpbusd multiplies 64 unsigned weights with 64 signed activations.
//
// A row is walked in groups of 256 elements and chunks of 64. Signed weights are made unsigned by
// adding what the format's zero point is; that and the formats' minima are taken off once a group,
// as an offset times the sums of the activations. Two accumulators a token, by the parity of the
// chunk, hide the latency of the multiply-add.
#include <cstring>

#include "lib/kernels/avx512_intrinsics.h"
#include "lib/kernels/quantized_blocks.h"
#include "lib/kernels/quantized_tables.h"

namespace rag {
namespace {

constexpr size_t kGroup = 256;
constexpr size_t kChunk = 64;
// Bytes between the weights in use and those asked for from memory: the stream of one thread needs
// about latency (100 ns) times bandwidth (20 GB/s) under way.
constexpr size_t kPrefetchBytes = 2048;

__m512i Low(int mask) { return _mm512_set1_epi8(static_cast<char>(mask)); }
// The 16-bit lanes of the low and high 256 bits shifted right by their own counts.
__m512i ShiftHalves(__m512i bytes, int low, int high) {
  return _mm512_srlv_epi16(bytes,
                           _mm512_inserti64x4(_mm512_set1_epi16(static_cast<int16_t>(low)),
                                              _mm256_set1_epi16(static_cast<int16_t>(high)), 1));
}
__m512i Load32Twice(const std::byte* p) {
  return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
float HalfAt(const std::byte* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  return _cvtsh_ss(bits);
}
__m512 Widen(__m256 low) { return _mm512_zextps256_ps512(low); }

// Scales of a group: one for 32 elements in the low eight lanes, or one for 16 in all lanes.
struct Per32 {
  static __m512 Scales(const Activations8& x, size_t t, size_t group) {
    return Widen(_mm256_loadu_ps(x.scales + t * x.stride / 32 + group * 8));
  }
  static __m512 Sums(const Activations8& x, size_t t, size_t group) {
    return Widen(_mm256_loadu_ps(x.sums32 + t * x.stride / 32 + group * 8));
  }
  // The scales of the 16 lanes of a chunk's products.
  static __m512 Spread(__m512 scales, int chunk) {
    const __m512i pair = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi32(1), 1);
    return _mm512_permutexvar_ps(_mm512_add_epi32(pair, _mm512_set1_epi32(2 * chunk)), scales);
  }
};
struct Per16 {
  static __m512 Scales(const Activations8& x, size_t t, size_t group) {
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_permutexvar_ps(twice, Per32::Scales(x, t, group));
  }
  static __m512 Sums(const Activations8& x, size_t t, size_t group) {
    return _mm512_loadu_ps(x.sums16 + t * x.stride / 16 + group * 16);
  }
  static __m512 Spread(__m512 scales, int chunk) {
    const __m512i quads = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_permutexvar_ps(_mm512_add_epi32(quads, _mm512_set1_epi32(4 * chunk)), scales);
  }
};

// Eight blocks of 32 elements; where the row ends earlier, the missing ones read the first block
// and have scale and offset zero.
template <size_t kBytes>
struct Blocks32 : Per32 {
  const std::byte* block[8];

  Blocks32(const std::byte* row, size_t group, size_t cols) {
    const std::byte* first = row + group * 8 * kBytes;
    const size_t count = (cols - group * kGroup) / 32;
    for (size_t i = 0; i < 8; ++i) block[i] = i < count ? first + i * kBytes : first;
    valid = count >= 8 ? 0xff : static_cast<__mmask8>((1u << count) - 1u);
  }

  __m256 Halves(size_t at) const {
    alignas(16) uint16_t bits[8];
    for (size_t i = 0; i < 8; ++i) std::memcpy(&bits[i], block[i] + at, sizeof(bits[i]));
    const __m128i packed = _mm_setr_epi16(
        static_cast<int16_t>(bits[0]), static_cast<int16_t>(bits[1]), static_cast<int16_t>(bits[2]),
        static_cast<int16_t>(bits[3]), static_cast<int16_t>(bits[4]), static_cast<int16_t>(bits[5]),
        static_cast<int16_t>(bits[6]), static_cast<int16_t>(bits[7]));
    return _mm256_maskz_mov_ps(valid, _mm256_cvtph_ps(packed));
  }
  __m512i Nibbles(int chunk, size_t at) const {
    const auto load = [&](int i) {
      return _mm256_broadcastsi128_si256(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(block[i] + at)));
    };
    const __m512i bytes =
        _mm512_inserti64x4(_mm512_castsi256_si512(load(2 * chunk)), load(2 * chunk + 1), 1);
    const __m512i shifts = _mm512_set_epi64(0x0004000400040004, 0x0004000400040004, 0, 0,
                                            0x0004000400040004, 0x0004000400040004, 0, 0);
    return _mm512_and_si512(_mm512_srlv_epi16(bytes, shifts), Low(15));
  }
  __mmask64 HighBits(int chunk, size_t at) const {
    uint32_t low;
    uint32_t high;
    std::memcpy(&low, block[2 * chunk] + at, sizeof(low));
    std::memcpy(&high, block[2 * chunk + 1] + at, sizeof(high));
    return static_cast<uint64_t>(high) << 32 | low;
  }
  __m512i WithHighBits(__m512i nibbles, __mmask64 bits) const {
    return _mm512_mask_add_epi8(nibbles, bits, nibbles, Low(16));
  }

  __mmask8 valid;
};

struct Q4_0 : Blocks32<18> {
  using Blocks32::Blocks32;
  __m512 Scale() const { return Widen(Halves(0)); }
  __m512 Offset(__m512 scale) const { return _mm512_mul_ps(scale, _mm512_set1_ps(8)); }
  __m512i Weights(int chunk) const { return Nibbles(chunk, 2); }
};

struct Q4_1 : Blocks32<20> {
  using Blocks32::Blocks32;
  __m512 Scale() const { return Widen(Halves(0)); }
  __m512 Offset(__m512) const { return _mm512_sub_ps(_mm512_setzero_ps(), Widen(Halves(2))); }
  __m512i Weights(int chunk) const { return Nibbles(chunk, 4); }
};

struct Q5_0 : Blocks32<22> {
  using Blocks32::Blocks32;
  __m512 Scale() const { return Widen(Halves(0)); }
  __m512 Offset(__m512 scale) const { return _mm512_mul_ps(scale, _mm512_set1_ps(16)); }
  __m512i Weights(int chunk) const { return WithHighBits(Nibbles(chunk, 6), HighBits(chunk, 2)); }
};

struct Q5_1 : Blocks32<24> {
  using Blocks32::Blocks32;
  __m512 Scale() const { return Widen(Halves(0)); }
  __m512 Offset(__m512) const { return _mm512_sub_ps(_mm512_setzero_ps(), Widen(Halves(2))); }
  __m512i Weights(int chunk) const { return WithHighBits(Nibbles(chunk, 8), HighBits(chunk, 4)); }
};

struct Q8_0 : Blocks32<34> {
  using Blocks32::Blocks32;
  __m512 Scale() const { return Widen(Halves(0)); }
  __m512 Offset(__m512 scale) const { return _mm512_mul_ps(scale, _mm512_set1_ps(128)); }
  __m512i Weights(int chunk) const {
    const auto load = [&](int i) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block[i] + 2));
    };
    return _mm512_xor_si512(
        _mm512_inserti64x4(_mm512_castsi256_si512(load(2 * chunk)), load(2 * chunk + 1), 1),
        Low(128));
  }
};

struct Q2_K : Per16 {
  const std::byte* block;
  Q2_K(const std::byte* row, size_t group, size_t) : block(row + group * 84) {}
  __m512 Scale() const {
    const __m128i low = _mm_and_si128(Scales8(), _mm_set1_epi8(15));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(low)),
                         _mm512_set1_ps(HalfAt(block + 80)));
  }
  __m512 Offset(__m512) const {
    const __m128i high = _mm_and_si128(_mm_srli_epi16(Scales8(), 4), _mm_set1_epi8(15));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(high)),
                         _mm512_set1_ps(HalfAt(block + 82)));
  }
  __m512i Weights(int chunk) const {
    const __m512i bytes = Load32Twice(block + 16 + chunk / 2 * 32);
    const int shift = chunk % 2 * 4;
    return _mm512_and_si512(ShiftHalves(bytes, shift, shift + 2), Low(3));
  }

 private:
  __m128i Scales8() const { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(block)); }
};

struct Q3_K : Per16 {
  const std::byte* block;
  Q3_K(const std::byte* row, size_t group, size_t) : block(row + group * 110) {}
  __m512 Scale() const {
    // The layout is that of DecodeQ3_K in quantized_blocks.cc.
    uint64_t low;
    uint32_t high;
    std::memcpy(&low, block + 96, sizeof(low));
    std::memcpy(&high, block + 104, sizeof(high));
    const __m128i nibbles = _mm_set_epi64x(static_cast<int64_t>(low >> 4 & 0x0f0f0f0f0f0f0f0f),
                                           static_cast<int64_t>(low & 0x0f0f0f0f0f0f0f0f));
    const __m128i pairs = _mm_and_si128(
        _mm_srlv_epi32(_mm_set1_epi32(static_cast<int>(high)), _mm_setr_epi32(0, 2, 4, 6)),
        _mm_set1_epi8(3));
    const __m128i scales =
        _mm_sub_epi8(_mm_or_si128(nibbles, _mm_slli_epi16(pairs, 4)), _mm_set1_epi8(32));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(scales)),
                         _mm512_set1_ps(HalfAt(block + 108)));
  }
  __m512 Offset(__m512 scale) const { return _mm512_mul_ps(scale, _mm512_set1_ps(4)); }
  __m512i Weights(int chunk) const {
    const int shift = chunk % 2 * 4;
    const __m512i low = _mm512_and_si512(
        ShiftHalves(Load32Twice(block + 32 + chunk / 2 * 32), shift, shift + 2), Low(3));
    const __m512i high =
        _mm512_and_si512(ShiftHalves(Load32Twice(block), 2 * chunk, 2 * chunk + 1), Low(1));
    return _mm512_or_si512(low, _mm512_slli_epi16(high, 2));
  }
};

// d, dmin and eight pairs of 6 bits, as DecodeScalesK4 reads them.
struct Scales4K : Per32 {
  const std::byte* block;
  explicit Scales4K(const std::byte* block) : block(block) {
    uint32_t packed[3];
    std::memcpy(packed, block + 4, sizeof(packed));
    constexpr uint32_t kSix = 0x3f3f3f3f;
    constexpr uint32_t kFour = 0x0f0f0f0f;
    constexpr uint32_t kTwo = 0x30303030;
    scales = static_cast<uint64_t>((packed[2] & kFour) | (packed[0] >> 2 & kTwo)) << 32 |
             (packed[0] & kSix);
    minima = static_cast<uint64_t>((packed[2] >> 4 & kFour) | (packed[1] >> 2 & kTwo)) << 32 |
             (packed[1] & kSix);
  }
  __m512 Scale() const { return Times(scales, HalfAt(block)); }
  __m512 Offset(__m512) const { return Times(minima, HalfAt(block + 2)); }

 private:
  static __m512 Times(uint64_t bytes, float factor) {
    const __m256i wide = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(bytes)));
    return Widen(_mm256_mul_ps(_mm256_cvtepi32_ps(wide), _mm256_set1_ps(factor)));
  }
  uint64_t scales;
  uint64_t minima;
};

struct Q4_K : Scales4K {
  Q4_K(const std::byte* row, size_t group, size_t) : Scales4K(row + group * 144) {}
  __m512i Weights(int chunk) const {
    return _mm512_and_si512(ShiftHalves(Load32Twice(block + 16 + chunk * 32), 0, 4), Low(15));
  }
};

struct Q5_K : Scales4K {
  Q5_K(const std::byte* row, size_t group, size_t) : Scales4K(row + group * 176) {}
  __m512i Weights(int chunk) const {
    const __m512i low =
        _mm512_and_si512(ShiftHalves(Load32Twice(block + 48 + chunk * 32), 0, 4), Low(15));
    const __m512i high =
        _mm512_and_si512(ShiftHalves(Load32Twice(block + 16), 2 * chunk, 2 * chunk + 1), Low(1));
    return _mm512_or_si512(low, _mm512_slli_epi16(high, 4));
  }
};

struct Q6_K : Per16 {
  const std::byte* block;
  Q6_K(const std::byte* row, size_t group, size_t) : block(row + group * 210) {}
  __m512 Scale() const {
    const __m128i scales = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 192));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(scales)),
                         _mm512_set1_ps(HalfAt(block + 208)));
  }
  __m512 Offset(__m512 scale) const { return _mm512_mul_ps(scale, _mm512_set1_ps(32)); }
  __m512i Weights(int chunk) const {
    const int half = chunk / 2;
    const int shift = chunk % 2 * 4;
    const __m512i nibbles =
        _mm512_and_si512(_mm512_srlv_epi16(_mm512_loadu_si512(block + half * 64),
                                           _mm512_set1_epi16(static_cast<int16_t>(shift))),
                         Low(15));
    const __m512i high = _mm512_and_si512(
        ShiftHalves(Load32Twice(block + 128 + half * 32), shift, shift + 2), Low(3));
    return _mm512_or_si512(nibbles, _mm512_slli_epi16(high, 4));
  }
};

// The codes' values, made unsigned by a zero point.
__m512i LookUp(const UnsignedValues& table, __m512i codes) {
  const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table.values));
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), codes);
}

struct IQ4_NL : Blocks32<18> {
  using Blocks32::Blocks32;
  __m512 Scale() const { return Widen(Halves(0)); }
  __m512 Offset(__m512 scale) const { return _mm512_mul_ps(scale, _mm512_set1_ps(128)); }
  __m512i Weights(int chunk) const { return LookUp(kIq4Unsigned, Nibbles(chunk, 2)); }
};

struct MXFP4 : Blocks32<17> {
  using Blocks32::Blocks32;
  // 2^(exponent - 128), which scalef gives for subnormal results too.
  __m512 Scale() const {
    alignas(32) float exponents[8];
    for (size_t i = 0; i < 8; ++i) exponents[i] = static_cast<float>(block[i][0]) - 128.0f;
    const __m256 scale = _mm256_scalef_ps(_mm256_set1_ps(1.0f), _mm256_load_ps(exponents));
    return Widen(_mm256_maskz_mov_ps(valid, scale));
  }
  __m512 Offset(__m512 scale) const { return _mm512_mul_ps(scale, _mm512_set1_ps(12)); }
  __m512i Weights(int chunk) const { return LookUp(kMxfp4Unsigned, Nibbles(chunk, 1)); }
};

struct IQ4_XS : Per32 {
  const std::byte* block;
  IQ4_XS(const std::byte* row, size_t group, size_t) : block(row + group * 136) {}
  __m512 Scale() const {
    // The layout is that of DecodeIQ4_XS in quantized_blocks.cc.
    uint32_t low;
    uint16_t high;
    std::memcpy(&low, block + 4, sizeof(low));
    std::memcpy(&high, block + 2, sizeof(high));
    const __m256i lows =
        _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(low)),
                                           _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28)),
                         _mm256_set1_epi32(15));
    const __m256i highs = _mm256_and_si256(
        _mm256_srlv_epi32(_mm256_set1_epi32(high), _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14)),
        _mm256_set1_epi32(3));
    const __m256i scales =
        _mm256_sub_epi32(_mm256_or_si256(lows, _mm256_slli_epi32(highs, 4)), _mm256_set1_epi32(32));
    return Widen(_mm256_mul_ps(_mm256_cvtepi32_ps(scales), _mm256_set1_ps(HalfAt(block))));
  }
  __m512 Offset(__m512 scale) const { return _mm512_mul_ps(scale, _mm512_set1_ps(128)); }
  __m512i Weights(int chunk) const {
    // Two groups of 32 elements: the low nibbles of 16 bytes, then the high ones.
    const __m256i bytes =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 8 + chunk * 32));
    const __m512i both =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_permute4x64_epi64(bytes, 0x44)),
                           _mm256_permute4x64_epi64(bytes, 0xee), 1);
    const __m512i shifts = _mm512_set_epi64(0x0004000400040004, 0x0004000400040004, 0, 0,
                                            0x0004000400040004, 0x0004000400040004, 0, 0);
    return LookUp(kIq4Unsigned, _mm512_and_si512(_mm512_srlv_epi16(both, shifts), Low(15)));
  }
};

template <class Format, size_t kTokens>
void DotTokens(const std::byte* row, size_t row_bytes, size_t cols, const Activations8& x,
               size_t first, float* out, size_t out_stride) {
  __m512 sums[kTokens][2];
  for (size_t t = 0; t < kTokens; ++t) sums[t][0] = sums[t][1] = _mm512_setzero_ps();
  const size_t groups = (cols + kGroup - 1) / kGroup;
  const size_t group_bytes = row_bytes / groups;
  for (size_t group = 0; group < groups; ++group) {
    const std::byte* ahead = row + group * group_bytes + kPrefetchBytes;
    for (size_t i = 0; i < group_bytes; i += 64) _mm_prefetch(ahead + i, _MM_HINT_T0);
    const Format format(row, group, cols);
    const __m512 scale = format.Scale();
    const __m512 offset = format.Offset(scale);
    __m512 scales[kTokens];
    for (size_t t = 0; t < kTokens; ++t) {
      scales[t] = _mm512_mul_ps(scale, Format::Scales(x, first + t, group));
      sums[t][0] = _mm512_fnmadd_ps(offset, Format::Sums(x, first + t, group), sums[t][0]);
    }
#pragma GCC unroll 4
    for (int chunk = 0; chunk < 4; ++chunk) {
      const __m512i weights = format.Weights(chunk);
      for (size_t t = 0; t < kTokens; ++t) {
        const int8_t* values = x.values + (first + t) * x.stride + group * kGroup + chunk * kChunk;
        const __m512i products =
            _mm512_dpbusd_epi32(_mm512_setzero_si512(), weights, _mm512_loadu_si512(values));
        sums[t][chunk % 2] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products),
                                             Format::Spread(scales[t], chunk), sums[t][chunk % 2]);
      }
    }
  }
  for (size_t t = 0; t < kTokens; ++t) {
    out[(first + t) * out_stride] = _mm512_reduce_add_ps(_mm512_add_ps(sums[t][0], sums[t][1]));
  }
}

template <class Format, size_t kBlock, size_t kBytes>
void BlockDot(const std::byte* row, size_t cols, const Activations8& x, size_t tokens, float* out,
              size_t out_stride) {
  const size_t row_bytes = cols / kBlock * kBytes;
  size_t t = 0;
  for (; t + 4 <= tokens; t += 4) {
    DotTokens<Format, 4>(row, row_bytes, cols, x, t, out, out_stride);
  }
  for (; t < tokens; ++t) DotTokens<Format, 1>(row, row_bytes, cols, x, t, out, out_stride);
}

struct F32 {
  static constexpr size_t kBytes = 4;
  static __m512 Load(const std::byte* p) { return _mm512_loadu_ps(p); }
  static __m512 LoadFirst(const std::byte* p, __mmask16 mask) {
    return _mm512_maskz_loadu_ps(mask, p);
  }
};
struct F16 {
  static constexpr size_t kBytes = 2;
  static __m512 Load(const std::byte* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static __m512 LoadFirst(const std::byte* p, __mmask16 mask) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, p));
  }
};
struct BF16 {
  static constexpr size_t kBytes = 2;
  static __m512 Widen16(__m256i bits) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  static __m512 Load(const std::byte* p) {
    return Widen16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static __m512 LoadFirst(const std::byte* p, __mmask16 mask) {
    return Widen16(_mm256_maskz_loadu_epi16(mask, p));
  }
};

template <class Format, size_t kTokens>
void FloatDotTokens(const std::byte* row, size_t cols, const float* x, size_t x_stride, float* out,
                    size_t out_stride) {
  __m512 sums[kTokens][4];
  for (size_t t = 0; t < kTokens; ++t) {
    for (size_t j = 0; j < 4; ++j) sums[t][j] = _mm512_setzero_ps();
  }
  size_t i = 0;
  for (; i + 64 <= cols; i += 64) {
    for (size_t j = 0; j < 4; ++j) {
      const __m512 weights = Format::Load(row + (i + 16 * j) * Format::kBytes);
      for (size_t t = 0; t < kTokens; ++t) {
        sums[t][j] =
            _mm512_fmadd_ps(weights, _mm512_loadu_ps(x + t * x_stride + i + 16 * j), sums[t][j]);
      }
    }
  }
  for (; i < cols; i += 16) {
    const __mmask16 mask =
        cols - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (cols - i)) - 1u);
    const __m512 weights = Format::LoadFirst(row + i * Format::kBytes, mask);
    for (size_t t = 0; t < kTokens; ++t) {
      sums[t][0] =
          _mm512_fmadd_ps(weights, _mm512_maskz_loadu_ps(mask, x + t * x_stride + i), sums[t][0]);
    }
  }
  for (size_t t = 0; t < kTokens; ++t) {
    out[t * out_stride] = _mm512_reduce_add_ps(_mm512_add_ps(
        _mm512_add_ps(sums[t][0], sums[t][1]), _mm512_add_ps(sums[t][2], sums[t][3])));
  }
}

template <class Format>
void FloatDot(const std::byte* row, size_t cols, const float* x, size_t x_stride, size_t tokens,
              float* out, size_t out_stride) {
  size_t t = 0;
  for (; t + 4 <= tokens; t += 4) {
    FloatDotTokens<Format, 4>(row, cols, x + t * x_stride, x_stride, out + t * out_stride,
                              out_stride);
  }
  for (; t < tokens; ++t) {
    FloatDotTokens<Format, 1>(row, cols, x + t * x_stride, x_stride, out + t * out_stride,
                              out_stride);
  }
}

constexpr QuantizedKernels MakeTable() {
  QuantizedKernels table = {
      .isa = Isa::kAvx512, .block_dot = {}, .float_dot = {}, .quantize_row = Avx512QuantizeRow};
  const auto at = [](DType type) { return static_cast<size_t>(type); };
  table.block_dot[at(DType::kQ4_0)] = BlockDot<Q4_0, 32, 18>;
  table.block_dot[at(DType::kQ4_1)] = BlockDot<Q4_1, 32, 20>;
  table.block_dot[at(DType::kQ5_0)] = BlockDot<Q5_0, 32, 22>;
  table.block_dot[at(DType::kQ5_1)] = BlockDot<Q5_1, 32, 24>;
  table.block_dot[at(DType::kQ8_0)] = BlockDot<Q8_0, 32, 34>;
  table.block_dot[at(DType::kQ2_K)] = BlockDot<Q2_K, 256, 84>;
  table.block_dot[at(DType::kQ3_K)] = BlockDot<Q3_K, 256, 110>;
  table.block_dot[at(DType::kQ4_K)] = BlockDot<Q4_K, 256, 144>;
  table.block_dot[at(DType::kQ5_K)] = BlockDot<Q5_K, 256, 176>;
  table.block_dot[at(DType::kQ6_K)] = BlockDot<Q6_K, 256, 210>;
  table.block_dot[at(DType::kIQ4_NL)] = BlockDot<IQ4_NL, 32, 18>;
  table.block_dot[at(DType::kIQ4_XS)] = BlockDot<IQ4_XS, 256, 136>;
  table.block_dot[at(DType::kMXFP4)] = BlockDot<MXFP4, 32, 17>;
  table.float_dot[at(DType::kF32)] = FloatDot<F32>;
  table.float_dot[at(DType::kF16)] = FloatDot<F16>;
  table.float_dot[at(DType::kBF16)] = FloatDot<BF16>;
  return table;
}

}  // namespace

const QuantizedKernels& Avx512QuantizedKernels() {
  static constexpr QuantizedKernels kTable = MakeTable();
  return kTable;
}

}  // namespace rag
