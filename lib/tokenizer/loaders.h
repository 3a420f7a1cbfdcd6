// What Tokenizer::Load and FromGguf are made of: one function a format.
#pragma once

#include <memory>
#include <string>

#include "lib/base/value.h"
#include "lib/tokenizer/model.h"
#include "lib/tokenizer/pipeline.h"
#include "lib/tokenizer/tokenizer_config.h"

namespace rag {

// Largest tokenizer file that is read.
inline constexpr size_t kMaxTokenizerBytes = size_t{256} << 20;

Result<std::unique_ptr<Tokenizer>> LoadTokenizerJson(const std::string& path,
                                                     const TokenizerConfig& config);
// Of what a tokenizer.json says.
Result<std::unique_ptr<Tokenizer>> TokenizerFromJson(const Value& json,
                                                     const TokenizerConfig& config);
// The same of a json whose "model" leaves out the vocabulary, which is read already.
Result<std::unique_ptr<Tokenizer>> TokenizerFromJson(const Value& json, Vocabulary vocabulary,
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

// Unsupported in builds without SentencePiece, and where the class moves the model's ids or adds
// tokens to them.
Result<std::unique_ptr<Tokenizer>> LoadSentencePiece(const std::string& path,
                                                     const TokenizerConfig& config);

// The tokens of tokenizer_config.json's "added_tokens_decoder", or of added_tokens.json, which it
// replaced, by their ids.
Result<std::vector<AddedToken>> ReadConfiguredTokens(const TokenizerConfig& config);

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
