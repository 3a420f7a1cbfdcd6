#include <algorithm>
#include <filesystem>

#include "lib/base/file.h"
#include "lib/base/folder.h"
#include "lib/tokenizer/loaders.h"
#include "lib/tokenizer/word_piece.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

Result<Value> ReadJsonFile(const std::string& path) {
  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxTokenizerBytes));
  auto json = ParseJson(text);
  if (!json.ok()) return std::move(json).status().WithContext(path);
  return json;
}

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

Result<TokenizerConfig> TokenizerConfig::Read(const std::string& folder) {
  TokenizerConfig config;
  const auto read = [&](const char* name, Value& into) -> Status {
    const fs::path path = fs::path(folder) / name;
    std::error_code error;
    if (!fs::exists(path, error)) return OkStatus();
    RAG_ASSIGN_OR_RETURN(into, ReadJsonFile(path.string()));
    return OkStatus();
  };
  RAG_RETURN_IF_ERROR(read("tokenizer_config.json", config.json));
  RAG_RETURN_IF_ERROR(read("special_tokens_map.json", config.special_tokens));
  return config;
}

std::string TokenizerConfig::Token(std::string_view key) const {
  for (const Value* object : {&json, &special_tokens}) {
    const Value* value = object->Find(key);
    if (value != nullptr && value->is_object()) value = value->Find("content");
    if (value != nullptr && value->is_string()) return value->as_string();
  }
  return "";
}

Result<bool> TokenizerConfig::TruncateLeft(bool fallback) const {
  RAG_ASSIGN_OR_RETURN(const std::string side, json.GetString("truncation_side", ""));
  if (side.empty()) return fallback;
  if (side == "left" || side == "right") return side == "left";
  return InvalidArgumentError("tokenizer_config.json: 'truncation_side' '", side,
                              "' is neither left nor right");
}

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

Result<std::unique_ptr<Tokenizer>> LoadWordPieceVocabulary(const std::string& path,
                                                           const TokenizerConfig& config) {
  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxTokenizerBytes));
  TokenizerParts parts;
  TokenId id = 0;
  for (size_t begin = 0; begin < text.size(); ++id) {
    size_t end = text.find('\n', begin);
    if (end == std::string::npos) end = text.size();
    std::string_view piece(text.data() + begin, end - begin);
    if (piece.ends_with('\r')) piece.remove_suffix(1);
    RAG_RETURN_IF_ERROR(parts.vocabulary.Add(piece, id));
    begin = end + 1;
  }
  // BertTokenizer's defaults (transformers, tokenization_bert.py).
  const auto token = [&](std::string_view key, std::string_view usual) {
    const std::string name = config.Token(key);
    return name.empty() ? std::string(usual) : name;
  };
  WordPieceSettings word_piece;
  word_piece.unk_token = token("unk_token", "[UNK]");
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<WordPiece> model,
                       WordPiece::Create(parts.vocabulary, word_piece));
  BertNormalizerSettings normalizer;
  RAG_ASSIGN_OR_RETURN(normalizer.lowercase, config.json.GetBool("do_lower_case", true));
  RAG_ASSIGN_OR_RETURN(normalizer.strip_accents,
                       config.json.GetBool("strip_accents", normalizer.lowercase));
  RAG_ASSIGN_OR_RETURN(normalizer.handle_chinese_chars,
                       config.json.GetBool("tokenize_chinese_chars", true));
  const auto cls = parts.vocabulary.Find(token("cls_token", "[CLS]"));
  const auto sep = parts.vocabulary.Find(token("sep_token", "[SEP]"));
  if (!cls || !sep) return InvalidArgumentError("the vocabulary lacks [CLS] or [SEP]");
  parts.post_processor = PostProcessor::Bert(*cls, *sep);
  parts.bos_id = cls;
  parts.eos_id = sep;
  parts.pad_id = parts.vocabulary.Find(token("pad_token", "[PAD]"));
  parts.unk_id = parts.vocabulary.Find(word_piece.unk_token);
  for (const auto& special : {cls, sep, parts.pad_id, parts.unk_id,
                              parts.vocabulary.Find(token("mask_token", "[MASK]"))}) {
    if (!special) continue;
    AddedToken added;
    added.id = *special;
    added.content = std::string(parts.vocabulary.Piece(*special));
    added.special = true;
    parts.added_tokens.push_back(std::move(added));
  }
  RAG_ASSIGN_OR_RETURN(parts.truncate_left, config.TruncateLeft(false));
  parts.normalizer = MakeBertNormalizer(normalizer);
  parts.pre_tokenizer = MakeBertPreTokenizer();
  parts.fused = MakeFusedBert(*model, normalizer);
  parts.model = std::move(model);
  parts.decoder = MakeWordPieceDecoder("##", true);
  return std::unique_ptr<Tokenizer>(new PipelineTokenizer(std::move(parts)));
}

}  // namespace rag
