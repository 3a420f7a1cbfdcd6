#include "engine/parse/text_builder.h"

#include <utility>

#include "engine/parse/paragraphs.h"

namespace rag {

void TextBuilder::Add(BlockKind kind, std::string_view text, uint8_t level, uint32_t page) {
  if (full_) return;
  if (kind == BlockKind::kCode) {
    while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
    // Indentation of the first line is part of the code, empty lines before it are not.
    const size_t first = text.find_first_not_of(" \t\r\n\f\v");
    const size_t line = text.substr(0, first).find_last_of("\r\n");
    if (first != std::string_view::npos && line != std::string_view::npos) {
      text.remove_prefix(line + 1);
    }
  } else {
    text = Trim(text);
  }
  if (text.empty()) return;
  std::string_view separator = "\n\n";
  if (blocks_.empty()) {
    separator = "";
  } else if (blocks_.back().kind == kind &&
             (kind == BlockKind::kTableRow || kind == BlockKind::kListItem)) {
    separator = "\n";
  }
  if (text_.size() + separator.size() + text.size() > max_bytes_) {
    full_ = true;
    return;
  }
  text_ += separator;
  Block block;
  block.kind = kind;
  block.level = level;
  block.page = page;
  block.begin = static_cast<uint32_t>(text_.size());
  text_ += text;
  block.end = static_cast<uint32_t>(text_.size());
  blocks_.push_back(block);
}

Status TextBuilder::Finish(Document& document) && {
  if (full_) return ResourceExhaustedError("its text is over the limit of ", max_bytes_, " bytes");
  document.text = std::move(text_);
  document.blocks = std::move(blocks_);
  return OkStatus();
}

}  // namespace rag
