// The principal axes of a sample of vectors.
#pragma once

#include <span>
#include <vector>

#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

struct PrincipalAxes {
  Matrix axes;                    // [count, dim], orthonormal rows, most variance first
  std::vector<double> variances;  // [count], along each
  double total_variance = 0;      // of the sample
};

// sample [n, dim], mean [dim] (zeros: second moments instead of variances), 1 <= count <= dim.
// Orthogonal iteration (Golub and Van Loan, Matrix Computations, 8.2.4) from a fixed start: axes
// whose variances lie close together may come out turned within the space that they span. Uses the
// pool when it is free.
PrincipalAxes FindPrincipalAxes(MatrixView sample, std::span<const float> mean, size_t count,
                                const Runtime& runtime);

// Whether the rows of axes [n, dim] are, to a hundredth.
bool AreOrthonormal(const Matrix& axes, const Runtime& runtime);

}  // namespace rag
