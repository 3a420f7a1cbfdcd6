// Markdown through cmark-gfm. Blocks are ranges of the file's own bytes, found from the lines and
// columns that cmark gives its leaves (CommonMark 0.29 with GitHub's tables).
#include <cmark-gfm-core-extensions.h>
#include <cmark-gfm.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>

#include "engine/parse/encoding.h"
#include "engine/parse/front_matter.h"
#include "engine/parse/paragraphs.h"
#include "engine/parse/parser.h"

namespace rag {
namespace {

// cmark keeps open containers in a chain that every line walks, so nesting makes it quadratic, and
// it frees and renders them iteratively. Lines of real documents open a handful.
constexpr size_t kMaxContainersInLine = 128;

struct FreeParser {
  void operator()(cmark_parser* parser) const { cmark_parser_free(parser); }
};
struct FreeNode {
  void operator()(cmark_node* node) const { cmark_node_free(node); }
};
struct FreeIterator {
  void operator()(cmark_iter* iterator) const { cmark_iter_free(iterator); }
};
using NodePointer = std::unique_ptr<cmark_node, FreeNode>;

NodePointer Parse(std::string_view text) {
  static std::once_flag registered;
  std::call_once(registered, [] { cmark_gfm_core_extensions_ensure_registered(); });
  const std::unique_ptr<cmark_parser, FreeParser> parser(cmark_parser_new(CMARK_OPT_DEFAULT));
  for (const char* name : {"table", "strikethrough", "tasklist"}) {
    if (cmark_syntax_extension* extension = cmark_find_syntax_extension(name)) {
      cmark_parser_attach_syntax_extension(parser.get(), extension);
    }
  }
  cmark_parser_feed(parser.get(), text.data(), text.size());
  return NodePointer(cmark_parser_finish(parser.get()));
}

// Containers that a line can open at most: its leading '>', '-', '*', '+' and numbers.
size_t ContainersIn(std::string_view line) {
  size_t count = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '>' || c == '-' || c == '*' || c == '+' || c == '.' || c == ')') {
      ++count;
    } else if (!IsSpace(c) && !(c >= '0' && c <= '9')) {
      break;
    }
  }
  return count;
}

bool IsIn(const cmark_node* node, cmark_node_type type) {
  for (cmark_node* up = cmark_node_parent(const_cast<cmark_node*>(node)); up != nullptr;
       up = cmark_node_parent(up)) {
    if (cmark_node_get_type(up) == type) return true;
  }
  return false;
}

// A raw HTML block that is comments and tags only shows nothing.
bool HasTextOutsideTags(std::string_view html) {
  for (size_t i = 0; i < html.size();) {
    if (html.substr(i, 4) == "<!--") {
      const size_t close = html.find("-->", i + 4);
      if (close == std::string_view::npos) return false;
      i = close + 3;
    } else if (html[i] == '<') {
      const size_t close = html.find('>', i);
      if (close == std::string_view::npos) return false;
      i = close + 1;
    } else if (IsSpace(html[i])) {
      ++i;
    } else {
      return true;
    }
  }
  return false;
}

// The text of a heading line: "## Title ## {#anchor}" -> "Title".
ByteRange HeadingText(std::string_view text, ByteRange range) {
  range = TrimRange(text, range);
  const std::string_view heading = text.substr(range.begin, range.end - range.begin);
  if (heading.starts_with('#')) {
    const size_t marks = std::min(heading.find_first_not_of('#'), heading.size());
    range.begin += static_cast<uint32_t>(marks);
    uint32_t end = range.end;
    while (end > range.begin && text[end - 1] == '#') --end;
    if (end == range.begin || IsSpace(text[end - 1])) range.end = end;
  } else {
    // The underline of a setext heading.
    const size_t line = heading.find_last_of("\r\n");
    const std::string_view last =
        Trim(line == std::string_view::npos ? std::string_view() : heading.substr(line));
    if (!last.empty() && (last.find_first_not_of('=') == std::string_view::npos ||
                          last.find_first_not_of('-') == std::string_view::npos)) {
      range.end = range.begin + static_cast<uint32_t>(line);
    }
  }
  range = TrimRange(text, range);
  if (range.end > range.begin && text[range.end - 1] == '}') {
    const std::string_view inner = text.substr(range.begin, range.end - range.begin);
    const size_t anchor = inner.rfind("{#");
    if (anchor != std::string_view::npos && anchor != 0) {
      range.end = range.begin + static_cast<uint32_t>(anchor);
    }
  }
  return TrimRange(text, range);
}

// Cuts the lines of the fence.
ByteRange FencedCode(std::string_view text, ByteRange range) {
  const std::string_view code = text.substr(range.begin, range.end - range.begin);
  const size_t first = code.find_first_of("\r\n");
  if (first == std::string_view::npos) return {range.begin, range.begin};
  size_t end = code.size();
  const size_t last = code.find_last_of("\r\n");
  const std::string_view closing = Trim(code.substr(last));
  if (last > first && closing.size() >= 3 &&
      closing.find_first_not_of(closing.front()) == std::string_view::npos &&
      (closing.front() == '`' || closing.front() == '~')) {
    end = last;
  }
  ByteRange inner{range.begin + static_cast<uint32_t>(first),
                  range.begin + static_cast<uint32_t>(std::max(first, end))};
  while (inner.begin < inner.end && (text[inner.begin] == '\n' || text[inner.begin] == '\r')) {
    ++inner.begin;
  }
  while (inner.end > inner.begin && IsSpace(text[inner.end - 1])) --inner.end;
  return inner;
}

class BlockReader {
 public:
  BlockReader(std::string_view text, uint32_t base)
      : text_(text), base_(base), lines_(SplitLines(text.substr(base))) {}

