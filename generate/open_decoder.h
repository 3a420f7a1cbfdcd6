// Opening what a decoder is read from: a GGUF file, or a Hugging Face folder as the GGUF file that
// it would become.
#pragma once

#include <memory>
#include <string>

#include "generate/decoder_config.h"
#include "lib/base/status.h"
#include "lib/model/model_file.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// Errors: those of GgufFile::Open and OpenModelFolder.
Result<GgufFile> OpenDecoder(const std::string& path);

// The tokenizer of a file that OpenDecoder gave, all of whose ids have a row of the embeddings; of
// a folder these may have more rows. Errors: those of Tokenizer; invalid_argument with both sizes.
Result<std::unique_ptr<Tokenizer>> OpenTokenizer(const GgufFile& file, const DecoderConfig& config);

}  // namespace rag
