// MaxSim, the score of late interaction (Khattab & Zaharia 2020, "ColBERT", section 3.3).
#pragma once

#include <cstddef>
#include <vector>

#include "lib/kernels/kernels.h"
#include "lib/tensor/tensor.h"

namespace rag {

// A query's token vectors, packed once for one kernel table. Immutable.
class MaxSimQuery {
 public:
  // tokens [query tokens, dim].
  MaxSimQuery(const Kernels& kernels, MatrixView tokens);

  // The sum, over the query's tokens, of the largest product with a row of `tokens` [n, dim]; 0
  // without rows.
  float Score(MatrixView tokens) const;

 private:
  const Kernels& kernels_;
  const size_t count_;
  const size_t dim_;
  Matrix packed_;
};

}  // namespace rag
