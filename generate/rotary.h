// The angles of decoders' rotary positions and the ways in which models stretch them.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "lib/base/status.h"
#include "lib/nn/rotary.h"
#include "lib/tensor/tensor.h"

namespace rag {

enum class RopeScaling {
  kNone,
  kLinear,  // positions are divided by the factor (Chen et al. 2023)
  kYarn,    // Peng et al. 2023, "YaRN", section 3.2
  kLong,    // Ding et al. 2024, "LongRoPE": a factor for each frequency, by the context's length
};

struct RopeConfig {
  RopePairs pairs = RopePairs::kNone;
  size_t dimensions = 0;  // even, at most head_dim: the first ones of a head are rotated
  double base = 10000;
  double sliding_base =
      10000;  // of sliding layers, which are not scaled, where they have their own
  bool has_sliding_base = false;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1;
  size_t original_context = 0;  // tokens, before scaling; kYarn and kLong
  double beta_fast = 32;        // rotations within original_context above which kYarn leaves a
  double beta_slow = 1;         // frequency as it is, and below which it divides it by the factor
  double attention_factor = 1;  // cosines and sines are multiplied by it, beside YaRN's own
};

// Angles of one base. Immutable.
class RotaryTable {
 public:
  RotaryTable() = default;
  // `divisors` [dimensions / 2] or empty: divides each frequency (Llama 3's and LongRoPE's
  // factors). scaled = false leaves `scaling` out.
  RotaryTable(const RopeConfig& config, double base, std::span<const float> divisors, bool scaled);

  // Cosines and sines [dimensions / 2] of one position.
  void Angles(size_t position, float* cosines, float* sines) const;
  size_t pairs() const { return frequencies_.size(); }

 private:
  std::vector<double> frequencies_;  // radians a position
  double magnitude_ = 1;
};

}  // namespace rag
