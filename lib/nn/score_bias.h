// What is added to attention scores for the distance between query and key.
#pragma once

#include <cstddef>

#include "lib/base/status.h"
#include "lib/tensor/tensor.h"

namespace rag {

// The slope of one of `heads` heads (Press et al. 2022); max_bias is 8 in the paper. Heads beyond a
// power of two take the odd slopes of twice as many, as its authors' code does.
double AlibiSlope(size_t head, size_t heads, double max_bias);

// For each head one number for each distance. Immutable after construction.
class ScoreBias {
 public:
  ScoreBias() = default;
  // ALiBi on both sides: -slope * |distance|, with the paper's slopes.
  static ScoreBias Alibi(size_t heads, size_t max_length);
  // T5's relative positions (Raffel et al. 2020, section 2.1), on both sides: distances in
  // `table`'s rows [buckets, heads], half of them for each direction, exact when small and
  // logarithmic up to `max_distance`, which is more than a quarter of them.
  static ScoreBias Buckets(MatrixView table, size_t max_distance, size_t max_length);

  bool empty() const { return values_.rows() == 0; }
  // Points at distance 0 = key - query; distances -max_length + 1 to max_length - 1 are around it.
  const float* head(size_t head) const { return values_.row(head).data() + values_.cols() / 2; }

 private:
  Matrix values_;  // [heads, 2 * max_length - 1]
};

}  // namespace rag
