// The tables of lib/kernels/quantized_*.cc, for their dispatcher alone.
#pragma once

#include "lib/kernels/quantized.h"

namespace rag {

const QuantizedKernels& ScalarQuantizedKernels();
const QuantizedKernels& Avx2QuantizedKernels();
const QuantizedKernels& Avx512QuantizedKernels();

}  // namespace rag
