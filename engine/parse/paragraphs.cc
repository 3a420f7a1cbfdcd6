#include "engine/parse/paragraphs.h"

namespace rag {

ByteRange TrimRange(std::string_view text, ByteRange range) {
  while (range.begin < range.end && IsSpace(text[range.begin])) ++range.begin;
  while (range.end > range.begin && IsSpace(text[range.end - 1])) --range.end;
  return range;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

std::string CollapseSpace(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool space = false;
  for (size_t i = 0; i < text.size();) {
    size_t wide = 0;
    if (IsSpace(text[i])) {
      wide = 1;
    } else if (text.substr(i, 2) == "\u00a0") {
      wide = 2;
    } else if (text.substr(i, 3) == "\u3000") {
      wide = 3;
    }
    if (wide != 0) {
      space = true;
      i += wide;
      continue;
    }
    if (space && !out.empty()) out += ' ';
    space = false;
    out += text[i++];
  }
  return out;
}

std::vector<ByteRange> SplitLines(std::string_view text) {
  std::vector<ByteRange> lines;
  size_t begin = 0;
  while (begin < text.size()) {
    size_t end = text.find_first_of("\n\r", begin);
    if (end == std::string_view::npos) end = text.size();
    lines.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
    if (end < text.size() && text[end] == '\r' && end + 1 < text.size() && text[end + 1] == '\n') {
      ++end;
    }
    begin = end + 1;
  }
  return lines;
}

std::vector<ByteRange> SplitParagraphs(std::string_view text) {
  std::vector<ByteRange> paragraphs;
  ByteRange open;
  for (const ByteRange line : SplitLines(text)) {
    const ByteRange trimmed = TrimRange(text, line);
    if (trimmed.begin == trimmed.end) {
      if (open.end != 0) paragraphs.push_back(open);
      open = {};
      continue;
    }
    if (open.end == 0) open.begin = trimmed.begin;
    open.end = trimmed.end;
  }
  if (open.end != 0) paragraphs.push_back(open);
  return paragraphs;
}

void AppendParagraphs(std::string_view text, uint32_t begin, uint32_t end, BlockKind kind,
                      std::vector<Block>& blocks) {
  for (const ByteRange range : SplitParagraphs(text.substr(begin, end - begin))) {
    Block block;
    block.kind = kind;
    block.begin = begin + range.begin;
    block.end = begin + range.end;
    blocks.push_back(block);
  }
}

}  // namespace rag
