// Tokens that are cut out of a text before anything else ("[SEP]", "<|im_end|>", "<extra_id_0>").
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "lib/tokenizer/tokenizer.h"
#include "lib/tokenizer/vocabulary.h"

namespace rag {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false;
  bool single_word = false;  // only between characters that \w does not match
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and after it
  bool normalized = false;   // looked for in the normalized text
};

// Finds the leftmost, longest occurrences of a set of tokens.
class AddedTokenMatcher {
 public:
  void Add(const AddedToken& token, std::string_view content);
  bool empty() const { return tokens_.empty(); }

  struct Found {
    size_t begin = 0;  // bytes
    size_t end = 0;
    TokenId id = 0;
  };
  // Appends the occurrences. Special tokens are passed over, as text, unless `parse_special`; what
  // lies inside one that was passed over is not looked at (as tokenizers does it).
  void FindAll(std::string_view text, bool parse_special, std::vector<Found>& found) const;

 private:
  std::vector<AddedToken> tokens_;
  PieceMap by_content_;  // content -> index of tokens_
  // Byte lengths of the tokens that begin with a byte, longest first.
  std::array<std::vector<uint32_t>, 256> lengths_;
};

}  // namespace rag
