// Plain text into lines and paragraphs.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/document.h"

namespace rag {

struct ByteRange {
  uint32_t begin = 0;
  uint32_t end = 0;
};

// White space that separates words in text: ASCII's.
inline bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
// The range without white space at its ends.
ByteRange TrimRange(std::string_view text, ByteRange range);
std::string_view Trim(std::string_view text);
// Runs of white space (also U+00A0 and U+3000) become one space, none stays at the ends.
std::string CollapseSpace(std::string_view text);

// The lines of text[begin, end) without their ends (\n, \r\n or \r).
std::vector<ByteRange> SplitLines(std::string_view text);
// Runs of lines that are not blank, trimmed.
std::vector<ByteRange> SplitParagraphs(std::string_view text);
// Adds a block for every paragraph of text[begin, end).
void AppendParagraphs(std::string_view text, uint32_t begin, uint32_t end, BlockKind kind,
                      std::vector<Block>& blocks);

}  // namespace rag
