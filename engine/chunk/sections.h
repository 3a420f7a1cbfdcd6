// Sections: which headings a place in a document stands under.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/document.h"

namespace rag {

class Sections {
 public:
  // Text and blocks outlive it.
  Sections(std::string_view text, const std::vector<Block>& blocks);

  // The first block that ends behind `begin`; the number of blocks when there is none.
  size_t FirstBlock(uint32_t begin) const;

  // The headings over the first text of [begin, end) that is no heading itself, from the outermost;
  // of headings alone, those over and with the last one.
  std::vector<std::string> Path(uint32_t begin, uint32_t end) const;

 private:
  static constexpr uint32_t kNone = 0xFFFFFFFF;
  std::string_view text_;
  const std::vector<Block>& blocks_;
  std::vector<uint32_t> heading_;  // [blocks] the innermost heading's block, itself for a heading
  std::vector<uint32_t> parent_;   // [blocks] of a heading: the one that it stands under
};

}  // namespace rag
