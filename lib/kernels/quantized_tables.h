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

// What a row keeps of a group of 32 besides its values: `sums` are those of each 16.
void StoreGroupSums(size_t group, float scale, const int (&sums)[2], const ActivationRow& out);

const QuantizedKernels& ScalarQuantizedKernels();
const QuantizedKernels& Avx2QuantizedKernels();
const QuantizedKernels& Avx512QuantizedKernels();

}  // namespace rag
