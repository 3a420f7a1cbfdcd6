// A long text in windows that overlap, each between the special tokens of the model's template.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

struct PassageWindow {
  Encoding encoding;       // special tokens, the question's and some of the passage's
  size_t passage_row = 0;  // of `encoding`, where the passage's tokens begin
  size_t first = 0;        // of the passage's tokens
  size_t count = 0;
};

struct PassageWindows {
  std::vector<PassageWindow> windows;    // at least one
  std::vector<Encoding::Range> offsets;  // of each of the passage's tokens
};

// `passage` alone, or behind `question`, in windows of at most max_tokens tokens, neighbours of
// which share `overlap` of the passage's tokens (fewer where a window has hardly room for more).
// Errors: invalid_argument when the question leaves no room for a token of the passage;
// unsupported when the tokenizer's template cannot be told apart from the texts.
Result<PassageWindows> CutPassage(const Tokenizer& tokenizer, const std::string_view* question,
                                  std::string_view passage, size_t max_tokens, size_t overlap);

}  // namespace rag
