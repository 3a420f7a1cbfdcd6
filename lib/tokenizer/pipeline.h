// The tokenizer that tokenizer.json describes: added tokens, normalizer, pre-tokenizer, model,
// post-processor, decoder. GGUF and vocab.txt tokenizers are made of the same parts.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/tokenizer/added_tokens.h"
#include "lib/tokenizer/decoder.h"
#include "lib/tokenizer/model.h"
#include "lib/tokenizer/normalizer.h"
#include "lib/tokenizer/post_processor.h"
#include "lib/tokenizer/pre_tokenizer.h"
#include "lib/tokenizer/tokenizer.h"
#include "lib/tokenizer/vocabulary.h"

namespace rag {

// Normalizer, pre-tokenizer and model in one pass over the bytes, for the combinations that matter
// for speed. It gives exactly what the parts give.
class FusedEncoder {
 public:
  virtual ~FusedEncoder() = default;
  // `base` is added to the byte ranges; bytes of broken UTF-8 are added to *invalid_bytes.
  virtual void Encode(std::string_view text, uint32_t base, std::vector<Token>& out,
                      size_t* invalid_bytes) const = 0;
};

struct TokenizerParts {
  Vocabulary vocabulary;  // with the added tokens
  std::vector<AddedToken> added_tokens;
  std::unique_ptr<Normalizer> normalizer;       // null: none
  std::unique_ptr<PreTokenizer> pre_tokenizer;  // null: the whole text is one word
  std::unique_ptr<TokenizerModel> model;
  PostProcessor post_processor;
  std::unique_ptr<Decoder> decoder;     // null: pieces joined by spaces
  std::unique_ptr<FusedEncoder> fused;  // null: none; may refer to `model`
  std::vector<TokenId> special_ids;     // besides the special ones of added_tokens
  std::optional<TokenId> bos_id, eos_id, pad_id, unk_id;
  bool truncate_left = false;
};

class PipelineTokenizer final : public Tokenizer {
 public:
  explicit PipelineTokenizer(TokenizerParts parts);

  Encoding Encode(std::string_view text, const EncodeOptions& options) const override;
  Encoding EncodePair(std::string_view first, std::string_view second,
                      const EncodeOptions& options) const override;
  std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const override;
  std::string TokenBytes(TokenId id) const override;
  size_t vocab_size() const override { return parts_.vocabulary.size(); }
  std::string_view Piece(TokenId id) const override { return parts_.vocabulary.Piece(id); }
  std::optional<TokenId> FindPiece(std::string_view piece) const override {
    return parts_.vocabulary.Find(piece);
  }
  bool IsSpecial(TokenId id) const override {
    return id >= 0 && static_cast<size_t>(id) < special_.size() &&
           special_[static_cast<size_t>(id)];
  }
  std::optional<TokenId> bos_id() const override { return parts_.bos_id; }
  std::optional<TokenId> eos_id() const override { return parts_.eos_id; }
  std::optional<TokenId> pad_id() const override { return parts_.pad_id; }
  std::optional<TokenId> unk_id() const override { return parts_.unk_id; }

 private:
  // The tokens of a text, without those that the post-processor adds.
  std::vector<Token> EncodeText(std::string_view text, bool parse_special,
                                size_t* invalid_bytes) const;
  void EncodeSegment(std::string_view text, uint32_t base, bool parse_special,
                     std::vector<Token>& out, size_t* invalid_bytes) const;
  void EncodeChars(Chars chars, std::vector<Token>& out) const;
  void TrimOffsets(std::string_view text, std::vector<Token>& tokens) const;
  Encoding Assemble(std::vector<Token> first, std::vector<Token>* second,
                    const EncodeOptions& options) const;

  TokenizerParts parts_;
  AddedTokenMatcher raw_matcher_;         // tokens looked for in the text
  AddedTokenMatcher normalized_matcher_;  // and in the normalized text
  std::vector<bool> special_;
};

}  // namespace rag
