// Activations quantized with AVX-512, 16 groups of 32 at a time: what is one number a group (its
// largest, its scale, its sums) is one lane a group.
#include "lib/kernels/avx512_intrinsics.h"
#include "lib/kernels/quantized_tables.h"

namespace rag {
namespace {

constexpr size_t kGroups = 16;
constexpr size_t kQuad = 64;  // elements whose values fill a register

// Elements [at, at + 16) of x [cols], zeros behind its end.
__m512 LoadAt(const float* x, size_t at, size_t cols) {
  if (at >= cols) return _mm512_setzero_ps();
  return _mm512_maskz_loadu_ps(FirstLanes(cols - at), x + at);
}

struct Larger {
  __m512i operator()(__m512i a, __m512i b) const { return _mm512_max_epu32(a, b); }
};
struct Sum {
  __m512i operator()(__m512i a, __m512i b) const { return _mm512_add_epi32(a, b); }
};

// Element j of each quarter of the result is what `join` makes of that quarter of v[j].
template <class Join>
__m512i JoinQuarters(const __m512i* v, Join join) {
  const __m512i low = join(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const __m512i high = join(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  return join(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
}

// Lane i is the largest of v[i].
__m512i LargestOfEach(const __m512i* v) {
  const Larger join;
  const __m512i q[4] = {JoinQuarters(v, join), JoinQuarters(v + 4, join), JoinQuarters(v + 8, join),
                        JoinQuarters(v + 12, join)};
  const __m512i low =
      join(_mm512_shuffle_i32x4(q[0], q[1], 0x44), _mm512_shuffle_i32x4(q[0], q[1], 0xee));
  const __m512i high =
      join(_mm512_shuffle_i32x4(q[2], q[3], 0x44), _mm512_shuffle_i32x4(q[2], q[3], 0xee));
  return join(_mm512_shuffle_i32x4(low, high, 0x88), _mm512_shuffle_i32x4(low, high, 0xdd));
}

// Each lane becomes the largest of its half of v.
__m512i LargestOfHalves(__m512i v) {
  const Larger join;
  v = join(v, _mm512_shuffle_i32x4(v, v, 0xb1));
  v = join(v, _mm512_shuffle_epi32(v, _MM_PERM_BADC));
  return join(v, _mm512_shuffle_epi32(v, _MM_PERM_CDAB));
}

// Sums of 16 from sums of 4: lane 4 i + j is the sum of quarter j of v[i].
__m512i SumsOfQuarters(const __m512i* v) {
  const __m512i transposed =
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(transposed, JoinQuarters(v, Sum()));
}

// 16 groups of a row, of which the last may lie behind its padding. False when an element is
// infinite or NaN.
bool QuantizeGroups(const float* x, size_t cols, size_t begin, size_t groups, ScaleOf scale_of,
                    const ActivationRow& out) {
  const __m512i sign = _mm512_set1_epi32(INT32_MIN);
  __m512i largest[kGroups];
#pragma GCC unroll 16
  for (size_t i = 0; i < kGroups; ++i) {
    const size_t at = begin + i * kActivationGroup;
    const __m512i a = _mm512_castps_si512(LoadAt(x, at, cols));
    const __m512i b = _mm512_castps_si512(LoadAt(x, at + 16, cols));
    // Without their signs, numbers are ordered as their bits are; infinite and NaN come last.
    largest[i] = _mm512_max_epu32(_mm512_andnot_si512(sign, a), _mm512_andnot_si512(sign, b));
  }
  __m512i bits = LargestOfEach(largest);
  if (scale_of == ScaleOf::k256) bits = LargestOfHalves(bits);
  if (_mm512_cmpge_epu32_mask(bits, _mm512_set1_epi32(0x7f800000)) != 0) return false;
  const __mmask16 usable = _mm512_cmpge_epu32_mask(bits, _mm512_set1_epi32(1 << 23));
  const __m512 of_127 = _mm512_set1_ps(127.0f);
  const __m512 magnitude = _mm512_castsi512_ps(bits);
  const __m512 scales = _mm512_maskz_div_ps(usable, magnitude, of_127);
  alignas(64) float inverses[kGroups];
  _mm512_store_ps(inverses, _mm512_maskz_div_ps(usable, of_127, magnitude));

  const __m512i in_order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i fours[kGroups / 2];
#pragma GCC unroll 8
  for (size_t i = 0; i < kGroups / 2; ++i) {
    const size_t at = begin + i * kQuad;
    __m512i whole[4];
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) {
      const __m512 inverse = _mm512_set1_ps(inverses[2 * i + j / 2]);
      whole[j] = _mm512_cvtps_epi32(_mm512_mul_ps(LoadAt(x, at + 16 * j, cols), inverse));
    }
    const __m512i values = _mm512_permutexvar_epi32(
        in_order, _mm512_packs_epi16(_mm512_packs_epi32(whole[0], whole[1]),
                                     _mm512_packs_epi32(whole[2], whole[3])));
    if (2 * i < groups) _mm512_storeu_si512(out.values + at, values);
    fours[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), values);
  }
  const __m512i sums16[2] = {SumsOfQuarters(fours), SumsOfQuarters(fours + 4)};
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  const __m512i sums32 = _mm512_add_epi32(_mm512_permutex2var_epi32(sums16[0], even, sums16[1]),
                                          _mm512_permutex2var_epi32(sums16[0], odd, sums16[1]));
  const size_t group = begin / kActivationGroup;
  const __mmask16 valid = FirstLanes(groups);
  const __m512i zero = _mm512_setzero_si512();
  _mm512_mask_storeu_ps(out.scales + group, valid, scales);
  _mm512_mask_storeu_ps(out.sums32 + group, valid,
                        _mm512_mul_ps(scales, _mm512_cvtepi32_ps(sums32)));
  _mm512_mask_storeu_epi32(out.minus32 + group, valid, _mm512_sub_epi32(zero, sums32));
  _mm256_mask_storeu_epi16(out.whole32 + group, valid, _mm512_cvtepi32_epi16(sums32));
  const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  for (size_t i = 0; i < 2 && 8 * i < groups; ++i) {
    const __mmask16 part = FirstLanes(2 * (groups - 8 * i));
    const __m512 of_sums = _mm512_permutexvar_ps(
        _mm512_add_epi32(twice, _mm512_set1_epi32(static_cast<int>(8 * i))), scales);
    _mm512_mask_storeu_ps(out.sums16 + 2 * group + 16 * i, part,
                          _mm512_mul_ps(of_sums, _mm512_cvtepi32_ps(sums16[i])));
    _mm512_mask_storeu_epi32(out.minus16 + 2 * group + 16 * i, part,
                             _mm512_sub_epi32(zero, sums16[i]));
  }
  return true;
}

}  // namespace

void Avx512QuantizeRow(const float* x, size_t cols, size_t padded, ScaleOf scale_of,
                       const ActivationRow& out) {
  for (size_t begin = 0; begin < padded; begin += kGroups * kActivationGroup) {
    const size_t left = (padded - begin) / kActivationGroup;
    if (!QuantizeGroups(x, cols, begin, left < kGroups ? left : kGroups, scale_of, out)) {
      return ScalarQuantizeRow(x, cols, padded, scale_of, out);
    }
  }
}

}  // namespace rag
