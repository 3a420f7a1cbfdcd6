// Activations quantized with AVX2, a group of 32 at a time.
#include <immintrin.h>

#include "lib/kernels/quantized_tables.h"

namespace rag {
namespace {

constexpr size_t kLanes = 8;
constexpr size_t kRegs = kActivationGroup / kLanes;

// Elements [at, at + 8) of x [cols], zeros behind its end.
__m256 LoadAt(const float* x, size_t at, size_t cols) {
  if (at + kLanes <= cols) return _mm256_loadu_ps(x + at);
  if (at >= cols) return _mm256_setzero_ps();
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i first = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(cols - at)), lanes);
  return _mm256_maskload_ps(x + at, first);
}

// The bits of the largest magnitude of x [begin, end). Without their signs, numbers are ordered as
// their bits are; infinite and NaN come last.
uint32_t LargestBits(const float* x, size_t begin, size_t end, size_t cols) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i largest = _mm256_setzero_si256();
  for (size_t at = begin; at < end; at += kLanes) {
    const __m256i bits = _mm256_castps_si256(LoadAt(x, at, cols));
    largest = _mm256_max_epi32(largest, _mm256_and_si256(bits, magnitude));
  }
  __m128i of_all =
      _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
  of_all = _mm_max_epi32(of_all, _mm_shuffle_epi32(of_all, 0x4e));
  of_all = _mm_max_epi32(of_all, _mm_shuffle_epi32(of_all, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(of_all));
}

void QuantizeGroup(const float* x, size_t begin, size_t cols, float scale, float inverse,
                   const ActivationRow& out) {
  const __m256 factor = _mm256_set1_ps(inverse);
  __m256i whole[kRegs];
#pragma GCC unroll 4
  for (size_t i = 0; i < kRegs; ++i) {
    whole[i] = _mm256_cvtps_epi32(_mm256_mul_ps(LoadAt(x, begin + i * kLanes, cols), factor));
  }
  // The packing works on halves of registers.
  const __m256i values =
      _mm256_permutevar8x32_epi32(_mm256_packs_epi16(_mm256_packs_epi32(whole[0], whole[1]),
                                                     _mm256_packs_epi32(whole[2], whole[3])),
                                  _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.values + begin), values);
  const __m256i fours =
      _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), values), _mm256_set1_epi16(1));
  const __m256i eights = _mm256_add_epi32(fours, _mm256_shuffle_epi32(fours, 0x4e));
  const __m256i sixteens = _mm256_add_epi32(eights, _mm256_shuffle_epi32(eights, 0xb1));
  const int sums[2] = {_mm256_cvtsi256_si32(sixteens),
                       _mm_cvtsi128_si32(_mm256_extracti128_si256(sixteens, 1))};
  StoreGroupSums(begin / kActivationGroup, scale, sums, out);
}

}  // namespace

void Avx2QuantizeRow(const float* x, size_t cols, size_t padded, ScaleOf scale_of,
                     const ActivationRow& out) {
  constexpr uint32_t kInfinite = 0x7f800000;
  constexpr uint32_t kLeastNormal = 1u << 23;
  const size_t shared = scale_of == ScaleOf::k32 ? kActivationGroup : 8 * kActivationGroup;
  for (size_t first = 0; first < padded; first += shared) {
    const uint32_t bits = LargestBits(x, first, first + shared, cols);
    if (bits >= kInfinite) return ScalarQuantizeRow(x, cols, padded, scale_of, out);
    float largest;
    __builtin_memcpy(&largest, &bits, sizeof(bits));
    const bool usable = bits >= kLeastNormal;
    const float inverse = usable ? 127.0f / largest : 0.0f;
    const float scale = usable ? largest / 127.0f : 0.0f;
    for (size_t begin = first; begin < first + shared; begin += kActivationGroup) {
      QuantizeGroup(x, begin, cols, scale, inverse, out);
    }
  }
}

}  // namespace rag
