// Writes an encoder's folder with smaller weights.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag {

struct EncoderQuantizeReport {
  size_t tensors = 0;
  size_t rounded = 0;  // of them
  size_t parameters = 0;
  size_t source_bytes = 0;  // of the tensors
  size_t bytes = 0;
};

// `from` is a folder that Encoder::Load takes, `to` a folder that is not there yet, or
// empty: it gets the files beside the weights, the modules' folders, and
// - of type "bf16" or "f16" model.safetensors with all matrices in that type, which other programs
//   read too;
// - of type "int8" model.int8.safetensors, so named because no other program would know the scales:
//   the layers' matrices as Precision::kInt8 rounds them, NAME.weight [out, in] in 8 bits with
//   NAME.weight_scale [out] f32; all else as it was. Its vectors and its fingerprint are those of
//   `from` with Precision::kInt8, bit for bit; a collection made with the one opens with the other.
// Errors: those of Encoder::Load; invalid_argument for another type, a source in 8 bits, a `to` in
// `from`, or a number that the type cannot hold; those of PartialFolder; cancelled; io_error.
// Nothing is left at `to` then.
Result<EncoderQuantizeReport> QuantizeEncoder(const std::string& from, const std::string& to,
                                              std::string_view type, const Runtime& runtime,
                                              const CancelToken* cancel = nullptr);

}  // namespace rag
