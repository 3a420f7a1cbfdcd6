#include "generate/open_decoder.h"

#include <filesystem>

#include "generate/folder/model_folder.h"

namespace rag {
namespace {

bool IsFolder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

}  // namespace

Result<GgufFile> OpenDecoder(const std::string& path) {
  return IsFolder(path) ? OpenModelFolder(path) : GgufFile::Open(path);
}

Result<std::unique_ptr<Tokenizer>> OpenTokenizer(const GgufFile& file,
                                                 const DecoderConfig& config) {
  const bool folder = IsFolder(file.path());
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer,
                       folder ? Tokenizer::Load(file.path()) : Tokenizer::FromGguf(file));
  const size_t tokens = tokenizer->vocab_size();
  if (tokens > config.vocab_size || (tokens < config.vocab_size && !folder)) {
    return InvalidArgumentError(file.path(), ": the vocabulary has ", tokens,
                                " tokens, the tensor 'token_embd.weight' ", config.vocab_size);
  }
  return tokenizer;
}

}  // namespace rag
