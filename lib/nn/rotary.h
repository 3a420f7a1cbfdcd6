// Rotary positions (Su et al. 2021, "RoFormer", section 3.4.2): pairs of a head's elements are
// turned by an angle that grows with the token's position.
#pragma once

#include <cstddef>

#include "lib/tensor/tensor.h"

namespace rag {

// Which elements of a head are rotated together: (2i, 2i + 1), as GGUF's llama files order them, or
// (i, i + dimensions / 2), as Hugging Face's models and GGUF's other files do.
enum class RopePairs { kNone, kNeighbors, kHalves };

// Rotates `count` heads of head_dim elements each in place; the first 2 * pair_count of a head.
void ApplyRotary(RopePairs pairs, const float* cosines, const float* sines, size_t pair_count,
                 float* heads, size_t count, size_t head_dim);

// A table of the angles of positions [0, positions), for heads of `head_dim` elements (even),
// paired by halves. Immutable after construction.
class Rotary {
 public:
  Rotary() = default;
  // All angles are divided by `divisor`.
  Rotary(size_t positions, size_t head_dim, double base, double divisor = 1.0);

  // Turns `heads` [heads, head_dim], one after another, by the angles of `position`, in place.
  void Apply(size_t position, size_t heads, float* x) const;

 private:
  Matrix cosines_;  // [positions, head_dim / 2]
  Matrix sines_;
};

}  // namespace rag
