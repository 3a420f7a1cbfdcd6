// Products with AVX2: vpmaddubsw multiplies 32 unsigned weights with 32 signed activations into
// pairs of 16 bits. The largest pair, 2 * 63 * 127, is far from saturating; Q8_0, which would,
// moves the weights' signs to the activations (2 * 128 * 127 still fits).
//
// Groups, offsets and accumulators are those of quantized_avx512.cc, with chunks of 32 elements.
#include <immintrin.h>

#include <cstring>

#include "lib/kernels/quantized_blocks.h"
#include "lib/kernels/quantized_tables.h"

namespace rag {
namespace {

constexpr size_t kGroup = 256;
constexpr size_t kChunk = 32;
constexpr size_t kPrefetchBytes = 2048;  // as in quantized_avx512.cc

__m256i Low(int mask) { return _mm256_set1_epi8(static_cast<char>(mask)); }
__m256i Load32(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
__m256i ShiftRight(__m256i bytes, int count) {
  return _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(count));
}
float HalfAt(const std::byte* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  return _cvtsh_ss(bits);
}
float SumLanes(__m256 a) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}
// Signed products of unsigned weights, in eight lanes of four elements.
__m256i MultiplyUnsigned(__m256i weights, __m256i values) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(weights, values), _mm256_set1_epi16(1));
}

// What a group has for each of its scales: 8 (of 32 elements) or 16 (of 16).
struct Per32 {
  static constexpr size_t kScales = 8;
  static constexpr bool kSigned = false;
  static const float* Sums(const Activations8& x, size_t t) { return x.sums32 + t * x.stride / 32; }
  static void Multiply(const float* scale, const float* of32, float* out) {
    _mm256_store_ps(out, _mm256_mul_ps(_mm256_load_ps(scale), _mm256_loadu_ps(of32)));
  }
  static __m256 Spread(const float* scales, int chunk) {
    return _mm256_broadcast_ss(scales + chunk);
  }
};
struct Per16 {
  static constexpr size_t kScales = 16;
  static constexpr bool kSigned = false;
  static const float* Sums(const Activations8& x, size_t t) { return x.sums16 + t * x.stride / 16; }
  static void Multiply(const float* scale, const float* of32, float* out) {
    const __m256 all = _mm256_loadu_ps(of32);
    const __m256 low = _mm256_permutevar8x32_ps(all, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
    const __m256 high = _mm256_permutevar8x32_ps(all, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7));
    _mm256_store_ps(out, _mm256_mul_ps(_mm256_load_ps(scale), low));
    _mm256_store_ps(out + 8, _mm256_mul_ps(_mm256_load_ps(scale + 8), high));
  }
  static __m256 Spread(const float* scales, int chunk) {
    return _mm256_set_m128(_mm_broadcast_ss(scales + 2 * chunk + 1),
                           _mm_broadcast_ss(scales + 2 * chunk));
  }
};

// Eight blocks of 32 elements; where the row ends earlier, the missing ones read the first block
// and have scale and offset zero.
template <size_t kBytes>
struct Blocks32 : Per32 {
  const std::byte* block[8];
  size_t count;

  Blocks32(const std::byte* row, size_t group, size_t cols) {
    const std::byte* first = row + group * 8 * kBytes;
    count = (cols - group * kGroup) / 32;
    for (size_t i = 0; i < 8; ++i) block[i] = i < count ? first + i * kBytes : first;
  }

