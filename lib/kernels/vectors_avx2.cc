// The AVX2 table.
#include <immintrin.h>

#include "lib/kernels/simd_rows.h"
#include "lib/kernels/simd_vector.h"
#include "lib/kernels/tables.h"
#include "lib/kernels/vectors_tables.h"

namespace rag {
namespace {

struct V {
  using Reg = __m256;
  static constexpr size_t kWidth = 8;
  static Reg Load(const float* p) { return _mm256_loadu_ps(p); }
  static Reg LoadFirst(const float* p, size_t n) {
    alignas(32) float copy[kWidth] = {};
    for (size_t i = 0; i < n; ++i) copy[i] = p[i];
    return _mm256_load_ps(copy);
  }
  static Reg Zero() { return _mm256_setzero_ps(); }
  static Reg Add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
  static Reg Sub(Reg a, Reg b) { return _mm256_sub_ps(a, b); }
  static Reg Abs(Reg a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
  static Reg MulAdd(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  static float SumLanes(Reg a) {
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
  }
};

// The last n < 8 elements of kBytes each, the others zero.
template <size_t kBytes>
__m128i LoadLast(const std::byte* from, size_t n) {
  alignas(16) std::byte copy[16] = {};
  __builtin_memcpy(copy, from, n * kBytes);
  return _mm_load_si128(reinterpret_cast<const __m128i*>(copy));
}

__m128i Load16(const std::byte* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

__m128i Load8(const std::byte* from) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
}

struct F32 {
  static __m256 Load(const std::byte* row, size_t i) {
    return V::Load(reinterpret_cast<const float*>(row) + i);
  }
  static __m256 LoadFirst(const std::byte* row, size_t i, size_t n) {
    return V::LoadFirst(reinterpret_cast<const float*>(row) + i, n);
  }
};

struct F16 {
  static __m256 Load(const std::byte* row, size_t i) {
    return _mm256_cvtph_ps(Load16(row + 2 * i));
  }
  static __m256 LoadFirst(const std::byte* row, size_t i, size_t n) {
    return _mm256_cvtph_ps(LoadLast<2>(row + 2 * i, n));
  }
};

struct BF16 {
  static __m256 Widen(__m128i bits) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  static __m256 Load(const std::byte* row, size_t i) { return Widen(Load16(row + 2 * i)); }
  static __m256 LoadFirst(const std::byte* row, size_t i, size_t n) {
    return Widen(LoadLast<2>(row + 2 * i, n));
  }
};

struct I8 {
  static __m256 Widen(__m128i bytes) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)); }
  static __m256 Load(const std::byte* row, size_t i) { return Widen(Load8(row + i)); }
  static __m256 LoadFirst(const std::byte* row, size_t i, size_t n) {
    return Widen(LoadLast<1>(row + i, n));
  }
};

struct U8 {
  static __m256 Widen(__m128i bytes) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)); }
  static __m256 Load(const std::byte* row, size_t i) { return Widen(Load8(row + i)); }
  static __m256 LoadFirst(const std::byte* row, size_t i, size_t n) {
    return Widen(LoadLast<1>(row + i, n));
  }
};

template <class L>
constexpr auto Dot = simd::ReduceRow<V, L, simd::DotStep<V>>;
template <class L>
constexpr auto L2 = simd::ReduceRow<V, L, simd::L2Step<V>>;
template <class L>
constexpr auto L1 = simd::ReduceRow<V, L, simd::L1Step<V>>;

float DotF32(const float* query, const std::byte* row, size_t n) {
  return Avx2Kernels().dot(query, reinterpret_cast<const float*>(row), n);
}

float L2F32(const float* query, const std::byte* row, size_t n) {
  return Avx2Kernels().l2_squared(query, reinterpret_cast<const float*>(row), n);
}

uint64_t Word(const std::byte* at) {
  uint64_t word;
  __builtin_memcpy(&word, at, sizeof(word));
  return word;
}

uint64_t Hamming(const std::byte* a, const std::byte* b, size_t bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes; i += 8) {
    sum += static_cast<uint64_t>(__builtin_popcountll(Word(a + i) ^ Word(b + i)));
  }
  return sum;
}

uint64_t Common(const std::byte* a, const std::byte* b, size_t bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes; i += 8) {
    sum += static_cast<uint64_t>(__builtin_popcountll(Word(a + i) & Word(b + i)));
  }
  return sum;
}

constexpr size_t kAhead = 4;

void Fetch(const std::byte* code, size_t bytes) {
  for (size_t j = 0; j < bytes; j += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(code + j), _MM_HINT_T0);
  }
}

int32_t SumLanes(__m256i a) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1)));
}

// Widened to 16 bits first: sums of u8 x i8 pairs in 16 bits, as maddubs gives them, saturate.
void CodeDots(const int8_t* query, const std::byte* const* codes, size_t count, size_t bytes,
              int32_t* out) {
  for (size_t i = 0; i < kAhead && i < count; ++i) Fetch(codes[i], bytes);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) Fetch(codes[i + kAhead], bytes);
    __m256i even = _mm256_setzero_si256(), odd = even;
    for (size_t j = 0; j < bytes; j += 32) {
      const auto* const q = reinterpret_cast<const std::byte*>(query + j);
      even = _mm256_add_epi32(even, _mm256_madd_epi16(_mm256_cvtepu8_epi16(Load16(codes[i] + j)),
                                                      _mm256_cvtepi8_epi16(Load16(q))));
      odd = _mm256_add_epi32(odd, _mm256_madd_epi16(_mm256_cvtepu8_epi16(Load16(codes[i] + j + 16)),
                                                    _mm256_cvtepi8_epi16(Load16(q + 16))));
    }
    out[i] = SumLanes(_mm256_add_epi32(even, odd));
  }
}

void CodePairs(const std::byte* from, const std::byte* const* codes, size_t count, size_t bytes,
               int32_t* out) {
  const __m256i middle = _mm256_set1_epi16(128);
  const __m256i values =
      _mm256_setr_epi16(0, 0, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  static_assert(kCodeHeader == 4);
  for (size_t i = 0; i < kAhead && i < count; ++i) Fetch(codes[i], bytes);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) Fetch(codes[i + kAhead], bytes);
    __m256i sum = _mm256_setzero_si256();
    for (size_t j = 0; j < bytes; j += 16) {
      const __m256i a = _mm256_sub_epi16(_mm256_cvtepu8_epi16(Load16(from + j)), middle);
      __m256i b = _mm256_sub_epi16(_mm256_cvtepu8_epi16(Load16(codes[i] + j)), middle);
      if (j == 0) b = _mm256_and_si256(b, values);
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
    }
    out[i] = SumLanes(sum);
  }
}

}  // namespace

const VectorKernels& Avx2VectorKernels() {
  static constexpr VectorKernels kTable = {
      .isa = Isa::kAvx2,
      .dot = {DotF32, Dot<F16>, Dot<BF16>, Dot<I8>, Dot<U8>},
      .l2_squared = {L2F32, L2<F16>, L2<BF16>, L2<I8>, L2<U8>},
      .l1 = {L1<F32>, L1<F16>, L1<BF16>, L1<I8>, L1<U8>},
      .hamming = Hamming,
      .common = Common,
      .code_dots = CodeDots,
      .code_pairs = CodePairs,
  };
  return kTable;
}

}  // namespace rag
