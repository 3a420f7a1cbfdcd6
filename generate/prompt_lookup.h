// PromptLookup: guesses the next tokens from what the text has said before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "generate/guess_length.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// What followed the last time that the same three tokens stood at the end, or the same two (prompt
// lookup decoding, Saxena 2023; the verification is that of speculative decoding, Leviathan et al.
// 2023).
class PromptLookup {
 public:
  // most: tokens of a guess; 0: none is made.
  explicit PromptLookup(size_t most) : most_(most), length_(std::max<size_t>(1, most), 2) {}

  // At most `most` tokens after `history`, which begins with what it was at the last call.
  std::vector<TokenId> Guess(std::span<const TokenId> history, size_t most);

 private:
  void Learn(std::span<const TokenId> history);
  void Index(std::span<const TokenId> history);

  const size_t most_;
  GuessLength length_;
  size_t guessed_at_ = 0;  // where guess_ would have stood
  std::vector<TokenId> guess_;
  size_t indexed_ = 0;  // tokens whose followers are known
  // The token after the last place of two or three tokens.
  std::unordered_map<uint64_t, uint32_t> after_two_;
  std::unordered_map<uint64_t, uint32_t> after_three_;
};

}  // namespace rag