  void Halves(size_t at, float factor, float* out) const {
    alignas(16) uint16_t bits[8];
    for (size_t i = 0; i < 8; ++i) {
      bits[i] = 0;
      if (i < count) std::memcpy(&bits[i], block[i] + at, sizeof(bits[i]));
    }
    const __m256 halves = _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(bits)));
    _mm256_store_ps(out, _mm256_mul_ps(halves, _mm256_set1_ps(factor)));
  }
  __m256i Nibbles(int chunk, size_t at) const {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block[chunk] + at));
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes), Low(15));
  }
  // 16 in each byte whose bit of the four bytes at `at` is set.
  __m256i HighBits(int chunk, size_t at) const {
    int bits;
    std::memcpy(&bits, block[chunk] + at, sizeof(bits));
    const __m256i spread = _mm256_shuffle_epi8(
        _mm256_set1_epi32(bits), _mm256_setr_epi64x(0x0000000000000000, 0x0101010101010101,
                                                    0x0202020202020202, 0x0303030303030303));
    const __m256i one = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(spread, one), one), Low(16));
  }
};

struct Q4_0 : Blocks32<18> {
  using Blocks32::Blocks32;
  void Scale(float* out) const { Halves(0, 1, out); }
  void Offset(float* out) const { Halves(0, 8, out); }
  __m256i Weights(int chunk) const { return Nibbles(chunk, 2); }
};

struct Q4_1 : Blocks32<20> {
  using Blocks32::Blocks32;
  void Scale(float* out) const { Halves(0, 1, out); }
  void Offset(float* out) const { Halves(2, -1, out); }
  __m256i Weights(int chunk) const { return Nibbles(chunk, 4); }
};

struct Q5_0 : Blocks32<22> {
  using Blocks32::Blocks32;
  void Scale(float* out) const { Halves(0, 1, out); }
  void Offset(float* out) const { Halves(0, 16, out); }
  __m256i Weights(int chunk) const {
    return _mm256_or_si256(Nibbles(chunk, 6), HighBits(chunk, 2));
  }
};

struct Q5_1 : Blocks32<24> {
  using Blocks32::Blocks32;
  void Scale(float* out) const { Halves(0, 1, out); }
  void Offset(float* out) const { Halves(2, -1, out); }
  __m256i Weights(int chunk) const {
    return _mm256_or_si256(Nibbles(chunk, 8), HighBits(chunk, 4));
  }
};

struct Q8_0 : Blocks32<34> {
  static constexpr bool kSigned = true;
  using Blocks32::Blocks32;
  void Scale(float* out) const { Halves(0, 1, out); }
  __m256i Weights(int chunk) const { return Load32(block[chunk] + 2); }
};

