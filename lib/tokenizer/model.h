// The part of a tokenizer that turns one word into pieces of the vocabulary.
#pragma once

#include <span>
#include <vector>

#include "lib/text/unicode.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

struct Token {
  TokenId id = 0;
  uint32_t begin = 0;  // bytes of the original text
  uint32_t end = 0;
};

// Immutable; called from any thread.
class TokenizerModel {
 public:
  virtual ~TokenizerModel() = default;
  // Appends the pieces of one word, which the pre-tokenizers cut out of the normalized text.
  virtual void Tokenize(std::span<const SourceChar> word, std::vector<Token>& out) const = 0;
};

}  // namespace rag
