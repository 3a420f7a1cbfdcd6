// The AVX-512 table (F, BW, VL, VNNI).
#include "lib/kernels/avx512_intrinsics.h"
#include "lib/kernels/simd_rows.h"
#include "lib/kernels/simd_vector.h"
#include "lib/kernels/tables.h"
#include "lib/kernels/vectors_tables.h"

namespace rag {
namespace {

struct V {
  using Reg = __m512;
  static constexpr size_t kWidth = 16;
  static __mmask16 First(size_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
  static Reg Load(const float* p) { return _mm512_loadu_ps(p); }
  static Reg LoadFirst(const float* p, size_t n) { return _mm512_maskz_loadu_ps(First(n), p); }
  static Reg Zero() { return _mm512_setzero_ps(); }
  static Reg Add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  static Reg Sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  static Reg Abs(Reg a) { return _mm512_abs_ps(a); }
  static Reg MulAdd(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  static float SumLanes(Reg a) { return _mm512_reduce_add_ps(a); }
};

struct F32 {
  static __m512 Load(const std::byte* row, size_t i) {
    return V::Load(reinterpret_cast<const float*>(row) + i);
  }
  static __m512 LoadFirst(const std::byte* row, size_t i, size_t n) {
    return V::LoadFirst(reinterpret_cast<const float*>(row) + i, n);
  }
};

struct F16 {
  static __m512 Load(const std::byte* row, size_t i) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * i)));
  }
  static __m512 LoadFirst(const std::byte* row, size_t i, size_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(V::First(n), row + 2 * i));
  }
};

struct BF16 {
  static __m512 Widen(__m256i bits) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  static __m512 Load(const std::byte* row, size_t i) {
    return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * i)));
  }
  static __m512 LoadFirst(const std::byte* row, size_t i, size_t n) {
    return Widen(_mm256_maskz_loadu_epi16(V::First(n), row + 2 * i));
  }
};

struct I8 {
  static __m512 Load(const std::byte* row, size_t i) {
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + i))));
  }
  static __m512 LoadFirst(const std::byte* row, size_t i, size_t n) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(V::First(n), row + i)));
  }
};

struct U8 {
  static __m512 Load(const std::byte* row, size_t i) {
    return _mm512_cvtepi32_ps(
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + i))));
  }
  static __m512 LoadFirst(const std::byte* row, size_t i, size_t n) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(V::First(n), row + i)));
  }
};

template <class L>
constexpr auto Dot = simd::ReduceRow<V, L, simd::DotStep<V>>;
template <class L>
constexpr auto L2 = simd::ReduceRow<V, L, simd::L2Step<V>>;
template <class L>
constexpr auto L1 = simd::ReduceRow<V, L, simd::L1Step<V>>;

float DotF32(const float* query, const std::byte* row, size_t n) {
  return Avx512Kernels().dot(query, reinterpret_cast<const float*>(row), n);
}

float L2F32(const float* query, const std::byte* row, size_t n) {
  return Avx512Kernels().l2_squared(query, reinterpret_cast<const float*>(row), n);
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

// How many codes ahead are fetched: enough to cover a memory's latency with some 30 ns each.
constexpr size_t kAhead = 4;

void Fetch(const std::byte* code, size_t bytes) {
  for (size_t j = 0; j < bytes; j += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(code + j), _MM_HINT_T0);
  }
}

void CodeDots(const int8_t* query, const std::byte* const* codes, size_t count, size_t bytes,
              int32_t* out) {
  for (size_t i = 0; i < kAhead && i < count; ++i) Fetch(codes[i], bytes);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) Fetch(codes[i + kAhead], bytes);
    __m512i even = _mm512_setzero_si512(), odd = even;
    size_t j = 0;
    for (; j + 128 <= bytes; j += 128) {
      even =
          _mm512_dpbusd_epi32(even, _mm512_load_si512(codes[i] + j), _mm512_load_si512(query + j));
      odd = _mm512_dpbusd_epi32(odd, _mm512_load_si512(codes[i] + j + 64),
                                _mm512_load_si512(query + j + 64));
    }
    if (j < bytes) {
      even =
          _mm512_dpbusd_epi32(even, _mm512_load_si512(codes[i] + j), _mm512_load_si512(query + j));
    }
    out[i] = _mm512_reduce_add_epi32(_mm512_add_epi32(even, odd));
  }
}

// a unsigned times (b - 128) signed, and of that 128 times the sum of (b - 128).
void CodePairs(const std::byte* from, const std::byte* const* codes, size_t count, size_t bytes,
               int32_t* out) {
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  const __m512i ones = _mm512_set1_epi8(1);
  const __mmask64 values = ~__mmask64{0} << kCodeHeader;
  for (size_t i = 0; i < kAhead && i < count; ++i) Fetch(codes[i], bytes);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) Fetch(codes[i + kAhead], bytes);
    __m512i dots = _mm512_setzero_si512(), sums = dots;
    for (size_t j = 0; j < bytes; j += 64) {
      const __mmask64 mask = j == 0 ? values : ~__mmask64{0};
      const __m512i b =
          _mm512_maskz_mov_epi8(mask, _mm512_xor_si512(_mm512_load_si512(codes[i] + j), flip));
      dots = _mm512_dpbusd_epi32(dots, _mm512_load_si512(from + j), b);
      sums = _mm512_dpbusd_epi32(sums, ones, b);
    }
    out[i] = _mm512_reduce_add_epi32(_mm512_sub_epi32(dots, _mm512_slli_epi32(sums, 7)));
  }
}

}  // namespace

const VectorKernels& Avx512VectorKernels() {
  static constexpr VectorKernels kTable = {
      .isa = Isa::kAvx512,
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
