// HTML through gumbo: headings, paragraphs, lists, tables and preformatted text of the page's body.
#include <gumbo.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "engine/parse/encoding.h"
#include "engine/parse/html.h"
#include "engine/parse/html_guard.h"
#include "engine/parse/paragraphs.h"
#include "engine/parse/parser.h"
#include "engine/parse/text_builder.h"

namespace rag {
namespace {

// Where the encoding of a page is declared (HTML 5, 13.2.3.2).
constexpr size_t kPrescanBytes = 4'096;
// gumbo frees its tree by recursion; an arena, freed as a whole, needs no such walk.
constexpr size_t kMaxSpan = 1'000;
constexpr size_t kArenaPiece = size_t{256} << 10;

class Arena {
 public:
  static void* Allocate(void* arena, size_t bytes) {
    return static_cast<Arena*>(arena)->AllocateBytes(bytes);
  }
  static void Free(void*, void*) {}

 private:
  void* AllocateBytes(size_t bytes) {
    bytes = (bytes + alignof(std::max_align_t) - 1) & ~(alignof(std::max_align_t) - 1);
    if (bytes > left_) {
      left_ = std::max(bytes, kArenaPiece);
      pieces_.push_back(std::make_unique_for_overwrite<std::byte[]>(left_));
      next_ = pieces_.back().get();
    }
    void* result = next_;
    next_ += bytes;
    left_ -= bytes;
    return result;
  }

  std::vector<std::unique_ptr<std::byte[]>> pieces_;
  std::byte* next_ = nullptr;
  size_t left_ = 0;
};

std::string_view Attribute(const GumboNode* node, const char* name) {
  const GumboAttribute* found = gumbo_get_attribute(&node->v.element.attributes, name);
  return found == nullptr ? std::string_view() : std::string_view(found->value);
}

bool HasAttribute(const GumboNode* node, const char* name) {
  return gumbo_get_attribute(&node->v.element.attributes, name) != nullptr;
}

const GumboVector* ChildrenOf(const GumboNode* node) {
  if (node->type == GUMBO_NODE_ELEMENT) return &node->v.element.children;
  if (node->type == GUMBO_NODE_DOCUMENT) return &node->v.document.children;
  return nullptr;
}

const GumboNode* Child(const GumboNode* node, size_t i) {
  return static_cast<const GumboNode*>(ChildrenOf(node)->data[i]);
}

bool IsSkipped(GumboTag tag) {
  switch (tag) {
    case GUMBO_TAG_SCRIPT:
    case GUMBO_TAG_STYLE:
    case GUMBO_TAG_NAV:
    case GUMBO_TAG_NOSCRIPT:
    case GUMBO_TAG_TEMPLATE:
    case GUMBO_TAG_HEAD:
    case GUMBO_TAG_SVG:
    case GUMBO_TAG_IFRAME:
    case GUMBO_TAG_OBJECT:
    case GUMBO_TAG_AUDIO:
    case GUMBO_TAG_VIDEO:
    case GUMBO_TAG_CANVAS:
    case GUMBO_TAG_MAP:
    case GUMBO_TAG_SELECT:
    case GUMBO_TAG_DATALIST:
    case GUMBO_TAG_NOFRAMES:
      return true;
    default:
      return false;
  }
}

// Elements that begin and end a block. Everything else flows within one.
bool IsBlockLevel(GumboTag tag) {
  switch (tag) {
    case GUMBO_TAG_ADDRESS:
    case GUMBO_TAG_ARTICLE:
    case GUMBO_TAG_ASIDE:
    case GUMBO_TAG_BLOCKQUOTE:
    case GUMBO_TAG_BODY:
    case GUMBO_TAG_CAPTION:
    case GUMBO_TAG_CENTER:
    case GUMBO_TAG_DD:
    case GUMBO_TAG_DETAILS:
    case GUMBO_TAG_DIR:
    case GUMBO_TAG_DIV:
    case GUMBO_TAG_DL:
    case GUMBO_TAG_DT:
    case GUMBO_TAG_FIELDSET:
    case GUMBO_TAG_FIGCAPTION:
    case GUMBO_TAG_FIGURE:
    case GUMBO_TAG_FOOTER:
    case GUMBO_TAG_FORM:
    case GUMBO_TAG_H1:
    case GUMBO_TAG_H2:
    case GUMBO_TAG_H3:
    case GUMBO_TAG_H4:
    case GUMBO_TAG_H5:
    case GUMBO_TAG_H6:
    case GUMBO_TAG_HEADER:
    case GUMBO_TAG_HGROUP:
    case GUMBO_TAG_HR:
    case GUMBO_TAG_HTML:
    case GUMBO_TAG_LEGEND:
    case GUMBO_TAG_LI:
    case GUMBO_TAG_LISTING:
    case GUMBO_TAG_MAIN:
    case GUMBO_TAG_MENU:
    case GUMBO_TAG_OL:
    case GUMBO_TAG_P:
    case GUMBO_TAG_PRE:
    case GUMBO_TAG_SECTION:
    case GUMBO_TAG_SUMMARY:
    case GUMBO_TAG_TABLE:
    case GUMBO_TAG_TBODY:
    case GUMBO_TAG_TD:
    case GUMBO_TAG_TFOOT:
    case GUMBO_TAG_TH:
    case GUMBO_TAG_THEAD:
    case GUMBO_TAG_TR:
    case GUMBO_TAG_UL:
    case GUMBO_TAG_XMP:
      return true;
    default:
      return false;
  }
}

int HeadingLevel(GumboTag tag) {
  return tag >= GUMBO_TAG_H1 && tag <= GUMBO_TAG_H6 ? tag - GUMBO_TAG_H1 + 1 : 0;
}

// A table that arranges a page: its cells hold tables or headings.
bool IsLayoutTable(const GumboNode* table) {
  std::vector<const GumboNode*> open = {table};
  while (!open.empty()) {
    const GumboNode* node = open.back();
    open.pop_back();
    const GumboVector* children = ChildrenOf(node);
    if (children == nullptr) continue;
    if (node != table &&
        (node->v.element.tag == GUMBO_TAG_TABLE || HeadingLevel(node->v.element.tag) != 0)) {
      return true;
    }
    for (unsigned i = 0; i < children->length; ++i) open.push_back(Child(node, i));
  }
  return false;
}

class Walker {
 public:
  Walker(TextBuilder& builder, const CancelToken* cancel) : builder_(builder), cancel_(cancel) {}

