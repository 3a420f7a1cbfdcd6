// Rotary positions (Su et al. 2021, "RoFormer", section 3.4.2): pairs of a head's elements are
// turned by an angle that grows with the token's position.
#pragma once

#include <cstddef>

#include "lib/tensor/tensor.h"

namespace rag {

// Angles of positions [0, positions), for heads of `head_dim` elements (even). Element i is paired
// with i + head_dim / 2, as transformers and GPT-NeoX pair them. Immutable after construction.
class Rotary {
 public:
  Rotary() = default;
  // All angles are divided by `divisor`.
  Rotary(size_t positions, size_t head_dim, double base, double divisor = 1.0);

  // Turns `heads` [heads, head_dim], one after another, by the angles of `position`, in place.
  void Apply(size_t position, size_t heads, float* x) const;

  size_t positions() const { return cosines_.rows(); }

 private:
  Matrix cosines_;  // [positions, head_dim / 2]
  Matrix sines_;
};

}  // namespace rag
