// WordPiece: the longest piece first (google-research/bert, tokenization.py, WordpieceTokenizer).
#pragma once

#include <string>

#include "lib/tokenizer/model.h"
#include "lib/tokenizer/vocabulary.h"

namespace rag {

struct WordPieceSettings {
  std::string unk_token = "[UNK]";
  std::string continuing_prefix = "##";
  size_t max_chars_per_word = 100;  // a longer word is one unknown token
};

class WordPiece final : public TokenizerModel {
 public:
  // Errors: invalid_argument when the vocabulary lacks the unknown token.
  static Result<std::unique_ptr<WordPiece>> Create(const Vocabulary& vocabulary,
                                                   const WordPieceSettings& settings);

  void Tokenize(std::span<const SourceChar> word, std::vector<Token>& out) const override;

  // The same for a word as UTF-8 of `chars` characters, where byte i comes from
  // [begins[i], ends[i]) of the text. What the fused path for BERT calls.
  void TokenizeBytes(std::string_view word, size_t chars, const uint32_t* begins,
                     const uint32_t* ends, std::vector<Token>& out) const;

 private:
  WordPiece() = default;

  PieceMap first_;       // pieces that begin a word
  PieceMap continuing_;  // the others, without their prefix
  TokenId unk_id_ = 0;
  size_t max_chars_per_word_ = 0;
};

}  // namespace rag
