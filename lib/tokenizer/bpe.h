// Byte-pair encoding (Sennrich et al., 2016): neighbouring symbols are joined, the pair of lowest
// rank first and the leftmost of equals, until no pair is in the table. Over bytes (GPT-2) or over
// characters (CLIP without bytes, SentencePiece-like models).
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lib/base/value.h"
#include "lib/tokenizer/model.h"
#include "lib/tokenizer/pattern.h"
#include "lib/tokenizer/pipeline.h"
#include "lib/tokenizer/vocabulary.h"

namespace rag {

struct BpeSettings {
  // Words come in the byte-level alphabet and the symbols are bytes.
  bool byte_level = false;
  std::string unk_token;          // empty: unknown characters are dropped
  std::string continuing_prefix;  // of every character but the first of a word
  std::string end_suffix;         // of the last character of a word ("</w>")
  bool fuse_unk = false;          // one unknown token for neighbouring unknown characters
  bool byte_fallback = false;     // unknown characters become "<0xAB>" pieces
  bool ignore_merges = false;     // a word that is a piece stays whole
};

class Bpe final : public TokenizerModel {
 public:
  // tokenizer.json's "model" of type BPE. Errors: invalid_argument for a merge whose pieces or
  // result the vocabulary lacks; unsupported for dropout.
  static Result<std::unique_ptr<Bpe>> FromJson(const Value& model, const Vocabulary& vocabulary,
                                               const std::vector<bool>& excluded, bool byte_level);
  // Merges as pairs of pieces, in order of rank. With ignore_merges, `excluded` ids are no words.
  static Result<std::unique_ptr<Bpe>> FromMerges(
      std::span<const std::pair<std::string, std::string>> merges, const Vocabulary& vocabulary,
      const std::vector<bool>& excluded, const BpeSettings& settings);
  // SentencePiece's BPE: any two symbols that join to a piece may, the highest score first.
  // `scores` has one entry an id; only ids with `mergeable` are made by merging.
  static Result<std::unique_ptr<Bpe>> FromScores(std::span<const float> scores,
                                                 const std::vector<bool>& mergeable,
                                                 const Vocabulary& vocabulary,
                                                 const BpeSettings& settings);

  void Tokenize(std::span<const SourceChar> word, std::vector<Token>& out) const override;

  // A byte-level word as it is in the text: byte i lies at offset base + i.
  void TokenizeBytes(std::string_view word, uint32_t base, std::vector<Token>& out) const;

 private:
  // A piece of the word while it is merged: its id and the range of units (bytes or characters).
  struct Symbol {
    uint32_t id;
    uint32_t begin;
    uint32_t end;
  };
  struct Merge {
    uint64_t pair = ~uint64_t{0};
    uint32_t rank = 0;
    uint32_t id = 0;
  };

  explicit Bpe(const BpeSettings& settings) : settings_(settings) {}

  Status Prepare(const Vocabulary& vocabulary);
  void FindAtomicWords(const Vocabulary& vocabulary, const std::vector<bool>& excluded);
  void AddMerge(uint32_t left, uint32_t right, uint32_t rank, uint32_t id);
  const Merge* FindMerge(uint32_t left, uint32_t right) const;
  void MergeAll(std::vector<Symbol>& symbols) const;
  void MergeShort(std::vector<Symbol>& symbols) const;
  void MergeLong(std::vector<Symbol>& symbols) const;
  void SymbolsOfBytes(std::string_view word, std::vector<Symbol>& symbols) const;
  void SymbolsOfChars(std::span<const SourceChar> word, std::vector<Symbol>& symbols) const;

  BpeSettings settings_;
  std::vector<Merge> merges_;  // open addressing, at most half full
  size_t merge_count_ = 0;
  size_t merge_mask_ = 0;

  // Pieces as characters see them; ids from virtual_begin_ on stand for characters that occur in
  // pieces but are none (they can be merged, and are unknown when they stay).
  PieceMap pieces_;
  uint32_t virtual_begin_ = 0;
  std::array<uint32_t, 256> byte_ids_;      // byte-level: of a byte; kNone
  std::array<uint32_t, 256> byte_end_ids_;  // byte-level: of a word's last byte
  std::array<uint32_t, 256> fallback_ids_;  // of "<0xAB>"
  bool has_fallback_ = false;
  // Words that are one piece: of a byte-level model by their bytes; of others only with
  // ignore_merges.
  PieceMap atomic_;
  int64_t unk_id_ = -1;
};

// The byte-level pre-tokenizer and BPE in one pass; `model` must outlive the result.
std::unique_ptr<FusedEncoder> MakeFusedByteLevel(const Bpe& model, WordPattern pattern,
                                                 bool add_prefix_space);

}  // namespace rag
