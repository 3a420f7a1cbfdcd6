// f32 weights -> GGUF's block formats, round to nearest.
#pragma once

#include <cstddef>
#include <span>

#include "lib/base/status.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Whether EncodeBlocks writes the type: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K
// and Q6_K.
bool CanEncode(DType type);

// values.size() is a multiple of the type's block size, bytes.size() what they take. Q8_0 to Q5_1
// are the bytes that the gguf package's quantize() gives. The K types choose each group's scale
// (and minimum) by least squares among some candidates, then the block's by their largest. Errors:
// invalid_argument for a type that is not written, sizes that do not fit, and a value that is
// infinite or NaN.
Status EncodeBlocks(DType type, std::span<const float> values, std::span<std::byte> bytes);

}  // namespace rag
