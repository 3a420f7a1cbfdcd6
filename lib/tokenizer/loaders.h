// What Tokenizer::Load and FromGguf are made of: one function a format.
#pragma once

#include <memory>
#include <string>

#include "lib/base/value.h"
#include "lib/tokenizer/model.h"
#include "lib/tokenizer/pipeline.h"

namespace rag {

// Largest tokenizer file that is read.
inline constexpr size_t kMaxTokenizerBytes = size_t{256} << 20;

// tokenizer_config.json's and special_tokens_map.json's settings; every field may be absent.
struct TokenizerConfig {
  Value json = Value::Object();
  Value special_tokens = Value::Object();

  // Reads both files of a folder; absent ones are fine.
  static Result<TokenizerConfig> Read(const std::string& folder);
  // "bos_token" and its like: a string, or an object with "content"; empty when absent.
  std::string Token(std::string_view key) const;
  // "truncation_side", which says from where long texts are read; `fallback` when it says nothing.
  Result<bool> TruncateLeft(bool fallback) const;
};

Result<std::unique_ptr<Tokenizer>> LoadTokenizerJson(const std::string& path,
                                                     const TokenizerConfig& config);
// Of what a tokenizer.json says.
Result<std::unique_ptr<Tokenizer>> TokenizerFromJson(const Value& json,
                                                     const TokenizerConfig& config);
Result<std::unique_ptr<Tokenizer>> LoadWordPieceVocabulary(const std::string& path,
                                                           const TokenizerConfig& config);
// vocab.json and merges.txt, as GPT-2, RoBERTa and CLIP have them.
Result<std::unique_ptr<Tokenizer>> LoadByteLevelVocabulary(const std::string& vocabulary_path,
                                                           const std::string& merges_path,
                                                           const TokenizerConfig& config);
// The "tokenizer.ggml.pre" under which GGUF files know a split pattern of a tokenizer.json; empty
// when they do not.
std::string_view GgufPreTokenizerName(std::string_view pattern);

// Unsupported in builds without SentencePiece.
Result<std::unique_ptr<Tokenizer>> LoadSentencePiece(const std::string& path,
                                                     const TokenizerConfig& config);

// tokenizer.json's "model" over a vocabulary that ReadModelVocabulary filled from it.
Status ReadModelVocabulary(const Value& model, Vocabulary& vocabulary);
// `excluded` ids never come out of a text.
Result<std::unique_ptr<TokenizerModel>> ParseModel(const Value& model, const Vocabulary& vocabulary,
                                                   bool byte_level,
                                                   const std::vector<bool>& excluded);

// BERT in one pass; `model` must outlive the result.
std::unique_ptr<FusedEncoder> MakeFusedBert(const class WordPiece& model,
                                            const BertNormalizerSettings& settings);

}  // namespace rag
