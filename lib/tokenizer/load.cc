#include <algorithm>
#include <filesystem>

#include "lib/base/file.h"
#include "lib/base/folder.h"
#include "lib/tokenizer/loaders.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

Result<std::unique_ptr<Tokenizer>> LoadFile(const fs::path& path) {
  const std::string name = path.filename().string();
  RAG_ASSIGN_OR_RETURN(const TokenizerConfig config,
                       TokenizerConfig::Read(path.parent_path().string()));
  const std::string extension = path.extension().string();
  Result<std::unique_ptr<Tokenizer>> tokenizer =
      name == "vocab.json"
          ? LoadByteLevelVocabulary(path.string(), (path.parent_path() / "merges.txt").string(),
                                    config)
      : extension == ".json"  ? LoadTokenizerJson(path.string(), config)
      : extension == ".txt"   ? LoadWordPieceVocabulary(path.string(), config)
      : extension == ".model" ? LoadSentencePiece(path.string(), config)
                              : Result<std::unique_ptr<Tokenizer>>(InvalidArgumentError(
                                    "not a tokenizer.json, vocab.txt, vocab.json or .model file"));
  if (!tokenizer.ok() && tokenizer.status().message().find(path.string()) == std::string::npos) {
    return std::move(tokenizer).status().WithContext(path.string());
  }
  return tokenizer;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return NotFoundError(path, ": no such file or folder");
  if (!fs::is_directory(path, error)) return LoadFile(path);
  for (const char* name : {"tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model",
                           "spiece.model", "sentencepiece.bpe.model"}) {
    const fs::path file = fs::path(path) / name;
    if (fs::exists(file, error)) return LoadFile(file);
  }
  RAG_ASSIGN_OR_RETURN(std::vector<fs::path> models, ListFolder(path));
  std::erase_if(models, [](const fs::path& file) { return file.extension() != ".model"; });
  if (models.size() == 1) return LoadFile(models[0]);
  if (models.size() > 1) {
    return InvalidArgumentError(path, ": several .model files; name the one to load");
  }
  return NotFoundError(path,
                       ": no tokenizer.json, vocab.txt, vocab.json or *.model in this folder");
}

// As a tokenizer.json, whose parts are the class's own.
Result<std::unique_ptr<Tokenizer>> LoadWordPieceVocabulary(const std::string& path,
                                                           const TokenizerConfig& config) {
  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxTokenizerBytes));
  TokenizerConfig own = config;
  if (own.own_class != TokenizerClass::kMpnet) own.own_class = TokenizerClass::kBert;
  own.names_class = true;
  Vocabulary vocabulary;
  TokenId id = 0;
  for (size_t begin = 0; begin < text.size(); ++id) {
    size_t end = text.find('\n', begin);
    if (end == std::string::npos) end = text.size();
    std::string_view piece(text.data() + begin, end - begin);
    if (piece.ends_with('\r')) piece.remove_suffix(1);
    RAG_RETURN_IF_ERROR(vocabulary.Add(piece, id));
    begin = end + 1;
  }
  const Value::Object json{
      {"model", Value::Object({{"type", "WordPiece"}})},
      {"normalizer", Value::Object({{"type", "BertNormalizer"}})},
      {"pre_tokenizer", Value::Object({{"type", "BertPreTokenizer"}})},
      {"decoder", Value::Object({{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}})}};
  return TokenizerFromJson(Value(json), std::move(vocabulary), own);
}

}  // namespace rag
