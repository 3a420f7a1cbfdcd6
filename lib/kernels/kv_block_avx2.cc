// The AVX2 table.
#include <immintrin.h>

#include <cstring>

#include "lib/kernels/kv_block_tables.h"
#include "lib/kernels/simd_kv_block.h"

namespace rag {
namespace {

struct Avx2 {
  using Reg = __m256;
  static constexpr size_t kWidth = 8;
  // 3 rows of 4 registers leave 4 of the 16 for a row of keys.
  static constexpr size_t kScoreRows = 3;
  static constexpr size_t kScoreChains = 1;

  static __m256i First(size_t n) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lanes);
  }
  static Reg Load(const float* p) { return _mm256_loadu_ps(p); }
  static void Store(float* p, Reg a) { _mm256_storeu_ps(p, a); }
  static Reg LoadFirst(const float* p, size_t n) { return _mm256_maskload_ps(p, First(n)); }
  static void StoreFirst(float* p, Reg a, size_t n) { _mm256_maskstore_ps(p, First(n), a); }
  static Reg Set(float a) { return _mm256_set1_ps(a); }
  static Reg Zero() { return _mm256_setzero_ps(); }
  static Reg Add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
  static Reg Mul(Reg a, Reg b) { return _mm256_mul_ps(a, b); }
  static Reg MulAdd(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  static Reg LoadHalves(const std::byte* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Reg LoadBytes(const std::byte* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
  }
  static void LoadPairs(const std::byte* p, Reg& low, Reg& high) {
    const __m256i pairs =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    const __m256i eight = _mm256_set1_epi32(8);
    const __m256i first = _mm256_and_si256(pairs, _mm256_set1_epi32(15));
    low = _mm256_cvtepi32_ps(_mm256_sub_epi32(first, eight));
    high = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(pairs, 4), eight));
  }
  static float HalfToFloat(const std::byte* p) {
    uint16_t half;
    std::memcpy(&half, p, sizeof(half));
    return _cvtsh_ss(half);
  }
};

}  // namespace

const KvBlockKernels& Avx2KvBlockKernels() {
  static constexpr KvBlockKernels kTable = simd::MakeKvBlockTable<Avx2>(Isa::kAvx2);
  return kTable;
}

}  // namespace rag
