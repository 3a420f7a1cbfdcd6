// PromptLookup: guesses the next tokens from what the text has said before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "lib/tokenizer/tokenizer.h"

namespace rag {

// What followed the last time that the same three tokens stood at the end, or the same two (prompt
// lookup decoding, Saxena 2023; the verification is that of speculative decoding, Leviathan et al.
// 2023). Guesses grow while they come true and shrink, and pause, when they do not: each costs a
// row of the forward pass.
class PromptLookup {
 public:
  // most: tokens of a guess; 0: none is made.
  explicit PromptLookup(size_t most) : most_(most) {}

  // At most `most` tokens after `history`, which begins with what it was at the last call.
  std::vector<TokenId> Guess(std::span<const TokenId> history, size_t most);

 private:
  void Learn(std::span<const TokenId> history);
  void Index(std::span<const TokenId> history);

  const size_t most_;
  size_t length_ = 2;
  size_t pause_ = 0;       // guesses not to be made
  size_t next_pause_ = 1;  // after the next one that is wrong at once
  size_t guessed_at_ = 0;  // where guess_ would have stood
  std::vector<TokenId> guess_;
  size_t indexed_ = 0;  // tokens whose followers are known
  // The token after the last place of two or three tokens.
  std::unordered_map<uint64_t, uint32_t> after_two_;
  std::unordered_map<uint64_t, uint32_t> after_three_;
};

}  // namespace rag
