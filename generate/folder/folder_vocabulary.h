// The vocabulary of a Hugging Face folder as a GGUF file's tokenizer.ggml.* keys.
#pragma once

#include <cstddef>
#include <string>

#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

// Byte-level BPE becomes the model "gpt2", BPE with byte fallback "llama" (a piece's score is its
// negative id, as llama.cpp's converter has it). Tokens up to `rows`, the embeddings' rows, are
// filled up with unused ones. Errors: those of Tokenizer::Load; unsupported naming a model or a
// pre-tokenizer that GGUF has no name for.
Status AddVocabulary(const std::string& folder, size_t rows, Value::Object& metadata);

}  // namespace rag
