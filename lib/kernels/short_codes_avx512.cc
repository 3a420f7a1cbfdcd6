// The AVX-512 table (F, BW, VL, VNNI; VPOPCNTDQ where the processor has it).
#include "lib/kernels/avx512_intrinsics.h"
#include "lib/kernels/short_codes_tables.h"

namespace rag {
namespace {

constexpr size_t kAhead = 4;

void Fetch(const std::byte* code, size_t bytes) {
  for (size_t j = 0; j < bytes; j += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(code + j), _MM_HINT_T0);
  }
}

void NibbleDots(const int8_t* query, const std::byte* const* codes, size_t count, size_t bytes,
                int32_t* out) {
  const __m512i low = _mm512_set1_epi8(0x0F);
  for (size_t i = 0; i < kAhead && i < count; ++i) Fetch(codes[i], bytes);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) Fetch(codes[i + kAhead], bytes);
    __m512i lower = _mm512_setzero_si512(), upper = lower;
    for (size_t j = 0; j < bytes; j += 64) {
      const __m512i both = _mm512_load_si512(codes[i] + j);
      lower =
          _mm512_dpbusd_epi32(lower, _mm512_and_si512(both, low), _mm512_load_si512(query + 2 * j));
      upper = _mm512_dpbusd_epi32(upper, _mm512_and_si512(_mm512_srli_epi16(both, 4), low),
                                  _mm512_load_si512(query + 2 * j + 64));
    }
    out[i] = _mm512_reduce_add_epi32(_mm512_add_epi32(lower, upper));
  }
}

__attribute__((target("avx512vpopcntdq"))) void BitDots(const std::byte* planes,
                                                        const std::byte* const* codes, size_t count,
                                                        size_t bytes, int32_t* out) {
  for (size_t i = 0; i < kAhead && i < count; ++i) Fetch(codes[i], bytes);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) Fetch(codes[i + kAhead], bytes);
    __m512i sums[kQueryPlanes] = {};
    for (size_t j = 0; j < bytes; j += 64) {
      const __m512i code = _mm512_load_si512(codes[i] + j);
#pragma GCC unroll 4
      for (size_t plane = 0; plane < kQueryPlanes; ++plane) {
        const __m512i bits = _mm512_load_si512(planes + j * kQueryPlanes + plane * 64);
        sums[plane] =
            _mm512_add_epi64(sums[plane], _mm512_popcnt_epi64(_mm512_and_si512(code, bits)));
      }
    }
    __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (size_t plane = 0; plane < kQueryPlanes; ++plane) {
      const __m512i weighted = _mm512_slli_epi64(sums[plane], static_cast<unsigned>(plane));
      sum = plane + 1 < kQueryPlanes ? _mm512_add_epi64(sum, weighted)
                                     : _mm512_sub_epi64(sum, weighted);
    }
    out[i] = static_cast<int32_t>(_mm512_reduce_add_epi64(sum));
  }
}

template <class Other>
void Step(float* x, size_t n, __m512 sign, Other other) {
  for (size_t i = 0; i < n; i += 16) {
    const __m512 own = _mm512_loadu_ps(x + i);
    _mm512_storeu_ps(x + i, _mm512_fmadd_ps(sign, own, other(own)));
  }
}

// 1 in `block` elements, -1 in as many, and so on.
__m512 Signs(int block) {
  alignas(64) float signs[16];
  for (int i = 0; i < 16; ++i) signs[i] = (i & block) == 0 ? 1.0f : -1.0f;
  return _mm512_load_ps(signs);
}

void Hadamard(float* x, size_t n) {
  if (n < 16) {
    Avx2ShortCodeKernels().hadamard(x, n);
    return;
  }
  Step(x, n, Signs(1), [](__m512 a) { return _mm512_permute_ps(a, 0xB1); });
  Step(x, n, Signs(2), [](__m512 a) { return _mm512_permute_ps(a, 0x4E); });
  Step(x, n, Signs(4), [](__m512 a) { return _mm512_shuffle_f32x4(a, a, 0xB1); });
  Step(x, n, Signs(8), [](__m512 a) { return _mm512_shuffle_f32x4(a, a, 0x4E); });
  for (size_t half = 16; half < n; half *= 2) {
    for (size_t first = 0; first < n; first += 2 * half) {
      for (size_t i = first; i < first + half; i += 16) {
        const __m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + i + half);
        _mm512_storeu_ps(x + i, _mm512_add_ps(a, b));
        _mm512_storeu_ps(x + i + half, _mm512_sub_ps(a, b));
      }
    }
  }
}

}  // namespace

const ShortCodeKernels& Avx512ShortCodeKernels() {
  static const ShortCodeKernels kTable = {
      .isa = Isa::kAvx512,
      .nibble_dots = NibbleDots,
      .bit_dots =
          __builtin_cpu_supports("avx512vpopcntdq") ? BitDots : Avx2ShortCodeKernels().bit_dots,
      .hadamard = Hadamard,
  };
  return kTable;
}

}  // namespace rag
