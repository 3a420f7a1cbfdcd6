// SafetensorsWriter: tensors -> a .safetensors file.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Format: github.com/huggingface/safetensors, README "Format": a header of JSON, filled up to a
// multiple of 8 bytes, then the tensors without gaps, wider elements first, so that each is aligned
// to its own. Written beside `path` and renamed, so that a broken-off file never looks whole.
// Errors: invalid_argument for a name that is there twice, a type that the format has not, or a
// shape that does not fit the bytes; io_error. No file is left then.
Status WriteSafetensors(const std::string& path, std::span<const NamedTensorView> tensors,
                        std::span<const std::pair<std::string, std::string>> metadata);

}  // namespace rag
