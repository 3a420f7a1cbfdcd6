// TokenTable: the tokens of a vocabulary by their bytes.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "generate/constraint/token_trie.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

class CharacterRuns;

// Immutable. Special tokens, those that end an output, and tokens without bytes are left out.
class TokenTable {
 public:
  // end_tokens: sorted.
  explicit TokenTable(const Tokenizer& tokenizer, std::span<const TokenId> end_tokens = {});
  ~TokenTable();

  size_t size() const { return token_count_; }
  size_t vocab_size() const { return vocab_size_; }
  const TokenTrie& trie() const { return trie_; }
  // The part of it that begins with a byte.
  TokenTrie::Range beginning_with(uint8_t byte) const { return beginning_with_[byte]; }
  // Runs of the sets that most long texts are of: what stands for itself in JSON strings, and all
  // but line breaks.
  std::span<const std::unique_ptr<const CharacterRuns>> common_runs() const { return common_runs_; }

  size_t memory_bytes() const;

  // Bytes that are a token by themselves: what an automaton over them asks for can always be
  // written.
  const std::bitset<256>& single_bytes() const { return single_bytes_; }

 private:
  size_t vocab_size_;
  size_t token_count_ = 0;
  TokenTrie trie_;
  std::array<TokenTrie::Range, 256> beginning_with_;
  std::vector<std::unique_ptr<const CharacterRuns>> common_runs_;
  std::bitset<256> single_bytes_;
};

}  // namespace rag
