// The AVX2 table (with FMA): 8 lanes, masked loads and stores for the ends.
#include <immintrin.h>

#include "lib/kernels/kernels.h"
#include "lib/kernels/simd_attention.h"
#include "lib/kernels/simd_gemm.h"
#include "lib/kernels/simd_group_gemm.h"
#include "lib/kernels/simd_vector.h"
#include "lib/kernels/tables.h"

namespace rag {
namespace {

// Eight set lanes before eight clear ones: a load at 8 - n gives a mask of the first n.
alignas(32) constexpr int kFirstMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                             0,  0,  0,  0,  0,  0,  0,  0};

struct Avx2 {
  using Reg = __m256;
  static constexpr size_t kWidth = 8;
  static constexpr size_t kReduceRows = 2;
  // 6 rows of 2 registers leave 4 of the 16 for B and the factors.
  static constexpr size_t kTileRows = 6;
  static constexpr size_t kTileRegs = 12;
  static constexpr size_t kRowGroups = 2;
  // A panel's rows (16 kB) leave room for those of A in a first level of 32 kB, and a block for the
  // rest in a second of 512 kB. With this and asking ahead BERT-base's shape is encoded in 0.93 of
  // the time on Zen 3 (medians of alternating runs).
  static constexpr size_t kBlockRows = 256;
  static constexpr size_t kBlockBytes = 128 << 10;
  static constexpr size_t kPrefetchRows = 16;

  static __m256i First(size_t n) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kFirstMasks + 8 - n));
  }

  static Reg Load(const float* p) { return _mm256_loadu_ps(p); }
  static void Store(float* p, Reg a) { _mm256_storeu_ps(p, a); }
  static Reg LoadFirst(const float* p, size_t n) { return _mm256_maskload_ps(p, First(n)); }
  static void StoreFirst(float* p, Reg a, size_t n) { _mm256_maskstore_ps(p, First(n), a); }
  static Reg KeepFirst(Reg a, size_t n) { return _mm256_and_ps(a, _mm256_castsi256_ps(First(n))); }
  static Reg Set(float a) { return _mm256_set1_ps(a); }
  static Reg Zero() { return _mm256_setzero_ps(); }
  static Reg Add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
  static Reg Sub(Reg a, Reg b) { return _mm256_sub_ps(a, b); }
  static Reg Mul(Reg a, Reg b) { return _mm256_mul_ps(a, b); }
  static Reg Div(Reg a, Reg b) { return _mm256_div_ps(a, b); }
  static Reg Min(Reg a, Reg b) { return _mm256_min_ps(a, b); }
  static Reg Max(Reg a, Reg b) { return _mm256_max_ps(a, b); }
  static Reg Quotient(Reg a, Reg b) { return Div(a, b); }
  static Reg Sqrt(Reg a) { return _mm256_sqrt_ps(a); }
  static Reg MulAdd(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  static Reg NegMulAdd(Reg a, Reg b, Reg c) { return _mm256_fnmadd_ps(a, b, c); }
  static Reg Round(Reg a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // n in [-126, 127]: the exponent's bits.
  static Reg ScaleByPowerOf2(Reg a, Reg n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
  }
  static Reg ZeroIfLess(Reg x, float bound, Reg value) {
    return _mm256_andnot_ps(_mm256_cmp_ps(x, Set(bound), _CMP_LT_OQ), value);
  }
  static float SumLanes(Reg a) {
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
  }
  static float MaxLanes(Reg a) {
    __m128 largest = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    largest = _mm_max_ps(largest, _mm_movehl_ps(largest, largest));
    return _mm_cvtss_f32(_mm_max_ss(largest, _mm_movehdup_ps(largest)));
  }
  static size_t FindMagnitude(Reg a, float magnitude) {
    const Reg absolute = _mm256_andnot_ps(Set(-0.0f), a);
    const int equal = _mm256_movemask_ps(_mm256_cmp_ps(absolute, Set(magnitude), _CMP_EQ_OQ));
    return equal == 0 ? kWidth : static_cast<size_t>(__builtin_ctz(static_cast<unsigned>(equal)));
  }
  static Reg LoadBytes(const std::byte* bytes) {
    const __m256i highest = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes - 3));
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(highest, 24));
  }
};

