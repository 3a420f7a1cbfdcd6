// Post-processors: which special tokens surround one text or a pair of them.
#pragma once

#include <vector>

#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/tokenizer/tokenizer.h"
#include "lib/tokenizer/vocabulary.h"

namespace rag {

// Every post-processor of tokenizer.json comes down to two templates.
struct PostProcessor {
  struct Item {
    enum Kind : uint8_t { kFirst, kSecond, kSpecial };
    Kind kind = kFirst;
    TokenId id = 0;  // of kSpecial
    uint8_t type_id = 0;
  };
  std::vector<Item> single = {{Item::kFirst, 0, 0}};
  std::vector<Item> pair = {{Item::kFirst, 0, 0}, {Item::kSecond, 0, 1}};
  // White space at the ends of a byte-level token is left out of its range; the first space of the
  // text stays when the pre-tokenizer put it there.
  bool trim_offsets = false;
  bool add_prefix_space = false;

  // tokenizer.json's "post_processor"; JSON null gives the default. Errors: unsupported naming
  // the type; invalid_argument for a wrong field or an unknown special token.
  static Result<PostProcessor> Parse(const Value& json, const Vocabulary& vocabulary);
  // [CLS] A [SEP] and [CLS] A [SEP] B [SEP], the second text and its [SEP] of type 1.
  static PostProcessor Bert(TokenId cls, TokenId sep);
  // <s> A </s> and <s> A </s></s> B </s>, all of type 0.
  static PostProcessor Roberta(TokenId cls, TokenId sep, bool trim_offsets, bool add_prefix_space);

  size_t SpecialCount(bool is_pair) const;
};

}  // namespace rag