void StoreScaled(__m128i bytes, bool is_signed, float factor, float* out) {
  const __m128i high = _mm_srli_si128(bytes, 8);
  const __m256i first = is_signed ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
  const __m256i second = is_signed ? _mm256_cvtepi8_epi32(high) : _mm256_cvtepu8_epi32(high);
  const __m256 scale = _mm256_set1_ps(factor);
  _mm256_store_ps(out, _mm256_mul_ps(_mm256_cvtepi32_ps(first), scale));
  _mm256_store_ps(out + 8, _mm256_mul_ps(_mm256_cvtepi32_ps(second), scale));
}
__m128i Load16(const std::byte* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

struct Q2_K : Per16 {
  const std::byte* block;
  Q2_K(const std::byte* row, size_t group, size_t) : block(row + group * 84) {}
  void Scale(float* out) const {
    StoreScaled(_mm_and_si128(Load16(block), _mm_set1_epi8(15)), false, HalfAt(block + 80), out);
  }
  void Offset(float* out) const {
    StoreScaled(_mm_and_si128(_mm_srli_epi16(Load16(block), 4), _mm_set1_epi8(15)), false,
                HalfAt(block + 82), out);
  }
  __m256i Weights(int chunk) const {
    const __m256i bytes = Load32(block + 16 + chunk / 4 * 32);
    return _mm256_and_si256(ShiftRight(bytes, chunk % 4 * 2), Low(3));
  }
};

struct Q3_K : Per16 {
  const std::byte* block;
  Q3_K(const std::byte* row, size_t group, size_t) : block(row + group * 110) {}
  void Scale(float* out) const { StoreScaled(Scales8(), true, HalfAt(block + 108), out); }
  void Offset(float* out) const { StoreScaled(Scales8(), true, 4 * HalfAt(block + 108), out); }
  __m256i Weights(int chunk) const {
    const __m256i low =
        _mm256_and_si256(ShiftRight(Load32(block + 32 + chunk / 4 * 32), chunk % 4 * 2), Low(3));
    const __m256i high = _mm256_and_si256(ShiftRight(Load32(block), chunk), Low(1));
    return _mm256_or_si256(low, _mm256_slli_epi16(high, 2));
  }

 private:
  __m128i Scales8() const {
    uint64_t low;
    int high;
    std::memcpy(&low, block + 96, sizeof(low));
    std::memcpy(&high, block + 104, sizeof(high));
    const __m128i nibbles = _mm_set_epi64x(static_cast<int64_t>(low >> 4 & 0x0f0f0f0f0f0f0f0f),
                                           static_cast<int64_t>(low & 0x0f0f0f0f0f0f0f0f));
    const __m128i pairs = _mm_and_si128(
        _mm_srlv_epi32(_mm_set1_epi32(high), _mm_setr_epi32(0, 2, 4, 6)), _mm_set1_epi8(3));
    return _mm_sub_epi8(_mm_or_si128(nibbles, _mm_slli_epi16(pairs, 4)), _mm_set1_epi8(32));
  }
};

// d, dmin and eight pairs of 6 bits, as DecodeScalesK4 reads them.
struct Scales4K : Per32 {
  const std::byte* block;
  explicit Scales4K(const std::byte* block) : block(block) {
    std::memcpy(packed, block + 4, sizeof(packed));
  }
  void Scale(float* out) const {
    const uint64_t high = (packed[2] & 0x0f0f0f0f) | (packed[0] >> 2 & 0x30303030);
    Times(high << 32 | (packed[0] & 0x3f3f3f3f), HalfAt(block), out);
  }
  void Offset(float* out) const {
    const uint64_t high = (packed[2] >> 4 & 0x0f0f0f0f) | (packed[1] >> 2 & 0x30303030);
    Times(high << 32 | (packed[1] & 0x3f3f3f3f), HalfAt(block + 2), out);
  }

 private:
  static void Times(uint64_t bytes, float factor, float* out) {
    const __m256i wide = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(bytes)));
    _mm256_store_ps(out, _mm256_mul_ps(_mm256_cvtepi32_ps(wide), _mm256_set1_ps(factor)));
  }
  uint32_t packed[3];
};

struct Q4_K : Scales4K {
  Q4_K(const std::byte* row, size_t group, size_t) : Scales4K(row + group * 144) {}
  __m256i Weights(int chunk) const {
    const __m256i bytes = Load32(block + 16 + chunk / 2 * 32);
    return _mm256_and_si256(ShiftRight(bytes, chunk % 2 * 4), Low(15));
  }
};

struct Q5_K : Scales4K {
  Q5_K(const std::byte* row, size_t group, size_t) : Scales4K(row + group * 176) {}
  __m256i Weights(int chunk) const {
    const __m256i low =
        _mm256_and_si256(ShiftRight(Load32(block + 48 + chunk / 2 * 32), chunk % 2 * 4), Low(15));
    const __m256i high = _mm256_and_si256(ShiftRight(Load32(block + 16), chunk), Low(1));
    return _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
  }
};

struct Q6_K : Per16 {
  const std::byte* block;
  Q6_K(const std::byte* row, size_t group, size_t) : block(row + group * 210) {}
  void Scale(float* out) const { StoreScaled(Load16(block + 192), true, HalfAt(block + 208), out); }
  void Offset(float* out) const {
    StoreScaled(Load16(block + 192), true, 32 * HalfAt(block + 208), out);
  }
  __m256i Weights(int chunk) const {
    const int half = chunk / 4;
    const __m256i nibbles = _mm256_and_si256(
        ShiftRight(Load32(block + half * 64 + chunk % 2 * 32), chunk % 4 / 2 * 4), Low(15));
    const __m256i high =
        _mm256_and_si256(ShiftRight(Load32(block + 128 + half * 32), chunk % 4 * 2), Low(3));
    return _mm256_or_si256(nibbles, _mm256_slli_epi16(high, 4));
  }
};

