// The AVX-512 table.
#include <cstring>

#include "lib/kernels/avx512_intrinsics.h"
#include "lib/kernels/kv_block_tables.h"
#include "lib/kernels/simd_kv_block.h"

namespace rag {
namespace {

struct Avx512 {
  using Reg = __m512;
  static constexpr size_t kWidth = 16;
  // 6 rows of 4 registers (2 of keys in 2 chains, or AddPanel's 4) leave 8 of the 32.
  static constexpr size_t kScoreRows = 6;
  static constexpr size_t kScoreChains = 2;

  static __mmask16 First(size_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
  static Reg Load(const float* p) { return _mm512_loadu_ps(p); }
  static void Store(float* p, Reg a) { _mm512_storeu_ps(p, a); }
  static Reg LoadFirst(const float* p, size_t n) { return _mm512_maskz_loadu_ps(First(n), p); }
  static void StoreFirst(float* p, Reg a, size_t n) { _mm512_mask_storeu_ps(p, First(n), a); }
  static Reg Set(float a) { return _mm512_set1_ps(a); }
  static Reg Zero() { return _mm512_setzero_ps(); }
  static Reg Add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  static Reg Mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  static Reg MulAdd(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  static Reg LoadHalves(const std::byte* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Reg LoadBytes(const std::byte* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
  }
  static void LoadPairs(const std::byte* p, Reg& low, Reg& high) {
    const __m512i pairs =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    const __m512i eight = _mm512_set1_epi32(8);
    const __m512i first = _mm512_and_si512(pairs, _mm512_set1_epi32(15));
    low = _mm512_cvtepi32_ps(_mm512_sub_epi32(first, eight));
    high = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_srli_epi32(pairs, 4), eight));
  }
  static float HalfToFloat(const std::byte* p) {
    uint16_t half;
    std::memcpy(&half, p, sizeof(half));
    return _cvtsh_ss(half);
  }
};

}  // namespace

const KvBlockKernels& Avx512KvBlockKernels() {
  static constexpr KvBlockKernels kTable = simd::MakeKvBlockTable<Avx512>(Isa::kAvx512);
  return kTable;
}

}  // namespace rag
