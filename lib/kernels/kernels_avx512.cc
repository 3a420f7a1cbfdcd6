// The AVX-512 table: 16 lanes, masks for the ends.
#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 warns of its own header's _mm512_undefined_* (gcc bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "lib/kernels/kernels.h"
#include "lib/kernels/simd_attention.h"
#include "lib/kernels/simd_gemm.h"
#include "lib/kernels/simd_vector.h"
#include "lib/kernels/tables.h"

namespace rag {
namespace {

struct Avx512 {
  using Reg = __m512;
  static constexpr size_t kWidth = 16;
  static constexpr size_t kReduceRows = 4;
  // 12 rows of 2 registers leave 8 of the 32 for B and the factors.
  static constexpr size_t kTileRows = 12;
  static constexpr size_t kTileRegs = 24;

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
};

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
