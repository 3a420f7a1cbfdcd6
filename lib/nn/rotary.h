// Rotary positions (Su et al. 2021, "RoFormer", section 3.4.2): pairs of a head's elements are
// turned by an angle that grows with the token's position, and the ways in which models stretch the
// angles over longer texts than they were first trained on.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "lib/tensor/tensor.h"

namespace rag {

// Which elements of a head are rotated together: (2i, 2i + 1), as GGUF's llama files order them, or
// (i, i + dimensions / 2), as Hugging Face's models and GGUF's other files do.
enum class RopePairs { kNone, kNeighbors, kHalves };

// Rotates `count` heads of head_dim elements each in place; the first 2 * pair_count of a head.
void ApplyRotary(RopePairs pairs, const float* cosines, const float* sines, size_t pair_count,
                 float* heads, size_t count, size_t head_dim);

enum class RopeScaling {
  kNone,
  kLinear,  // positions are divided by the factor (Chen et al. 2023)
  kYarn,    // Peng et al. 2023, "YaRN", section 3.2
  kLong,    // Ding et al. 2024, "LongRoPE": a divisor for each frequency, by the context's length
};

struct RotaryScaling {
  RopeScaling kind = RopeScaling::kNone;
  double factor = 1;
  size_t original_context = 0;   // tokens, before scaling; kYarn and kLong
  double beta_fast = 32;         // rotations within original_context above which kYarn leaves a
  double beta_slow = 1;          // frequency as it is, and below which it divides it by the factor
  bool whole_dimensions = true;  // kYarn's ramp begins and ends at whole dimensions
  double attention_factor = 1;   // cosines and sines are multiplied by it, beside YaRN's own
};

// What YaRN multiplies cosines and sines by (its section 3.4: a temperature of the attention).
double YarnMagnitude(double factor);

// Llama 3.1's divisors of the frequencies [dimensions / 2]: waves of which less than `low` fit into
// the original context are stretched by the factor, those of which more than `high` do are left,
// and between them the stretching fades. high > low.
struct Llama3Scaling {
  double factor = 1;
  double low = 1;
  double high = 4;
  size_t original_context = 0;  // tokens
};
std::vector<float> Llama3Divisors(size_t dimensions, double base, const Llama3Scaling& scaling);

// The angles of one base. Immutable.
class RotaryFrequencies {
 public:
  RotaryFrequencies() = default;
  // dimensions: even, of a head that are rotated. base > 0; > 1 for kYarn. `divisors`
  // [dimensions / 2] or empty: each divides a frequency (Llama 3's and LongRoPE's factors).
  RotaryFrequencies(size_t dimensions, double base, const RotaryScaling& scaling = {},
                    std::span<const float> divisors = {});

  // Cosines and sines [pairs()] of one position.
  void Angles(size_t position, float* cosines, float* sines) const;
  size_t pairs() const { return values_.size(); }

 private:
  friend class Rotary;
  std::vector<double> values_;  // radians a position
  double magnitude_ = 1;
};

// A table of the angles of positions [0, positions), for heads paired by halves. Immutable after
// construction.
class Rotary {
 public:
  Rotary() = default;
  // The angles are products of f32, as Hugging Face's models have them.
  Rotary(size_t positions, const RotaryFrequencies& frequencies);

  // Turns `heads` [heads, head_dim], one after another, by the angles of `position`, in place.
  void Apply(size_t position, size_t heads, float* x) const;

 private:
  Matrix cosines_;  // [positions, head_dim / 2]
  Matrix sines_;
};

}  // namespace rag
