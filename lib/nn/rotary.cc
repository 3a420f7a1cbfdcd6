#include "lib/nn/rotary.h"

#include <cmath>

namespace rag {

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
  const float* cosines = cosines_.row(position).data();
  const float* sines = sines_.row(position).data();
  for (size_t head = 0; head < heads; ++head, x += 2 * half) {
    for (size_t i = 0; i < half; ++i) {
      const float a = x[i];
      const float b = x[i + half];
      x[i] = a * cosines[i] - b * sines[i];
      x[i + half] = b * cosines[i] + a * sines[i];
    }
  }
}

}  // namespace rag
