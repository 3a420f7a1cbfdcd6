// The scalar table: the reference of the other.
#include "lib/kernels/weight_codes_tables.h"

namespace rag {
namespace {

void AddRuns(const uint16_t* codes, uint64_t held, uint64_t wanted, float factor, float* sums) {
  for (; held != 0; held &= held - 1, codes += kWeightRun) {
    if ((held & -held & wanted) == 0) continue;
    float* const run = sums + static_cast<size_t>(std::countr_zero(held)) * kWeightRun;
    for (size_t i = 0; i < kWeightRun; ++i) run[i] += factor * DecodeWeight(codes[i]);
  }
}

uint64_t Reaching(const float* sums, float bound) {
  uint64_t found = 0;
  for (size_t i = 0; i < kWeightRun; ++i) found |= uint64_t{sums[i] >= bound} << i;
  return found;
}

}  // namespace

const WeightCodeKernels& ScalarWeightCodeKernels() {
  static const WeightCodeKernels kernels = {Isa::kScalar, AddRuns, Reaching};
  return kernels;
}

}  // namespace rag
