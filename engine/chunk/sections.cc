#include "engine/chunk/sections.h"

#include <algorithm>

#include "engine/parse/paragraphs.h"

namespace rag {
namespace {

// A paragraph in a heading's style is no title; its beginning stands for it.
constexpr size_t kMaxHeadingBytes = 256;

std::string HeadingText(std::string_view text) {
  std::string heading = CollapseSpace(text);
  if (heading.size() <= kMaxHeadingBytes) return heading;
  size_t end = kMaxHeadingBytes;
  while (end > 0 && (heading[end] & 0xC0) == 0x80) --end;
  heading.resize(end);
  return heading;
}

}  // namespace

Sections::Sections(std::string_view text, const std::vector<Block>& blocks)
    : text_(text), blocks_(blocks), heading_(blocks.size(), kNone), parent_(blocks.size(), kNone) {
  uint32_t open = kNone;
  for (uint32_t i = 0; i < blocks.size(); ++i) {
    if (blocks[i].kind == BlockKind::kHeading) {
      while (open != kNone && blocks[open].level >= blocks[i].level) open = parent_[open];
      parent_[i] = open;
      open = i;
    }
    heading_[i] = open;
  }
}

size_t Sections::FirstBlock(uint32_t begin) const {
  return static_cast<size_t>(
      std::upper_bound(blocks_.begin(), blocks_.end(), begin,
                       [](uint32_t at, const Block& block) { return at < block.end; }) -
      blocks_.begin());
}

std::vector<std::string> Sections::Path(uint32_t begin, uint32_t end) const {
  size_t block = FirstBlock(begin);
  if (block == blocks_.size()) return {};
  while (blocks_[block].kind == BlockKind::kHeading && block + 1 < blocks_.size() &&
         blocks_[block + 1].begin < end) {
    ++block;
  }
  std::vector<std::string> path;
  for (uint32_t at = heading_[block]; at != kNone; at = parent_[at]) {
    path.push_back(
        HeadingText(text_.substr(blocks_[at].begin, blocks_[at].end - blocks_[at].begin)));
  }
  std::reverse(path.begin(), path.end());
  return path;
}

}  // namespace rag