  // Depth first with its own stack; an element is met a second time when its children are done.
  Status Walk(const GumboNode* root) {
    std::vector<Open> open = {{root, 0}};
    Enter(root);
    size_t steps = 0;
    while (!open.empty()) {
      if (++steps % 4'096 == 0 && cancel_ != nullptr && cancel_->cancelled()) {
        return CancelledError("cancelled");
      }
      Open& top = open.back();
      const GumboVector* children = ChildrenOf(top.node);
      if (top.next_child == children->length) {
        Leave(top.node);
        open.pop_back();
        continue;
      }
      const GumboNode* child = Child(top.node, top.next_child++);
      if (child->type == GUMBO_NODE_TEXT || child->type == GUMBO_NODE_CDATA ||
          child->type == GUMBO_NODE_WHITESPACE) {
        text_ += child->v.text.text;
      } else if (child->type == GUMBO_NODE_ELEMENT && Enters(child)) {
        Enter(child);
        open.push_back({child, 0});
      }
    }
    Flush();
    return OkStatus();
  }

 private:
  struct Open {
    const GumboNode* node;
    unsigned next_child;
  };
  // A cell that reaches down into the rows that follow; its text is repeated there, so that each
  // row reads by itself.
  struct Span {
    size_t rows = 0;  // still to come
    std::string text;
  };

  bool Enters(const GumboNode* node) {
    const GumboTag tag = node->v.element.tag;
    if (tag == GUMBO_TAG_IMG) {
      const std::string_view alt = Attribute(node, "alt");
      if (!alt.empty()) {
        text_ += ' ';
        text_ += alt;
        text_ += ' ';
      }
      return false;
    }
    if (tag == GUMBO_TAG_BR) {
      text_ += pre_ > 0 ? '\n' : kBreak;
      return false;
    }
    if (tag == GUMBO_TAG_UNKNOWN && node->v.element.tag_namespace == GUMBO_NAMESPACE_MATHML) {
      // The TeX or Content MathML of a formula, which stands beside what is shown.
      const std::string_view name(node->v.element.original_tag.data,
                                  node->v.element.original_tag.length);
      if (name.starts_with("<annotation")) return false;
    }
    return !IsSkipped(tag) && !HasAttribute(node, "hidden");
  }

  void Enter(const GumboNode* node) {
    if (node->type != GUMBO_NODE_ELEMENT) return;
    const GumboTag tag = node->v.element.tag;
    if (tag == GUMBO_TAG_TABLE) {
      if (cell_depth_ == 0) {
        Flush();
        spans_.clear();
        layout_.push_back(IsLayoutTable(node));
      } else {
        layout_.push_back(true);
      }
      return;
    }
    if (InDataTable()) {
      if (tag == GUMBO_TAG_TR) {
        Flush();
        row_.clear();
        column_ = 0;
        in_row_ = true;
      } else if (tag == GUMBO_TAG_TD || tag == GUMBO_TAG_TH) {
        text_.clear();
        ++cell_depth_;
      } else if (IsBlockLevel(tag)) {
        cell_depth_ > 0 ? static_cast<void>(text_ += ' ') : Flush();
      }
      return;
    }
    if (!IsBlockLevel(tag)) return;
    Flush();
    if (tag == GUMBO_TAG_PRE || tag == GUMBO_TAG_LISTING || tag == GUMBO_TAG_XMP) ++pre_;
    if (tag == GUMBO_TAG_LI || tag == GUMBO_TAG_DD) ++item_;
    if (tag == GUMBO_TAG_BLOCKQUOTE) ++quote_;
    if (const int level = HeadingLevel(tag)) heading_ = static_cast<uint8_t>(level);
  }

