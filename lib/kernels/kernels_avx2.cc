// The AVX2 table (with FMA): 8 lanes, masked loads and stores for the ends.
#include <immintrin.h>

#include "lib/kernels/kernels.h"
#include "lib/kernels/simd_attention.h"
#include "lib/kernels/simd_gemm.h"
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
};

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
      .softmax = simd::Softmax<V>,
      .layer_norm = simd::LayerNorm<V>,
      .rms_norm = simd::RmsNorm<V>,
      .gelu = simd::Gelu<V>,
      .gelu_tanh = simd::GeluTanh<V>,
      .silu = simd::Silu<V>,
      .add = simd::Add<V>,
      .axpy = simd::Axpy<V>,
      .attention = simd::Attention<V>,
  };
  return kTable;
}

}  // namespace rag