int32_t GroupBits(const std::byte* group) {
  int32_t bits;
  __builtin_memcpy(&bits, group, sizeof(bits));
  return bits;
}

// A pair of bf16 as two f32: the first in the low half.
struct Pair {
  __m256 first;
  __m256 second;
};
Pair Widen(__m256i pairs) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)),
          _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(-65536)))};
}

struct Avx2Bf16 : simd::FloatSums<Avx2> {
  using V = Avx2;
  static constexpr size_t kStep = 1;
  static constexpr size_t kPrefetchRows = 0;  // nothing is gained (Zen 5)
  using Sum = __m256;
  using Factor = Pair;
  using Columns = Pair;
  // 4 rows of 2 registers leave 8 of the 16 for both halves of B and of the factors.
  static constexpr size_t kTileRows = 4;
  static Sum Zero() { return _mm256_setzero_ps(); }
  static Factor Broadcast(const std::byte* group) {
    return Widen(_mm256_set1_epi32(GroupBits(group)));
  }
  static Columns Load(const std::byte* columns) {
    return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(columns)));
  }
  static Sum Dot(Sum sum, const Factor& a, const Columns& b) {
    return _mm256_fmadd_ps(a.second, b.second, _mm256_fmadd_ps(a.first, b.first, sum));
  }
};

// vpmaddubsw multiplies unsigned with signed bytes and adds pairs of products in 16 bits;
// Int8Limits see to it that they find room there, and with kTwoGroups those of two groups.
template <bool kTwoGroups>
struct Avx2Int8 {
  using V = Avx2;
  static constexpr size_t kStep = 2;
  static constexpr size_t kPrefetchRows = 0;
  using Sum = __m256i;
  struct Factor {
    __m256i groups[kStep];
  };
  struct Columns {
    __m256i groups[kStep];
  };
  // 3 rows of 2 registers leave 10 of the 16 for two groups of B, of the factors and products.
  static constexpr size_t kTileRows = 3;
  static Sum Zero() { return _mm256_setzero_si256(); }
  static Factor Broadcast(const std::byte* group) {
    return {_mm256_set1_epi32(GroupBits(group)),
            _mm256_set1_epi32(GroupBits(group + simd::kGroupBytes))};
  }
  static Columns Load(const std::byte* columns) {
    constexpr size_t kPanelRow = simd::kPanelRegs * V::kWidth * simd::kGroupBytes;
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(columns)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(columns + kPanelRow))};
  }
  static Sum Dot(Sum sum, const Factor& a, const Columns& b) {
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i pairs[] = {_mm256_maddubs_epi16(a.groups[0], b.groups[0]),
                             _mm256_maddubs_epi16(a.groups[1], b.groups[1])};
    const __m256i quads = kTwoGroups ? _mm256_madd_epi16(_mm256_add_epi16(pairs[0], pairs[1]), ones)
                                     : _mm256_add_epi32(_mm256_madd_epi16(pairs[0], ones),
                                                        _mm256_madd_epi16(pairs[1], ones));
    // In place: GCC 12 moves every sum between registers otherwise (6 of 51 instructions of a step,
    // 2% of an encoder's time).
    __asm__("vpaddd %1, %0, %0" : "+x"(sum) : "x"(quads));
    return sum;
  }
  static constexpr bool kOutliers = true;
  struct Ends {
    __m256i sums;
    __m256 scales;
    __m256 bias;
  };
  static Ends LoadEnds(const simd::GroupArgs& args, size_t column, size_t n) {
    return {_mm256_maskload_epi32(args.b_sums + column, V::First(n)),
            V::LoadFirst(args.b_scales + column, n), simd::LoadBias<V>(args, column, n)};
  }
  static __m256 Value(Sum sum, const Ends& ends, const simd::GroupArgs& args, size_t row) {
    const Kernels::Int8Row& a = args.a_rows[row];
    const __m256i offset = _mm256_mullo_epi32(ends.sums, _mm256_set1_epi32(a.zero));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(sum, offset)), V::Set(a.scale));
  }
  static __m256 Finish(__m256 value, const Ends& ends) {
    return _mm256_fmadd_ps(value, ends.scales, ends.bias);
  }
};

