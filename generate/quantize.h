// Writes a decoder as a GGUF file of another precision.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "generate/importance.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag {

// A LoRA adapter that becomes a part of the weights, as AdapterOptions names one.
struct MergedAdapter {
  std::string path;
  double scale = 1;
};

struct QuantizeReport {
  size_t tensors = 0;
  size_t parameters = 0;
  size_t source_bytes = 0;  // of the tensors
  size_t bytes = 0;
};

struct QuantizeOptions {
  // Of the matrices: a name of WeightMixes (generate/weight_mix.h), "Q8_0", "Q4_K_M".
  std::string type;
  // What the errors of block types are weighed by; null: all columns matter alike. Outlives the
  // call.
  const Importance* importance = nullptr;
  std::span<const MergedAdapter> adapters;  // likewise
};

// `from` is a GGUF file or a Hugging Face folder of a family that Generator::Load takes; `to` is
// replaced. Matrices take the types that the mix chooses, and vectors and routers f32, with
// llama.cpp's exceptions: under a type of fewer than 8 bits the output matrix (or the embeddings
// where they are tied) takes Q6_K, and rows that are no whole number of K blocks take the type of
// 32 elements of about the same size, or F16. A folder's vocabulary is written too.
// What adapters add is added to the weights before they are rounded. Errors: those
// of GgufFile::Open and OpenModelFolder; invalid_argument for a type that is not known, a weight
// that is not finite, an importance or an adapter of another model; unsupported for a tokenizer
// that GGUF has no form for, or an adapter that cannot be part of the file; cancelled; io_error. No
// file is left then.
Result<QuantizeReport> QuantizeModel(const std::string& from, const std::string& to,
                                     const QuantizeOptions& options, const Runtime& runtime,
                                     const CancelToken* cancel = nullptr);

}  // namespace rag
