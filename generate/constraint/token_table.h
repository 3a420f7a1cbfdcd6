// The bytes of every token of a vocabulary, in an order in which common beginnings are walked once.
#pragma once

#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/tokenizer/tokenizer.h"

namespace rag {

// Immutable. Special tokens, and tokens without bytes, are left out.
class TokenTable {
 public:
  explicit TokenTable(const Tokenizer& tokenizer);

  size_t size() const { return ids_.size(); }
  TokenId id(size_t index) const { return ids_[index]; }
  std::string_view bytes(size_t index) const {
    return std::string_view(text_).substr(begins_[index], begins_[index + 1] - begins_[index]);
  }
  // Bytes that a token shares with the one before it.
  size_t common(size_t index) const { return common_[index]; }
  size_t vocab_size() const { return vocab_size_; }
  // Bytes that are a token by themselves: what an automaton over them asks for can always be
  // written.
  const std::bitset<256>& single_bytes() const { return single_bytes_; }

 private:
  size_t vocab_size_;
  std::vector<TokenId> ids_;  // sorted by bytes
  std::vector<uint32_t> begins_;
  std::vector<uint32_t> common_;
  std::string text_;
  std::bitset<256> single_bytes_;
};

}  // namespace rag