// The values of the codes (quantized_blocks.cc), signed: -127 times 127 twice fits into 16 bits.
__m256i LookUp(const int8_t (&table)[16], __m256i codes) {
  const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(values), codes);
}

struct IQ4_NL : Blocks32<18> {
  static constexpr bool kSigned = true;
  using Blocks32::Blocks32;
  void Scale(float* out) const { Halves(0, 1, out); }
  __m256i Weights(int chunk) const { return LookUp(kIq4Values, Nibbles(chunk, 2)); }
};

struct MXFP4 : Blocks32<17> {
  static constexpr bool kSigned = true;
  using Blocks32::Blocks32;
  void Scale(float* out) const {
    for (size_t i = 0; i < 8; ++i) {
      // Half of what E8M0 says, as HalfOfE8M0 in quantized_blocks.cc.
      const uint32_t exponent = static_cast<uint32_t>(block[i][0]);
      const uint32_t bits = exponent < 2 ? 0x00200000u << exponent : (exponent - 1u) << 23;
      std::memcpy(&out[i], &bits, sizeof(bits));
      if (i >= count) out[i] = 0.0f;
    }
  }
  __m256i Weights(int chunk) const { return LookUp(kMxfp4Values, Nibbles(chunk, 1)); }
};

struct IQ4_XS : Per32 {
  static constexpr bool kSigned = true;
  const std::byte* block;
  IQ4_XS(const std::byte* row, size_t group, size_t) : block(row + group * 136) {}
  void Scale(float* out) const {
    // The layout is that of DecodeIQ4_XS in quantized_blocks.cc.
    int low;
    uint16_t high;
    std::memcpy(&low, block + 4, sizeof(low));
    std::memcpy(&high, block + 2, sizeof(high));
    const __m256i lows = _mm256_and_si256(
        _mm256_srlv_epi32(_mm256_set1_epi32(low), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28)),
        _mm256_set1_epi32(15));
    const __m256i highs = _mm256_and_si256(
        _mm256_srlv_epi32(_mm256_set1_epi32(high), _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14)),
        _mm256_set1_epi32(3));
    const __m256i scales =
        _mm256_sub_epi32(_mm256_or_si256(lows, _mm256_slli_epi32(highs, 4)), _mm256_set1_epi32(32));
    _mm256_store_ps(out, _mm256_mul_ps(_mm256_cvtepi32_ps(scales), _mm256_set1_ps(HalfAt(block))));
  }
  __m256i Weights(int chunk) const {
    const __m128i bytes = Load16(block + 8 + chunk * 16);
    return LookUp(kIq4Values,
                  _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes), Low(15)));
  }
};

