// f32 weights -> GGUF's block formats.
#pragma once

#include <cstddef>
#include <span>

#include "lib/base/status.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Whether EncodeBlocks writes the type: every floating-point and block type but F64.
bool CanEncode(DType type);

// values.size() is a multiple of the type's block size, bytes.size() what they take. importance: of
// each column of the rows in `values`, the mean square of what it is multiplied with, or empty: all
// columns matter alike. Without it Q8_0 to Q5_1 and MXFP4 are the bytes that the gguf package's
// quantize() gives. The others, and all with importance, choose each group's scale (and minimum) by
// weighted least squares among some candidates, then the block's by their largest, then each
// group's again in the block's steps. Errors: invalid_argument for a type that is not written,
// sizes that do not fit, a value that is infinite or NaN, and an importance that is so or negative.
Status EncodeBlocks(DType type, std::span<const float> values, std::span<std::byte> bytes,
                    std::span<const float> importance = {});

}  // namespace rag