// Eight f32 to nearest-even bf16; NaN stays NaN.
__m128i ToBf16(__m256 v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i nan = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256 is_nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
  const __m256i chosen = _mm256_castps_si256(
      _mm256_blendv_ps(_mm256_castsi256_ps(rounded), _mm256_castsi256_ps(nan), is_nan));
  const __m256i high = _mm256_srli_epi32(chosen, 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
}

void RoundBf16(const float* x, size_t n, uint16_t* out) {
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), ToBf16(_mm256_loadu_ps(x + i)));
  }
  if (i < n) {
    alignas(16) uint16_t rest[8];
    _mm_store_si128(reinterpret_cast<__m128i*>(rest), ToBf16(Avx2::LoadFirst(x + i, n - i)));
    for (size_t j = 0; i + j < n; ++j) out[i + j] = rest[j];
  }
  for (i = n; i % (2 * Avx2::kRowGroups) != 0; ++i) out[i] = 0;
}

void GemmInt8(const Kernels::Int8Product& p) {
  return p.two_groups ? simd::GemmInt8<Avx2Int8<true>>(p) : simd::GemmInt8<Avx2Int8<false>>(p);
}

// Products stay in 16 bits when as many steps times all their positive weights of one place in 16
// bits, or all negative ones, do.
Kernels::Int8Limits Int8LimitsOf(const int8_t* b, size_t k) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i ones = _mm256_set1_epi8(1);
  __m256i pair = zero;
  __m256i two_pairs = zero;  // of two groups, the first of which is an even one
  const auto widen = [&](__m256i magnitudes) {
    const __m256i pairs = _mm256_maddubs_epi16(magnitudes, ones);
    pair = _mm256_max_epi16(pair, pairs);
    two_pairs = _mm256_max_epi16(two_pairs, _mm256_add_epi16(pairs, _mm256_srli_epi64(pairs, 32)));
  };
  const auto add = [&](__m256i values) {
    widen(_mm256_max_epi8(values, zero));
    widen(_mm256_max_epi8(_mm256_sub_epi8(zero, values), zero));
  };
  size_t i = 0;
  for (; i + 32 <= k; i += 32) add(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + i)));
  if (i < k) {
    alignas(32) int8_t rest[32] = {};
    __builtin_memcpy(rest, b + i, k - i);
    add(_mm256_load_si256(reinterpret_cast<const __m256i*>(rest)));
  }
  const auto steps = [](__m256i sums) {
    alignas(32) int16_t each[16];
    _mm256_store_si256(reinterpret_cast<__m256i*>(each), sums);
    int32_t largest = 1;
    for (const int16_t sum : each) largest = sum > largest ? sum : largest;
    // One less, as rounding twice may add a step.
    const int32_t most = 32767 / largest - 1;
    return most < kInt8Steps ? most : kInt8Steps;
  };
  return {.steps = steps(pair), .two_groups = steps(two_pairs)};
}

