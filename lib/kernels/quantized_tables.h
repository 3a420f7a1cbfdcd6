// What lib/kernels/quantized_*.cc and activation_rows_*.cc give to the dispatcher.
#pragma once

#include "lib/kernels/quantized.h"

namespace rag {

// QuantizedKernels::quantize_row.
void ScalarQuantizeRow(const float* x, size_t cols, size_t padded, ScaleOf scale_of,
                       const ActivationRow& out);
void Avx2QuantizeRow(const float* x, size_t cols, size_t padded, ScaleOf scale_of,
                     const ActivationRow& out);
void Avx512QuantizeRow(const float* x, size_t cols, size_t padded, ScaleOf scale_of,
                       const ActivationRow& out);

const QuantizedKernels& ScalarQuantizedKernels();
const QuantizedKernels& Avx2QuantizedKernels();
const QuantizedKernels& Avx512QuantizedKernels();

}  // namespace rag
