// FastRotation: a random rotation in O(dim log dim).
//
// Signs that change at random and Walsh-Hadamard transforms in turn, as Ailon and Chazelle ("The
// fast Johnson-Lindenstrauss transform and approximate nearest neighbors", SIAM J. Comput. 2009)
// spread a vector over all of its elements. A dimension that is no power of two is transformed in
// its first 2^k elements and in its last ones in turn, which overlap: the whole stays orthogonal
// and keeps the dimension.
#pragma once

#include <cstddef>
#include <vector>

#include "lib/kernels/short_codes.h"
#include "lib/runtime/runtime.h"

namespace rag {

class FastRotation {
 public:
  // None: nothing is rotated.
  FastRotation() = default;
  // Always the same one for a dimension, dim >= 1.
  FastRotation(size_t dim, const Runtime& runtime);

  // x [dim] in place. What is rotated is the same for every instruction set but for the rounding.
  void Apply(float* x) const;
  bool empty() const { return signs_.empty(); }
  size_t memory_bytes() const { return signs_.size() * sizeof(float); }

 private:
  const ShortCodeKernels* kernels_ = nullptr;
  size_t dim_ = 0;
  size_t power_ = 0;  // the largest power of two up to dim
  std::vector<float>
      signs_;  // [rounds, dim], each with the transform's scale where that comes next
};

}  // namespace rag
