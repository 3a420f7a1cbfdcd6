// The AVX-512 table: 16 lanes, masks for the ends.
#include "lib/kernels/avx512_intrinsics.h"
#include "lib/kernels/avx512_vector.h"
#include "lib/kernels/kernels.h"
#include "lib/kernels/simd_attention.h"
#include "lib/kernels/simd_gemm.h"
#include "lib/kernels/simd_group_gemm.h"
#include "lib/kernels/simd_vector.h"
#include "lib/kernels/tables.h"

namespace rag {
namespace {

// A group of A in every lane, whatever its elements are.
__m512i BroadcastGroup(const std::byte* group) {
  int32_t bits;
  __builtin_memcpy(&bits, group, sizeof(bits));
  return _mm512_set1_epi32(bits);
}

struct Avx512Bf16 : simd::FloatSums<Avx512> {
  using V = Avx512;
  static constexpr size_t kStep = 1;
  static constexpr size_t kPrefetchRows = V::kPrefetchRows;
  using Sum = __m512;
  using Factor = __m512bh;
  using Columns = __m512bh;
  static constexpr size_t kTileRows = 12;
  static Sum Zero() { return _mm512_setzero_ps(); }
  static Factor Broadcast(const std::byte* group) {
    return reinterpret_cast<__m512bh>(BroadcastGroup(group));
  }
  static Columns Load(const std::byte* columns) {
    return reinterpret_cast<__m512bh>(_mm512_loadu_si512(columns));
  }
  static Sum Dot(Sum sum, Factor a, Columns b) { return _mm512_dpbf16_ps(sum, a, b); }
};

// vpdpbusd multiplies unsigned with signed bytes: A holds value + 128, and so many times the sum of
// B's column are taken off at the end.
struct Avx512Int8 {
  using V = Avx512;
  static constexpr size_t kStep = 1;
  static constexpr size_t kPrefetchRows = V::kPrefetchRows;
  using Sum = __m512i;
  using Factor = __m512i;
  using Columns = __m512i;
  static constexpr size_t kTileRows = 12;
  static Sum Zero() { return _mm512_setzero_si512(); }
  static Factor Broadcast(const std::byte* group) { return BroadcastGroup(group); }
  static Columns Load(const std::byte* columns) { return _mm512_loadu_si512(columns); }
  static Sum Dot(Sum sum, Factor a, Columns b) { return _mm512_dpbusd_epi32(sum, a, b); }
  static constexpr bool kOutliers = true;
  struct Ends {
    __m512i sums;
    __m512 scales;
    __m512 bias;
  };
  static Ends LoadEnds(const simd::GroupArgs& args, size_t column, size_t n) {
    return {_mm512_maskz_loadu_epi32(V::First(n), args.b_sums + column),
            V::LoadFirst(args.b_scales + column, n), simd::LoadBias<V>(args, column, n)};
  }
  static __m512 Value(Sum sum, const Ends& ends, const simd::GroupArgs& args, size_t row) {
    const Kernels::Int8Row& a = args.a_rows[row];
    const __m512i offset = _mm512_mullo_epi32(ends.sums, _mm512_set1_epi32(128 + a.zero));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(sum, offset)), V::Set(a.scale));
  }
  static __m512 Finish(__m512 value, const Ends& ends) {
    return _mm512_fmadd_ps(value, ends.scales, ends.bias);
  }
};

void RoundBf16(const float* x, size_t n, uint16_t* out) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i),
                        reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(x + i))));
  }
  if (i < n) {
    const __m256bh rest = _mm512_cvtneps_pbh(Avx512::LoadFirst(x + i, n - i));
    _mm256_mask_storeu_epi16(out + i, Avx512::First(n - i), reinterpret_cast<__m256i>(rest));
  }
  if (n % 2 != 0) out[n] = 0;
}

Kernels::Int8Row QuantizeInt8(const float* x, size_t n, int32_t steps, float* rest, uint8_t* out) {
  Kernels::Int8Row row;
  simd::TakeOutliers<Avx512>(x, n, rest, row);
  const float count = static_cast<float>(steps);
  __m512 lows = _mm512_setzero_ps();
  __m512 highs = _mm512_setzero_ps();
  const auto widen = [&](__m512 v) {
    lows = _mm512_min_ps(v, lows);
    highs = _mm512_max_ps(v, highs);
  };
  size_t i = 0;
  for (; i + 16 <= n; i += 16) widen(_mm512_loadu_ps(rest + i));
  if (i < n) widen(Avx512::LoadFirst(rest + i, n - i));
  const float low = _mm512_reduce_min_ps(lows);
  const float reach = _mm512_reduce_max_ps(highs) - low;
  const float range = reach > kLeastInt8Range ? reach : 0.0f;
  const float scale = range > 0 ? count / range : 0.0f;
  row.scale = range / count;
  row.zero = _mm_cvtss_si32(_mm_set_ss(-127.0f - low * scale));
  const __m512 factor = _mm512_set1_ps(scale);
  // value + 128.
  const __m512i offset = _mm512_set1_epi32(row.zero + 128);
  const auto quantize = [&](__m512 v) {
    const __m512i values = _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(v, factor)), offset);
    return _mm512_cvtusepi32_epi8(_mm512_max_epi32(values, _mm512_setzero_si512()));
  };
  for (i = 0; i + 16 <= n; i += 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), quantize(_mm512_loadu_ps(rest + i)));
  }
  if (i < n) {
    _mm_mask_storeu_epi8(out + i, Avx512::First(n - i),
                         quantize(Avx512::LoadFirst(rest + i, n - i)));
  }
  for (i = n; i % 4 != 0; ++i) out[i] = 128;
  return row;
}

}  // namespace

const Kernels& Avx512Kernels() {
  using V = Avx512;
  static constexpr Kernels kTable = {
      .isa = Isa::kAvx512,
      .dot = simd::Reduce<V, simd::DotStep<V>>,
      .l2_squared = simd::Reduce<V, simd::L2Step<V>>,
      .dot_rows = simd::ReduceAllRows<V, simd::DotStep<V>>,
      .l2_squared_rows = simd::ReduceAllRows<V, simd::L2Step<V>>,
      .gemm = simd::Gemm<V>,
      .gemm_panel = simd::kPanelRegs * V::kWidth,
      .narrow_row_bytes = V::kRowGroups * simd::kGroupBytes,
      .gemm_bf16 = simd::GemmBf16<Avx512Bf16>,
      .gemm_split = nullptr,
      .gemm_int8 = simd::GemmInt8<Avx512Int8>,
      .round_bf16 = RoundBf16,
      .split_bf16 = nullptr,
      .quantize_int8 = QuantizeInt8,
      .int8_limits = NoInt8Limits,
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
