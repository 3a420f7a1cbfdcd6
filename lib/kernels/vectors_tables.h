// The tables of lib/kernels/vectors.h, for its dispatcher and their sources alone.
#pragma once

#include "lib/kernels/vectors.h"

namespace rag {

const VectorKernels& ScalarVectorKernels();
const VectorKernels& Avx2VectorKernels();
const VectorKernels& Avx512VectorKernels();

}  // namespace rag
