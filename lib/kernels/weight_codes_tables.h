// The tables of lib/kernels/weight_codes.h, for its dispatcher and their sources alone.
#pragma once

#include "lib/kernels/weight_codes.h"

namespace rag {

const WeightCodeKernels& ScalarWeightCodeKernels();
const WeightCodeKernels& Avx2WeightCodeKernels();

}  // namespace rag
