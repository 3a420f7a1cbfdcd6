// Writes a decoder as a GGUF file of another precision.
#pragma once

#include <cstddef>
#include <string>

#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

struct QuantizeReport {
  size_t tensors = 0;
  size_t parameters = 0;
  size_t source_bytes = 0;  // of the tensors
  size_t bytes = 0;
};

// `from` is a GGUF file or a Hugging Face folder of a family that Generator::Load takes; `to` is
// replaced. type: one that CanEncode. Matrices become `type`, round to nearest, and vectors and
// routers f32, with llama.cpp's exceptions: under a type of 4 or 5 bits the output matrix (or the
// embeddings where they are tied) takes Q6_K, and rows that are no whole number of K blocks take
// the type of 32 elements of about the same size, or F16. A folder's vocabulary is written too.
// Errors: those of GgufFile::Open and OpenModelFolder; invalid_argument for a type that is not
// written or a weight that is not finite; unimplemented for a tokenizer that GGUF has no form for;
// cancelled; io_error. No file is left then.
Result<QuantizeReport> QuantizeModel(const std::string& from, const std::string& to, DType type,
                                     const Runtime& runtime, const CancelToken* cancel = nullptr);

}  // namespace rag
