// TokenMap: where the tokens of a text begin, found once, so that any range is counted by search.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace rag {

class Tokenizer;

class TokenMap {
 public:
  // The text outlives the map. A null tokenizer counts words as ChunkDocument says.
  TokenMap(std::string_view text, const Tokenizer* tokenizer)
      : text_(text), tokenizer_(tokenizer) {}

  // Counts text[begin, end), which begins at or behind the end of what was counted before.
  void Append(uint32_t begin, uint32_t end);

  // Tokens that begin in [begin, end). What a tokenizer gives for the range alone differs by the
  // pieces of a word that is cut.
  size_t Count(uint32_t begin, uint32_t end) const;

  // The largest border in (begin, end] with at most `tokens` tokens and `bytes` bytes from `begin`
  // to it, but at least one character: where a word ends if there is one in the last half, else
  // between two tokens, else between two characters.
  uint32_t CutAfter(uint32_t begin, uint32_t end, size_t tokens, size_t bytes) const;
  // As CutAfter, where the next token begins, whatever stands before it.
  uint32_t CutAtToken(uint32_t begin, uint32_t end, size_t tokens, size_t bytes) const;

  // The smallest beginning of a word in (begin, end) with at most `tokens` tokens from it to `end`;
  // `end` when there is none.
  uint32_t BeginOfLast(uint32_t begin, uint32_t end, size_t tokens) const;

 private:
  void AppendWords(uint32_t begin, uint32_t end);
  void AppendTokens(uint32_t begin, uint32_t end);
  uint32_t CharacterBorder(uint32_t begin, uint32_t at) const;

  std::string_view text_;
  const Tokenizer* tokenizer_;
  std::vector<uint32_t> begins_;  // ascending; equal ones where a character is several tokens
};

}  // namespace rag