  void Leave(const GumboNode* node) {
    if (node->type != GUMBO_NODE_ELEMENT) return;
    const GumboTag tag = node->v.element.tag;
    if (tag == GUMBO_TAG_TABLE) {
      if (cell_depth_ == 0) Flush();
      layout_.pop_back();
      return;
    }
    if (InDataTable()) {
      if (tag == GUMBO_TAG_TD || tag == GUMBO_TAG_TH) {
        --cell_depth_;
        AddCell(CellText(), SpanOf(node, "colspan"), SpanOf(node, "rowspan"));
        text_.clear();
      } else if (tag == GUMBO_TAG_TR) {
        AddSpanned();
        text_.clear();
        in_row_ = false;
        if (row_.find_first_not_of("| ") != std::string::npos) {
          builder_.Add(BlockKind::kTableRow, row_);
        }
        row_.clear();
      } else if (IsBlockLevel(tag)) {
        cell_depth_ > 0 ? static_cast<void>(text_ += ' ') : Flush();
      }
      return;
    }
    if (!IsBlockLevel(tag)) return;
    Flush();
    if (tag == GUMBO_TAG_PRE || tag == GUMBO_TAG_LISTING || tag == GUMBO_TAG_XMP) --pre_;
    if (tag == GUMBO_TAG_LI || tag == GUMBO_TAG_DD) --item_;
    if (tag == GUMBO_TAG_BLOCKQUOTE) --quote_;
    if (HeadingLevel(tag) != 0) heading_ = 0;
  }

  static size_t SpanOf(const GumboNode* cell, const char* attribute) {
    const std::string_view value = Attribute(cell, attribute);
    size_t span = 1;
    std::from_chars(value.data(), value.data() + value.size(), span);
    return std::clamp<size_t>(span, 1, kMaxSpan);
  }

  void AppendCell(std::string_view text) {
    if (column_++ > 0) row_ += " | ";
    row_ += text;
  }

  // The cells from above that stand before the next cell of this row.
  void AddSpanned() {
    while (column_ < spans_.size() && spans_[column_].rows > 0) {
      Span& span = spans_[column_];
      --span.rows;
      AppendCell(span.text);
    }
  }

  void AddCell(const std::string& text, size_t columns, size_t rows) {
    AddSpanned();
    const size_t first = column_;
    AppendCell(text);
    if (first + columns > kMaxSpan) return;
    column_ = first + columns;
    if (spans_.size() < column_) spans_.resize(column_);
    for (size_t i = first; i < column_; ++i) {
      spans_[i].rows = rows - 1;
      spans_[i].text = i == first && rows > 1 ? text : "";
    }
  }

  bool InDataTable() const { return !layout_.empty() && !layout_.back(); }

  std::string CellText() const {
    std::string cell = CollapseSpace(text_);
    std::replace(cell.begin(), cell.end(), kBreak, ' ');
    return CollapseSpace(cell);
  }

  // Writes what was gathered as a block of the kind that the open elements say.
  void Flush() {
    if (text_.empty() || in_row_) return;
    if (pre_ > 0 && heading_ == 0) {
      builder_.Add(BlockKind::kCode, text_);
      text_.clear();
      return;
    }
    std::string text = CollapseSpace(text_);
    text_.clear();
    if (heading_ != 0) {
      std::replace(text.begin(), text.end(), kBreak, ' ');
      builder_.Add(BlockKind::kHeading, CollapseSpace(text), heading_);
      return;
    }
    // <br> ends a line of the block.
    std::string lines;
    for (const char c : text) {
      if (c == kBreak) {
        while (!lines.empty() && lines.back() == ' ') lines.pop_back();
        lines += '\n';
      } else if (c != ' ' || lines.empty() || lines.back() != '\n') {
        lines += c;
      }
    }
    builder_.Add(item_ > 0    ? BlockKind::kListItem
                 : quote_ > 0 ? BlockKind::kQuote
                              : BlockKind::kParagraph,
                 lines);
  }

  // Stands for <br> until white space is collapsed.
  static constexpr char kBreak = '\x01';