  std::vector<Block> Read(cmark_node* root) {
    const std::unique_ptr<cmark_iter, FreeIterator> iterator(cmark_iter_new(root));
    while (true) {
      const cmark_event_type event = cmark_iter_next(iterator.get());
      if (event == CMARK_EVENT_DONE) break;
      if (event != CMARK_EVENT_ENTER) continue;
      cmark_node* node = cmark_iter_get_node(iterator.get());
      if (ReadNode(node)) cmark_iter_reset(iterator.get(), node, CMARK_EVENT_EXIT);
    }
    return std::move(blocks_);
  }

 private:
  // Whether the node was a leaf of the structure: what is in it is not looked at.
  bool ReadNode(cmark_node* node) {
    const cmark_node_type type = cmark_node_get_type(node);
    if (type == CMARK_NODE_HEADING) {
      Add(BlockKind::kHeading, HeadingText(text_, RangeOf(node)),
          static_cast<uint8_t>(cmark_node_get_heading_level(node)));
    } else if (type == CMARK_NODE_CODE_BLOCK) {
      const ByteRange range = RangeOf(node);
      int fence_length = 0;
      int fence_offset = 0;
      char fence_character = 0;
      const bool fenced =
          cmark_node_get_fenced(node, &fence_length, &fence_offset, &fence_character) != 0;
      Add(BlockKind::kCode, fenced ? FencedCode(text_, range) : TrimRange(text_, range));
    } else if (type == CMARK_NODE_HTML_BLOCK) {
      const ByteRange range = TrimRange(text_, RangeOf(node));
      if (HasTextOutsideTags(text_.substr(range.begin, range.end - range.begin))) {
        Add(BlockKind::kParagraph, range);
      }
    } else if (type == CMARK_NODE_PARAGRAPH) {
      if (cmark_node_first_child(node) == nullptr) return true;  // link definitions
      const BlockKind kind = IsIn(node, CMARK_NODE_BLOCK_QUOTE) ? BlockKind::kQuote
                             : IsIn(node, CMARK_NODE_ITEM)      ? BlockKind::kListItem
                                                                : BlockKind::kParagraph;
      Add(kind, TrimRange(text_, RangeOf(node)));
    } else if (IsTableRow(node)) {
      Add(BlockKind::kTableRow, TrimRange(text_, RangeOf(node)));
    } else {
      return false;
    }
    return true;
  }

  static bool IsTableRow(cmark_node* node) {
    const std::string_view name = cmark_node_get_type_string(node);
    return name == "table_row" || name == "table_header";
  }

  // The node's lines from its column on, in text_. Columns count bytes, but a tab that was opened
  // in part shifts them: the start is kept within the line.
  ByteRange RangeOf(cmark_node* node) const {
    const int start_line = cmark_node_get_start_line(node);
    const int end_line = std::max(cmark_node_get_end_line(node), start_line);
    if (start_line < 1 || static_cast<size_t>(start_line) > lines_.size()) return {};
    const ByteRange first = lines_[static_cast<size_t>(start_line) - 1];
    const ByteRange last = lines_[std::min(static_cast<size_t>(end_line), lines_.size()) - 1];
    const auto column = static_cast<uint32_t>(std::max(cmark_node_get_start_column(node), 1) - 1);
    ByteRange range{base_ + std::min(first.begin + column, first.end), base_ + last.end};
    while (range.begin > base_ && range.begin < range.end && (text_[range.begin] & 0xC0) == 0x80) {
      --range.begin;
    }
    return range;
  }

  void Add(BlockKind kind, ByteRange range, uint8_t level = 0) {
    if (!blocks_.empty()) range.begin = std::max(range.begin, blocks_.back().end);
    if (range.begin >= range.end) return;
    Block block;
    block.kind = kind;
    block.level = level;
    block.begin = range.begin;
    block.end = range.end;
    blocks_.push_back(block);
  }

  std::string_view text_;
  uint32_t base_;
  std::vector<ByteRange> lines_;  // from base_
  std::vector<Block> blocks_;
};

}  // namespace

Result<ParsedFile> ParseMarkdown(std::string_view content, const ParseSource& source) {
  Document document = MakeDocument(source, "text/markdown");
  RAG_ASSIGN_OR_RETURN(document.text, DecodeText(content));
  FrontMatter front = ReadFrontMatter(document.text);
  const std::string_view body = std::string_view(document.text).substr(front.bytes);
  size_t line_number = 0;
  for (const ByteRange line : SplitLines(body)) {
    ++line_number;
    if (ContainersIn(body.substr(line.begin, line.end - line.begin)) > kMaxContainersInLine &&
        Trim(body.substr(line.begin, line.end - line.begin)).find_first_not_of("-*. ") !=
            std::string_view::npos) {
      return InvalidArgumentError("line ", line_number, " after the front matter opens more than ",
                                  kMaxContainersInLine, " quotes or lists");
    }
  }
  const NodePointer root = Parse(body);
  if (root == nullptr) return ResourceExhaustedError("not enough memory to parse Markdown");
  document.blocks = BlockReader(document.text, static_cast<uint32_t>(front.bytes)).Read(root.get());
  document.metadata = std::move(front.metadata);

  const Value* title = document.metadata.Find("title");
  if (title != nullptr && title->is_string() && !title->as_string().empty()) {
    document.title = title->as_string();
  } else {
    // The first heading of the highest level.
    const Block* best = nullptr;
    for (const Block& block : document.blocks) {
      if (block.kind != BlockKind::kHeading) continue;
      if (best == nullptr || block.level < best->level) best = &block;
    }
    if (best != nullptr) {
      document.title = CollapseSpace(
          std::string_view(document.text).substr(best->begin, best->end - best->begin));
    }
  }
  return OneDocument(std::move(document));
}

}  // namespace rag
