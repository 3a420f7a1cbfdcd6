#include "index/vector/fast_rotation.h"

#include <bit>
#include <cmath>
#include <random>

namespace rag {
namespace {

// Transforms. Two of the first elements and two of the last: each element is then a sum of all.
constexpr size_t kRounds = 4;
// Fixed, so that a file need not hold the signs.
constexpr uint64_t kSeed = 0x9E3779B97F4A7C15;

}  // namespace

FastRotation::FastRotation(size_t dim, const Runtime& runtime)
    : kernels_(GetShortCodeKernels(runtime.isa())),
      dim_(dim),
      power_(std::bit_floor(dim)),
      signs_(kRounds * dim) {
  std::mt19937_64 random(kSeed);
  const float scale = 1.0f / std::sqrt(static_cast<float>(power_));
  for (size_t round = 0; round < kRounds; ++round) {
    const size_t begin = round % 2 == 0 ? 0 : dim_ - power_;
    for (size_t i = 0; i < dim; ++i) {
      const float sign = random() >> 63 != 0 ? -1.0f : 1.0f;
      signs_[round * dim + i] = i >= begin && i < begin + power_ ? sign * scale : sign;
    }
  }
}

void FastRotation::Apply(float* x) const {
  for (size_t round = 0; round * dim_ < signs_.size(); ++round) {
    const float* const signs = signs_.data() + round * dim_;
    for (size_t i = 0; i < dim_; ++i) x[i] *= signs[i];
    kernels_->hadamard(x + (round % 2 == 0 ? 0 : dim_ - power_), power_);
  }
}

}  // namespace rag
