// Texts to encode: a file's as they come, or of one length in tokens.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "lib/base/status.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag::bench {

// What every system encodes in a turn.
struct TextSet {
  std::string name;  // "128 tokens", "corpus.jsonl"
  std::vector<std::string> texts;
  // In tokens, special ones included, each text cut to what the model reads.
  size_t tokens = 0;
  size_t shortest = 0;
  size_t median = 0;
  size_t longest = 0;
};

// The first `limit` (0: all) of a JSONL file: "text", and "title" before it where there is one.
// Errors: not_found; invalid_argument naming the line; resource_exhausted over 4 million texts.
Result<std::vector<std::string>> ReadTexts(const std::string& path, size_t limit);

// Words of the tokenizer's vocabulary in random order (a fixed seed), some hundred a text.
// Errors: failed_precondition when it has hardly any.
Result<std::vector<std::string>> RandomTexts(const Tokenizer& tokenizer, size_t count);

// `count` pieces of the running text of `source`, each of exactly `length` tokens; used again from
// its beginning when it ends. Errors: invalid_argument when the source has no such piece.
Result<TextSet> TextsOfLength(const Tokenizer& tokenizer, const std::vector<std::string>& source,
                              size_t length, size_t count);

// Counts the tokens of texts as they come.
TextSet MakeTextSet(const Tokenizer& tokenizer, std::string name, std::vector<std::string> texts,
                    size_t max_tokens);

// One JSON string a line. Errors: io_error.
Status WriteTexts(const std::string& path, const std::vector<std::string>& texts);

}  // namespace rag::bench
