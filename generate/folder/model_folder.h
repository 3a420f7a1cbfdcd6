// A Hugging Face folder (config.json and weights) as the GGUF file that it would become, so that
// everything after it knows one form.
#pragma once

#include <string>

#include "lib/base/status.h"
#include "lib/model/model_file.h"

namespace rag {

// Whether the folder's config.json names a decoder that OpenModelFolder knows. Folders that
// sentence-transformers made (modules.json) are encoders, whatever their config.json says.
bool IsDecoderFolder(const std::string& folder);

// Metadata and tensors under GGUF's names, in the orders that llama.cpp's converter gives them;
// tokenizer.chat_template and the ids that end a text are among the metadata, the vocabulary is
// not. Tensors are views of the mapped files but where their order differs (queries' and keys' rows
// of Llama's family, GPT-2's transposed matrices, rows that mix queries, keys and values), and
// each expert has tensors of its own. The path is the folder's.
// Errors: those of TensorFile::Open; unsupported naming a model_type, a setting of
// config.json or a tensor that is not known; invalid_argument naming the key of config.json that is
// missing, of another type, or outside its bounds, and its value.
Result<GgufFile> OpenModelFolder(const std::string& folder);

}  // namespace rag
