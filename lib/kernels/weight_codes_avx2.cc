// The AVX2 table. Compiled with -ffp-contract=off, so that a product and a sum are not fused.
#include <immintrin.h>

#include "lib/kernels/weight_codes_tables.h"

namespace rag {
namespace {

constexpr size_t kLanes = 8;

void AddRun(const uint16_t* codes, __m256 factors, float* sums) {
  for (size_t i = 0; i < kWeightRun; i += kLanes) {
    const __m256i wide =
        _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i)));
    const __m256 weights = _mm256_castsi256_ps(_mm256_slli_epi32(wide, kWeightCodeShift));
    _mm256_storeu_ps(sums + i,
                     _mm256_add_ps(_mm256_loadu_ps(sums + i), _mm256_mul_ps(factors, weights)));
  }
}

void AddRuns(const uint16_t* codes, uint64_t held, uint64_t wanted, float factor, float* sums) {
  const __m256 factors = _mm256_set1_ps(factor);
  for (uint64_t left = held & wanted; left != 0; left &= left - 1) {
    const auto before = static_cast<size_t>(std::popcount(held & ((left & -left) - 1)));
    AddRun(codes + before * kWeightRun, factors,
           sums + static_cast<size_t>(std::countr_zero(left)) * kWeightRun);
  }
}

uint64_t Reaching(const float* sums, float bound) {
  const __m256 bounds = _mm256_set1_ps(bound);
  uint64_t found = 0;
  for (size_t i = 0; i < kWeightRun; i += kLanes) {
    const __m256 reached = _mm256_cmp_ps(_mm256_loadu_ps(sums + i), bounds, _CMP_GE_OQ);
    found |= static_cast<uint64_t>(_mm256_movemask_ps(reached)) << i;
  }
  return found;
}

}  // namespace

const WeightCodeKernels& Avx2WeightCodeKernels() {
  static const WeightCodeKernels kernels = {Isa::kAvx2, AddRuns, Reaching};
  return kernels;
}

}  // namespace rag
