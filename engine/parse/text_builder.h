// TextBuilder: the text and blocks of a document that is extracted piece by piece.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/document.h"
#include "lib/base/status.h"

namespace rag {

// Blocks are written one after another, an empty line between them; rows of a table, items of a
// list and lines of the same kind stand on consecutive lines.
class TextBuilder {
 public:
  explicit TextBuilder(size_t max_bytes) : max_bytes_(max_bytes) {}

  // Adds a block; text that is white space alone is ignored, and so is everything once the limit
  // was reached. White space inside is kept as it is, at the ends it is cut (for code: only line
  // ends at the start).
  void Add(BlockKind kind, std::string_view text, uint8_t level = 0, uint32_t page = 0);

  bool full() const { return full_; }
  // resource_exhausted when something did not fit, else moves text and blocks into the document.
  Status Finish(Document& document) &&;

 private:
  size_t max_bytes_;
  bool full_ = false;
  std::string text_;
  std::vector<Block> blocks_;
};

}  // namespace rag
