// The vector type of AVX-512 (see simd_vector.h): 16 lanes, masks for the ends. For *_avx512.cc and
// *_amx.cc alone.
#pragma once

#include <cstddef>

#include "lib/kernels/avx512_intrinsics.h"

namespace rag {
namespace {  // of each file that includes it, as simd_vector.h explains

struct Avx512 {
  using Reg = __m512;
  static constexpr size_t kWidth = 16;
  static constexpr size_t kReduceRows = 4;
  // 12 rows of 2 registers leave 8 of the 32 for B and the factors.
  static constexpr size_t kTileRows = 12;
  static constexpr size_t kTileRegs = 24;
  static constexpr size_t kRowGroups = 1;
  // 96 kB of a panel, and two of them a block, for a second level of 1 to 2 MB (Zen 4, Intel's
  // servers): C is read and written half as often as with 48 kB, which encodes BERT-base's shape 2%
  // faster on Zen 5 (medians of five in turns).
  static constexpr size_t kBlockRows = 768;
  static constexpr size_t kBlockBytes = 256 << 10;
  // Of 128 bytes. With it BERT-base's shape is encoded in 0.85 of the time in f32 on Zen 5, and in
  // 0.94 in bf16 and int8 (medians of alternating runs).
  static constexpr size_t kPrefetchRows = 64;

  static __mmask16 First(size_t n) { return static_cast<__mmask16>((1u << n) - 1u); }

  static Reg Load(const float* p) { return _mm512_loadu_ps(p); }
  static void Store(float* p, Reg a) { _mm512_storeu_ps(p, a); }
  static Reg LoadFirst(const float* p, size_t n) { return _mm512_maskz_loadu_ps(First(n), p); }
  static void StoreFirst(float* p, Reg a, size_t n) { _mm512_mask_storeu_ps(p, First(n), a); }
  static Reg KeepFirst(Reg a, size_t n) { return _mm512_maskz_mov_ps(First(n), a); }
  static Reg Set(float a) { return _mm512_set1_ps(a); }
  static Reg Zero() { return _mm512_setzero_ps(); }
  static Reg Add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  static Reg Sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  static Reg Mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  static Reg Div(Reg a, Reg b) { return _mm512_div_ps(a, b); }
  static Reg Min(Reg a, Reg b) { return _mm512_min_ps(a, b); }
  static Reg Max(Reg a, Reg b) { return _mm512_max_ps(a, b); }
  // a / b within 2 ulp, for b whose magnitude is from 2^-126 to 2^126: a step of Newton's method
  // takes a third of a division's time.
  static Reg Quotient(Reg a, Reg b) {
    const Reg guess = _mm512_rcp14_ps(b);
    return Mul(a, MulAdd(NegMulAdd(b, guess, Set(1.0f)), guess, guess));
  }
  static Reg Sqrt(Reg a) { return _mm512_sqrt_ps(a); }
  static Reg MulAdd(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  static Reg NegMulAdd(Reg a, Reg b, Reg c) { return _mm512_fnmadd_ps(a, b, c); }
  static Reg Round(Reg a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static Reg ScaleByPowerOf2(Reg a, Reg n) { return _mm512_scalef_ps(a, n); }
  static Reg ZeroIfLess(Reg x, float bound, Reg value) {
    return _mm512_mask_mov_ps(value, _mm512_cmp_ps_mask(x, Set(bound), _CMP_LT_OQ), Zero());
  }
  static float SumLanes(Reg a) { return _mm512_reduce_add_ps(a); }
  static float MaxLanes(Reg a) { return _mm512_reduce_max_ps(a); }
  static size_t FindMagnitude(Reg a, float magnitude) {
    const __mmask16 equal = _mm512_cmp_ps_mask(_mm512_abs_ps(a), Set(magnitude), _CMP_EQ_OQ);
    return equal == 0 ? kWidth : static_cast<size_t>(__builtin_ctz(equal));
  }
  static Reg LoadBytes(const std::byte* bytes) {
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_loadu_si512(bytes - 3), 24));
  }
};

}  // namespace
}  // namespace rag