template <class Format, size_t kTokens>
void DotTokens(const std::byte* row, size_t row_bytes, size_t cols, const Activations8& x,
               size_t first, float* out, size_t out_stride) {
  __m256 sums[kTokens][2];
  for (size_t t = 0; t < kTokens; ++t) sums[t][0] = sums[t][1] = _mm256_setzero_ps();
  const size_t groups = (cols + kGroup - 1) / kGroup;
  const size_t group_bytes = row_bytes / groups;
  for (size_t group = 0; group < groups; ++group) {
    const std::byte* ahead = row + group * group_bytes + kPrefetchBytes;
    for (size_t i = 0; i < group_bytes; i += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(ahead + i), _MM_HINT_T0);
    }
    const Format format(row, group, cols);
    alignas(32) float scale[Format::kScales];
    alignas(32) float scales[kTokens][Format::kScales];
    format.Scale(scale);
    for (size_t t = 0; t < kTokens; ++t) {
      Format::Multiply(scale, x.scales + (first + t) * x.stride / 32 + group * 8, scales[t]);
    }
    if constexpr (!Format::kSigned) {
      alignas(32) float offset[Format::kScales];
      format.Offset(offset);
      for (size_t t = 0; t < kTokens; ++t) {
        const float* of_group = Format::Sums(x, first + t) + group * Format::kScales;
        for (size_t i = 0; i < Format::kScales; i += 8) {
          sums[t][0] = _mm256_fnmadd_ps(_mm256_load_ps(offset + i), _mm256_loadu_ps(of_group + i),
                                        sums[t][0]);
        }
      }
    }
#pragma GCC unroll 8
    for (int chunk = 0; chunk < 8; ++chunk) {
      const __m256i weights = format.Weights(chunk);
      for (size_t t = 0; t < kTokens; ++t) {
        const int8_t* at = x.values + (first + t) * x.stride + group * kGroup + chunk * kChunk;
        const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
        __m256i products;
        if constexpr (Format::kSigned) {
          products = MultiplyUnsigned(_mm256_abs_epi8(weights), _mm256_sign_epi8(values, weights));
        } else {
          products = MultiplyUnsigned(weights, values);
        }
        sums[t][chunk % 2] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products),
                                             Format::Spread(scales[t], chunk), sums[t][chunk % 2]);
      }
    }
  }
  for (size_t t = 0; t < kTokens; ++t) {
    out[(first + t) * out_stride] = SumLanes(_mm256_add_ps(sums[t][0], sums[t][1]));
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
  static __m256 Load(const std::byte* p) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  }
};
struct F16 {
  static constexpr size_t kBytes = 2;
  static __m256 Load(const std::byte* p) { return _mm256_cvtph_ps(Load16(p)); }
};
struct BF16 {
  static constexpr size_t kBytes = 2;
  static __m256 Load(const std::byte* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(Load16(p)), 16));
  }
};

template <class Format, size_t kTokens>
void FloatDotTokens(const std::byte* row, size_t cols, const float* x, size_t x_stride, float* out,
                    size_t out_stride) {
  __m256 sums[kTokens][2];
  for (size_t t = 0; t < kTokens; ++t) sums[t][0] = sums[t][1] = _mm256_setzero_ps();
  size_t i = 0;
  for (; i + 16 <= cols; i += 16) {
    for (size_t j = 0; j < 2; ++j) {
      const __m256 weights = Format::Load(row + (i + 8 * j) * Format::kBytes);
      for (size_t t = 0; t < kTokens; ++t) {
        sums[t][j] =
            _mm256_fmadd_ps(weights, _mm256_loadu_ps(x + t * x_stride + i + 8 * j), sums[t][j]);
      }
    }
  }
  if (i < cols) {
    // The end of the row, filled up with zeros.
    const size_t rest = cols - i;
    alignas(32) std::byte last[16 * Format::kBytes] = {};
    std::memcpy(last, row + i * Format::kBytes, rest * Format::kBytes);
    for (size_t t = 0; t < kTokens; ++t) {
      alignas(32) float end[16] = {};
      std::memcpy(end, x + t * x_stride + i, rest * sizeof(float));
      for (size_t j = 0; j < 2; ++j) {
        sums[t][j] = _mm256_fmadd_ps(Format::Load(last + 8 * j * Format::kBytes),
                                     _mm256_load_ps(end + 8 * j), sums[t][j]);
      }
    }
  }
  for (size_t t = 0; t < kTokens; ++t) {
    out[t * out_stride] = SumLanes(_mm256_add_ps(sums[t][0], sums[t][1]));
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
      .isa = Isa::kAvx2, .block_dot = {}, .float_dot = {}, .quantize_row = Avx2QuantizeRow};
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

const QuantizedKernels& Avx2QuantizedKernels() {
  static constexpr QuantizedKernels kTable = MakeTable();
  return kTable;
}

}  // namespace rag