Kernels::Int8Row QuantizeInt8(const float* x, size_t n, int32_t steps, float* rest, uint8_t* out) {
  Kernels::Int8Row row;
  simd::TakeOutliers<Avx2>(x, n, rest, row);
  const float count = static_cast<float>(steps);
  __m256 lows = _mm256_setzero_ps();
  __m256 highs = _mm256_setzero_ps();
  const auto widen = [&](__m256 v) {
    lows = _mm256_min_ps(v, lows);
    highs = _mm256_max_ps(v, highs);
  };
  size_t i = 0;
  for (; i + 8 <= n; i += 8) widen(_mm256_loadu_ps(rest + i));
  if (i < n) widen(Avx2::LoadFirst(rest + i, n - i));
  const float low = -Avx2::MaxLanes(_mm256_sub_ps(_mm256_setzero_ps(), lows));
  const float reach = Avx2::MaxLanes(highs) - low;
  const float range = reach > kLeastInt8Range ? reach : 0.0f;
  const float scale = range > 0 ? count / range : 0.0f;
  row.scale = range / count;
  row.zero = _mm_cvtss_si32(_mm_set_ss(-low * scale));
  const __m256 factor = _mm256_set1_ps(scale);
  const __m256i offset = _mm256_set1_epi32(row.zero);
  const auto quantize = [&](__m256 v) {
    return _mm256_add_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(v, factor)), offset);
  };
  // 32 values as bytes; the packing saturates, and leaves them in groups of four.
  const auto pack = [&](const __m256(&v)[4]) {
    const __m256i words[2] = {_mm256_packs_epi32(quantize(v[0]), quantize(v[1])),
                              _mm256_packs_epi32(quantize(v[2]), quantize(v[3]))};
    return _mm256_permutevar8x32_epi32(_mm256_packus_epi16(words[0], words[1]),
                                       _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  };
  for (i = 0; i + 32 <= n; i += 32) {
    const float* const from = rest + i;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i),
                        pack({_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8),
                              _mm256_loadu_ps(from + 16), _mm256_loadu_ps(from + 24)}));
  }
  if (i < n) {
    const auto load = [&](size_t j) {
      const size_t left = n > i + j ? n - i - j : 0;
      return left == 0 ? _mm256_setzero_ps() : Avx2::LoadFirst(rest + i + j, left < 8 ? left : 8);
    };
    alignas(32) uint8_t last[32];
    _mm256_store_si256(reinterpret_cast<__m256i*>(last),
                       pack({load(0), load(8), load(16), load(24)}));
    for (size_t j = 0; i + j < n; ++j) out[i + j] = last[j];
  }
  for (i = n; i % (4 * Avx2::kRowGroups) != 0; ++i) out[i] = 0;
  return row;
}

}  // namespace

const Kernels& Avx2Kernels() {
  using V = Avx2;
  static constexpr Kernels kTable = {
      .isa = Isa::kAvx2,
      .dot = simd::Reduce<V, simd::DotStep<V>>,
      .l2_squared = simd::Reduce<V, simd::L2Step<V>>,
      .dot_rows = simd::ReduceAllRows<V, simd::DotStep<V>>,
      .l2_squared_rows = simd::ReduceAllRows<V, simd::L2Step<V>>,
      .gemm = simd::Gemm<V>,
      .gemm_panel = simd::kPanelRegs * V::kWidth,
      .narrow_row_bytes = V::kRowGroups * simd::kGroupBytes,
      .gemm_bf16 = simd::GemmBf16<Avx2Bf16>,
      .gemm_split = nullptr,
      .gemm_int8 = GemmInt8,
      .round_bf16 = RoundBf16,
      .split_bf16 = nullptr,
      .quantize_int8 = QuantizeInt8,
      .int8_limits = Int8LimitsOf,
      .softmax = simd::Softmax<V>,
      .layer_norm = simd::LayerNorm<V>,
      .rms_norm = simd::RmsNorm<V>,
      .gelu = simd::Gelu<V>,
      .gelu_tanh = simd::GeluTanh<V>,
      .silu = simd::Silu<V>,
      .add = simd::Add<V>,
      .mul = simd::Mul<V>,
      .axpy = simd::Axpy<V>,
      .attention = simd::Attention<V>,
  };
  return kTable;
}

}  // namespace rag
