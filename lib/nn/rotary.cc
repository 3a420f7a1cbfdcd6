#include "lib/nn/rotary.h"

#include <cmath>

namespace rag {

void ApplyRotary(RopePairs pairs, const float* cosines, const float* sines, size_t pair_count,
                 float* heads, size_t count, size_t head_dim) {
  const size_t step = pairs == RopePairs::kNeighbors ? 2 : 1;
  const size_t other = pairs == RopePairs::kNeighbors ? 1 : pair_count;
  for (size_t head = 0; head < count; ++head) {
    float* x = heads + head * head_dim;
    for (size_t i = 0; i < pair_count; ++i) {
      float& first = x[i * step];
      float& second = x[i * step + other];
      const float a = first;
      const float b = second;
      first = a * cosines[i] - b * sines[i];
      second = a * sines[i] + b * cosines[i];
    }
  }
}

Rotary::Rotary(size_t positions, size_t head_dim, double base, double divisor)
    : cosines_(positions, head_dim / 2), sines_(positions, head_dim / 2) {
  for (size_t i = 0; i < head_dim / 2; ++i) {
    // In f32, as the models were trained.
    const float frequency = static_cast<float>(
        1.0 / divisor / std::pow(base, static_cast<double>(2 * i) / static_cast<double>(head_dim)));
    for (size_t position = 0; position < positions; ++position) {
      const float angle = static_cast<float>(position) * frequency;
      cosines_.row(position)[i] = std::cos(angle);
      sines_.row(position)[i] = std::sin(angle);
    }
  }
}

void Rotary::Apply(size_t position, size_t heads, float* x) const {
  const size_t half = cosines_.cols();
  ApplyRotary(RopePairs::kHalves, cosines_.row(position).data(), sines_.row(position).data(), half,
              x, heads, 2 * half);
}

}  // namespace rag
