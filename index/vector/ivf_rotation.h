// The rotation of optimized product quantization: Ge, He, Ke and Sun, "Optimized product
// quantization" (IEEE TPAMI 2014), the non-parametric solution.
#pragma once

#include "index/vector_index.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// [dim, dim] with orthonormal rows, under which product codes of the options lose the least of the
// rows [n, dim], n >= 1. Codebooks and rotation are found in turn: with given codes the best
// rotation is the polar factor of their products with the rows, which Newton and Schulz's iteration
// finds (Higham, Functions of Matrices, 8.3) with nothing but matrix products.
Matrix LearnRotation(MatrixView rows, const IvfOptions& options, const Runtime& runtime);

}  // namespace rag