  TextBuilder& builder_;
  const CancelToken* cancel_;
  std::string text_;
  std::string row_;
  bool in_row_ = false;
  size_t column_ = 0;        // of the next cell
  std::vector<Span> spans_;  // [columns] of the open table
  int pre_ = 0;
  int item_ = 0;
  int quote_ = 0;
  int cell_depth_ = 0;
  uint8_t heading_ = 0;
  std::vector<bool> layout_;  // of the open tables
};

// The charset of <meta charset=…> or <meta http-equiv… content="…; charset=…">, or of an XML
// declaration.
std::string DeclaredCharset(std::string_view html) {
  std::string head(html.substr(0, kPrescanBytes));
  for (char& c : head) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  size_t begin = head.find("charset=");
  if (begin != std::string::npos) {
    begin += std::string_view("charset=").size();
  } else {
    const std::string_view declaration =
        head.starts_with("<?xml") ? std::string_view(head).substr(0, head.find("?>")) : "";
    begin = declaration.find("encoding=");
    if (begin == std::string::npos) return "";
    begin += std::string_view("encoding=").size();
  }
  while (begin < head.size() && (head[begin] == '"' || head[begin] == '\'' || head[begin] == ' ')) {
    ++begin;
  }
  size_t end = begin;
  while (end < head.size() && (std::isalnum(static_cast<unsigned char>(head[end])) ||
                               head[end] == '-' || head[end] == '_' || head[end] == ':')) {
    ++end;
  }
  return head.substr(begin, end - begin);
}

const GumboNode* FindElement(const GumboNode* parent, GumboTag tag) {
  const GumboVector* children = ChildrenOf(parent);
  for (unsigned i = 0; i < children->length; ++i) {
    const GumboNode* child = Child(parent, i);
    if (child->type == GUMBO_NODE_ELEMENT && child->v.element.tag == tag) return child;
  }
  return nullptr;
}

std::string TextChildren(const GumboNode* node) {
  std::string text;
  const GumboVector* children = ChildrenOf(node);
  for (unsigned i = 0; i < children->length; ++i) {
    const GumboNode* child = Child(node, i);
    if (child->type == GUMBO_NODE_TEXT) text += child->v.text.text;
  }
  return CollapseSpace(text);
}

// <html lang>, and what the head says of the page.
void ReadHead(const GumboNode* html, Document& document) {
  Value::Object& metadata = document.metadata.as_object();
  const std::string_view language = Attribute(html, "lang");
  if (!language.empty()) metadata.Set("lang", Value(language));
  const GumboNode* head = FindElement(html, GUMBO_TAG_HEAD);
  if (head == nullptr) return;
  if (const GumboNode* title = FindElement(head, GUMBO_TAG_TITLE)) {
    std::string text = TextChildren(title);
    if (!text.empty()) document.title = std::move(text);
  }
  static constexpr std::string_view kNames[] = {"author", "description", "keywords", "date"};
  const GumboVector* children = ChildrenOf(head);
  for (unsigned i = 0; i < children->length; ++i) {
    const GumboNode* child = Child(head, i);
    if (child->type != GUMBO_NODE_ELEMENT || child->v.element.tag != GUMBO_TAG_META) continue;
    const std::string_view name = Attribute(child, "name");
    const std::string content = CollapseSpace(Attribute(child, "content"));
    if (!content.empty() &&
        std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames)) {
      metadata.Set(name, Value(content));
    }
  }
}

}  // namespace

Result<std::string> DecodeHtml(std::string_view content) {
  return DecodeText(content, DeclaredCharset(content));
}

Status ReadHtml(std::string_view html, const CancelToken* cancel, TextBuilder& builder,
                Document* head) {
  RAG_RETURN_IF_ERROR(CheckHtmlBounds(html));
  Arena arena;
  GumboOptions options = kGumboDefaultOptions;
  options.allocator = &Arena::Allocate;
  options.deallocator = &Arena::Free;
  options.userdata = &arena;
  options.max_errors = 0;
  const GumboOutput* output = gumbo_parse_with_options(&options, html.data(), html.size());
  if (head != nullptr) ReadHead(output->root, *head);
  return Walker(builder, cancel).Walk(output->root);
}

Result<ParsedFile> ParseHtml(std::string_view content, const ParseSource& source) {
  Document document = MakeDocument(source, "text/html");
  TextBuilder builder(source.options.max_text_bytes);
  RAG_ASSIGN_OR_RETURN(const std::string html, DecodeHtml(content));
  RAG_RETURN_IF_ERROR(ReadHtml(html, source.cancel, builder, &document));
  RAG_RETURN_IF_ERROR(std::move(builder).Finish(document));
  TitleFromHeading(document, source, 6);
  return OneDocument(std::move(document));
}

}  // namespace rag
