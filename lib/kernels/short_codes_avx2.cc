// The AVX2 table.
#include <immintrin.h>

#include "lib/kernels/short_codes_tables.h"

namespace rag {
namespace {

constexpr size_t kAhead = 4;

void Fetch(const std::byte* code, size_t bytes) {
  for (size_t j = 0; j < bytes; j += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(code + j), _MM_HINT_T0);
  }
}

__m256i Load(const void* from) { return _mm256_load_si256(static_cast<const __m256i*>(from)); }

int32_t SumLanes(__m256i a) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1)));
}

// Pairs of products stay below 2 * 15 * 127: 16 bits hold them, and the sum of both halves.
void NibbleDots(const int8_t* query, const std::byte* const* codes, size_t count, size_t bytes,
                int32_t* out) {
  const __m256i low = _mm256_set1_epi8(0x0F), ones = _mm256_set1_epi16(1);
  for (size_t i = 0; i < kAhead && i < count; ++i) Fetch(codes[i], bytes);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) Fetch(codes[i + kAhead], bytes);
    __m256i sum = _mm256_setzero_si256();
    for (size_t j = 0; j < bytes; j += 32) {
      const __m256i both = Load(codes[i] + j);
      const int8_t* const at = query + j / 64 * 128 + j % 64;
      const __m256i pairs = _mm256_add_epi16(
          _mm256_maddubs_epi16(_mm256_and_si256(both, low), Load(at)),
          _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(both, 4), low), Load(at + 64)));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
    out[i] = SumLanes(sum);
  }
}

// Bits of each byte, looked up by halves (Mula, Kurz and Lemire, "Faster Population Counts Using
// AVX2 Instructions", 2018).
__m256i ByteCounts(__m256i bits) {
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2,
                                         1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(0x0F);
  return _mm256_add_epi8(
      _mm256_shuffle_epi8(table, _mm256_and_si256(bits, low)),
      _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(bits, 4), low)));
}

void BitDots(const std::byte* planes, const std::byte* const* codes, size_t count, size_t bytes,
             int32_t* out) {
  const __m256i zero = _mm256_setzero_si256();
  for (size_t i = 0; i < kAhead && i < count; ++i) Fetch(codes[i], bytes);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) Fetch(codes[i + kAhead], bytes);
    __m256i sums[kQueryPlanes] = {};
    for (size_t j = 0; j < bytes; j += 32) {
      const __m256i code = Load(codes[i] + j);
      const std::byte* const at = planes + j / 64 * 64 * kQueryPlanes + j % 64;
      for (size_t plane = 0; plane < kQueryPlanes; ++plane) {
        const __m256i counts = ByteCounts(_mm256_and_si256(code, Load(at + plane * 64)));
        sums[plane] = _mm256_add_epi64(sums[plane], _mm256_sad_epu8(counts, zero));
      }
    }
    __m256i sum = zero;
    for (size_t plane = 0; plane < kQueryPlanes; ++plane) {
      const __m256i weighted = _mm256_slli_epi64(sums[plane], static_cast<int>(plane));
      sum = plane + 1 < kQueryPlanes ? _mm256_add_epi64(sum, weighted)
                                     : _mm256_sub_epi64(sum, weighted);
    }
    // The lower halves alone: 32 bits hold each sum.
    out[i] = SumLanes(_mm256_and_si256(sum, _mm256_set1_epi64x(0xFFFFFFFF)));
  }
}

// One step within registers: other[i] + sign[i] * own[i].
template <class Other>
void Step(float* x, size_t n, __m256 sign, Other other) {
  for (size_t i = 0; i < n; i += 8) {
    const __m256 own = _mm256_loadu_ps(x + i);
    _mm256_storeu_ps(x + i, _mm256_fmadd_ps(sign, own, other(own)));
  }
}

void Hadamard(float* x, size_t n) {
  if (n < 8) {
    ScalarShortCodeKernels().hadamard(x, n);
    return;
  }
  Step(x, n, _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1),
       [](__m256 a) { return _mm256_permute_ps(a, 0xB1); });
  Step(x, n, _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1),
       [](__m256 a) { return _mm256_permute_ps(a, 0x4E); });
  Step(x, n, _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1),
       [](__m256 a) { return _mm256_permute2f128_ps(a, a, 1); });
  for (size_t half = 8; half < n; half *= 2) {
    for (size_t first = 0; first < n; first += 2 * half) {
      for (size_t i = first; i < first + half; i += 8) {
        const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + half);
        _mm256_storeu_ps(x + i, _mm256_add_ps(a, b));
        _mm256_storeu_ps(x + i + half, _mm256_sub_ps(a, b));
      }
    }
  }
}

}  // namespace

const ShortCodeKernels& Avx2ShortCodeKernels() {
  static constexpr ShortCodeKernels kTable = {
      .isa = Isa::kAvx2,
      .nibble_dots = NibbleDots,
      .bit_dots = BitDots,
      .hadamard = Hadamard,
  };
  return kTable;
}

}  // namespace rag
