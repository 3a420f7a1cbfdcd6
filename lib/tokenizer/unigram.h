// The unigram language model (Kudo, 2018): the segmentation of highest total score, by Viterbi.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "lib/base/value.h"
#include "lib/tokenizer/model.h"
#include "lib/tokenizer/vocabulary.h"

namespace rag {

// A trie over bytes with its edges in one hash table.
class ByteTrie {
 public:
  ByteTrie() : values_(1, -1) {}
  void Add(std::string_view key, TokenId value);
  // Node 0 is the root; 0 when there is no such child.
  uint32_t Child(uint32_t node, unsigned char byte) const {
    if (edges_.empty()) return 0;
    const uint64_t key = Key(node, byte);
    for (size_t i = Slot(key);; i = (i + 1) & mask_) {
      if (edges_[i].key == key) return edges_[i].child;
      if (edges_[i].child == 0) return 0;
    }
  }
  // -1 for a node where no key ends.
  TokenId value(uint32_t node) const { return values_[node]; }

 private:
  struct Edge {
    uint64_t key = 0;
    uint32_t child = 0;  // 0: an empty place, since the root is nobody's child
  };
  static uint64_t Key(uint32_t node, unsigned char byte) { return uint64_t{node} << 8 | byte; }
  size_t Slot(uint64_t key) const {
    key *= 0x9E3779B97F4A7C15;
    return (key ^ key >> 32) & mask_;
  }
  void Insert(Edge edge);

  std::vector<Edge> edges_;  // open addressing, at most half full
  std::vector<TokenId> values_;
  size_t mask_ = 0;
  size_t count_ = 0;
};

struct UnigramSettings {
  int64_t unk_id = -1;         // below 0: unknown characters are dropped
  bool byte_fallback = false;  // unknown characters become "<0xAB>" pieces
  bool fuse_unk = true;        // one unknown token for neighbouring unknown characters
};

class Unigram final : public TokenizerModel {
 public:
  // tokenizer.json's "model" of type Unigram. Pieces with an id in `excluded` never come out of a
  // text (the special tokens).
  static Result<std::unique_ptr<Unigram>> FromJson(const Value& model, const Vocabulary& vocabulary,
                                                   const std::vector<bool>& excluded);
  static Result<std::unique_ptr<Unigram>> Create(std::vector<double> scores,
                                                 const Vocabulary& vocabulary,
                                                 const std::vector<bool>& excluded,
                                                 const UnigramSettings& settings);

  void Tokenize(std::span<const SourceChar> word, std::vector<Token>& out) const override;

 private:
  explicit Unigram(const UnigramSettings& settings) : settings_(settings) {}

  UnigramSettings settings_;
  ByteTrie trie_;
  std::vector<double> scores_;
  double unk_score_ = 0;
  std::vector<TokenId> fallback_ids_;  // of the 256 bytes; empty without byte_fallback
};

}  // namespace rag
