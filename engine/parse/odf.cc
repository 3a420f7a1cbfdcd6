// OpenDocument (ISO/IEC 26300) texts, spreadsheets and presentations. A text's headings,
// paragraphs, lists, tables and frames, then its notes; a spreadsheet's tables as records, dates as
// ISO 8601's; a presentation's pages with their notes. Deleted text of tracked changes, comments,
// headers and footers are left out.
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <pugixml.hpp>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/parse/office_xml.h"
#include "engine/parse/paragraphs.h"
#include "engine/parse/parser.h"
#include "engine/parse/record_table.h"
#include "engine/parse/sheet_rows.h"
#include "engine/parse/text_builder.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

// A style that is based on itself through others would never end.
constexpr int kMaxBases = 16;
constexpr int kMaxHeading = 6;
// Of a row, and of a paragraph: what says how often it stands there may swell past its file.
constexpr size_t kMaxRowBytes = size_t{16} << 20;
constexpr size_t kMaxRows = 1'048'576;  // of a sheet
// Of a document; a cell may say that it stands in many columns.
constexpr size_t kMaxCells = 20'000'000;

bool IsWanted(std::string_view name) {
  return name == "content.xml" || name == "styles.xml" || name == "meta.xml" ||
         name == "META-INF/manifest.xml";
}

bool IsLeftOut(std::string_view name) {
  return name == "tracked-changes" || name == "annotation" || name == "forms" ||
         name == "note-citation" || name == "ruby-text" || name == "title" || name == "desc" ||
         name == "page-number";
}

// Drawings that stand in a paragraph; their texts are paragraphs of their own.
bool IsDrawing(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "frame",   "custom-shape",    "g",        "rect",   "line",    "polyline",
      "polygon", "regular-polygon", "path",     "circle", "ellipse", "connector",
      "caption", "measure",         "text-box", "control"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

// The names of paragraph styles lead to those that an author chooses from.
class Styles {
 public:
  void Add(const pugi::xml_node& styles) {
    for (const pugi::xml_node& node : styles.children()) {
      if (LocalName(node) != "style") continue;
      bases_.emplace(AttributeOf(node, "name"), AttributeOf(node, "parent-style-name"));
    }
  }

  bool IsBasedOn(std::string_view style, std::string_view base) const {
    std::string at(style);
    for (int depth = 0; depth < kMaxBases && !at.empty(); ++depth) {
      if (at == base) return true;
      const auto found = bases_.find(at);
      if (found == bases_.end()) return false;
      at = found->second;
    }
    return false;
  }

 private:
  std::unordered_map<std::string, std::string> bases_;
};

class BodyReader {
 public:
  BodyReader(const Styles& styles, TextBuilder& builder, const CancelToken* cancel)
      : styles_(styles), builder_(builder), cancel_(cancel) {}

  // The body of a text: its blocks, then the notes that they refer to.
  Status Text(const pugi::xml_node& body) {
    RAG_RETURN_IF_ERROR(Blocks(body, BlockKind::kParagraph, 0));
    // A note may hold no other note.
    const std::vector<pugi::xml_node> notes = std::move(notes_);
    for (const pugi::xml_node& note : notes) {
      RAG_RETURN_IF_ERROR(Blocks(note, BlockKind::kParagraph, 0));
    }
    return OkStatus();
  }

  Status Presentation(const pugi::xml_node& body, uint32_t* pages) {
    for (const pugi::xml_node& page : body.children()) {
      if (LocalName(page) != "page") continue;
      page_ = ++*pages;
      pugi::xml_node title;
      for (const pugi::xml_node& frame : page.children()) {
        if (AttributeOf(frame, "class") == "title" && !title) title = frame;
      }
      std::string text;
      RAG_RETURN_IF_ERROR(Flatten(title, 0, text));
      text = CollapseSpace(text);
      if (first_title_.empty()) first_title_ = text;
      builder_.Add(BlockKind::kHeading, text.empty() ? StrCat("Slide ", page_) : text, 1, page_);
      if (text.empty()) title = {};
      for (const pugi::xml_node& frame : page.children()) {
        if (frame == title) continue;
        if (LocalName(frame) == "notes") {
          RAG_RETURN_IF_ERROR(Notes(frame));
        } else {
          RAG_RETURN_IF_ERROR(Block(frame, BlockKind::kParagraph, 1));
        }
      }
    }
    return OkStatus();
  }

  const std::string& first_title() const { return first_title_; }

  Status Spreadsheet(const pugi::xml_node& body, size_t* sheets) {
    for (const pugi::xml_node& table : body.children()) {
      if (LocalName(table) != "table") continue;
      RAG_RETURN_IF_ERROR(Sheet(table));
      ++*sheets;
    }
    return OkStatus();
  }

 private:
  Status Blocks(const pugi::xml_node& parent, BlockKind kind, int depth) {
    if (depth > kMaxXmlDepth) return XmlDepthError();
    if (cancel_ != nullptr && cancel_->cancelled()) return CancelledError("cancelled");
    for (const pugi::xml_node& node : parent.children()) {
      if (builder_.full()) return OkStatus();
      RAG_RETURN_IF_ERROR(Block(node, kind, depth + 1));
    }
    return OkStatus();
  }

  Status Block(const pugi::xml_node& node, BlockKind kind, int depth) {
    const std::string_view name = LocalName(node);
    if (name == "p" || name == "h") return Paragraph(node, kind, depth);
    if (name == "table") return Table(node, depth);
    if (IsLeftOut(name)) return OkStatus();
    // Sections, indexes, frames, groups, items of lists: what they hold.
    return Blocks(node, name == "list" ? BlockKind::kListItem : kind, depth);
  }

  Status Paragraph(const pugi::xml_node& node, BlockKind kind, int depth) {
    std::string text;
    std::vector<pugi::xml_node> frames;
    RAG_RETURN_IF_ERROR(Inline(node, depth, text, frames));
    const std::string_view style = AttributeOf(node, "style-name");
    if (LocalName(node) == "h" || styles_.IsBasedOn(style, "Title")) {
      const size_t level =
          std::min<size_t>(CountOf(AttributeOf(node, "outline-level"), 1), kMaxHeading);
      builder_.Add(BlockKind::kHeading, CollapseSpace(text), static_cast<uint8_t>(level), page_);
    } else {
      if (kind == BlockKind::kParagraph) {
        if (styles_.IsBasedOn(style, "Preformatted_20_Text")) kind = BlockKind::kCode;
        if (styles_.IsBasedOn(style, "Quotations")) kind = BlockKind::kQuote;
      }
      builder_.Add(kind, text, 0, page_);
    }
    for (const pugi::xml_node& frame : frames) {
      RAG_RETURN_IF_ERROR(Blocks(frame, BlockKind::kParagraph, depth + 1));
    }
    return OkStatus();
  }

  // Appends a paragraph's text (white space as in 6.1.2); drawings that hang in it are given back
  // for later, and notes are kept.
  Status Inline(const pugi::xml_node& parent, int depth, std::string& text,
                std::vector<pugi::xml_node>& frames) {
    if (depth > kMaxXmlDepth) return XmlDepthError();
    for (const pugi::xml_node& node : parent.children()) {
      const std::string_view name = LocalName(node);
      if (node.type() == pugi::node_pcdata || node.type() == pugi::node_cdata) {
        if (text.size() > kMaxRowBytes) return ParagraphError();
        for (const char c : RepairUtf8(node.value())) {
          if (!IsSpace(c)) {
            text += c;
          } else if (text.empty() || !IsSpace(text.back())) {
            text += ' ';
          }
        }
      } else if (name == "s") {
        if (text.size() > kMaxRowBytes) return ParagraphError();
        text.append(CountOf(AttributeOf(node, "c"), 1), ' ');
      } else if (name == "tab") {
        text += '\t';
      } else if (name == "line-break") {
        text += '\n';
      } else if (name == "note") {
        notes_.push_back(ChildOf(node, "note-body"));
      } else if (IsDrawing(name)) {
        frames.push_back(node);
      } else if (!IsLeftOut(name)) {
        RAG_RETURN_IF_ERROR(Inline(node, depth + 1, text, frames));
      }
    }
    return OkStatus();
  }

  // All text below a node in one line.
  Status Flatten(const pugi::xml_node& parent, int depth, std::string& text) {
    if (depth > kMaxXmlDepth) return XmlDepthError();
    for (const pugi::xml_node& node : parent.children()) {
      const std::string_view name = LocalName(node);
      if (name == "p" || name == "h") {
        std::string line;
        std::vector<pugi::xml_node> frames;
        RAG_RETURN_IF_ERROR(Inline(node, depth + 1, line, frames));
        text += ' ';
        text += line;
        if (text.size() > kMaxRowBytes) return ParagraphError();
        for (const pugi::xml_node& frame : frames) {
          RAG_RETURN_IF_ERROR(Flatten(frame, depth + 1, text));
        }
      } else if (!IsLeftOut(name)) {
        RAG_RETURN_IF_ERROR(Flatten(node, depth + 1, text));
      }
    }
    return OkStatus();
  }

  // The rows below a table, through header rows and groups of rows.
  static Status CollectRows(const pugi::xml_node& parent, int depth,
                            std::vector<pugi::xml_node>& rows) {
    if (depth > kMaxXmlDepth) return XmlDepthError();
    for (const pugi::xml_node& node : parent.children()) {
      const std::string_view name = LocalName(node);
      if (name == "table-row") {
        rows.push_back(node);
      } else if (name == "table-header-rows" || name == "table-rows" || name == "table-row-group") {
        RAG_RETURN_IF_ERROR(CollectRows(node, depth + 1, rows));
      }
    }
    return OkStatus();
  }

  Status Table(const pugi::xml_node& table, int depth) {
    std::vector<pugi::xml_node> rows;
    RAG_RETURN_IF_ERROR(CollectRows(table, depth, rows));
    TableRows out(builder_, page_);
    std::map<size_t, size_t> down;  // column -> the rows that its cell still reaches into
    for (const pugi::xml_node& row : rows) {
      if (builder_.full()) return OkStatus();
      size_t column = 0;
      for (const pugi::xml_node& cell : row.children()) {
        const bool covered = LocalName(cell) == "covered-table-cell";
        if (!covered && LocalName(cell) != "table-cell") continue;
        std::string text;
        RAG_RETURN_IF_ERROR(Flatten(cell, depth + 2, text));
        text = CollapseSpace(text);
        const size_t repeated = CountOf(AttributeOf(cell, "number-columns-repeated"), 1);
        RAG_RETURN_IF_ERROR(CountCells(repeated));
        for (size_t i = 0; i < repeated && column < kMaxColumns; ++i, ++column) {
          size_t& rows_left = down[column];
          if (covered && rows_left == 0) continue;
          out.AddCell(column, text, covered);
          rows_left =
              covered ? rows_left - 1 : CountOf(AttributeOf(cell, "number-rows-spanned"), 1) - 1;
          if (out.row_bytes() > kMaxRowBytes) return RowError();
        }
      }
      out.EndRow();
    }
    return OkStatus();
  }

  Status CountCells(size_t count) {
    cells_ += count;
    if (cells_ <= kMaxCells) return OkStatus();
    return ResourceExhaustedError("its tables have more than ", kMaxCells, " cells");
  }

  static Status ParagraphError() {
    return ResourceExhaustedError("a paragraph has more than ", kMaxRowBytes, " bytes of text");
  }

  static Status RowError() {
    return ResourceExhaustedError("a table's row has more than ", kMaxRowBytes, " bytes of text");
  }

  // A page's notes stand beside a picture of the page and fields that it shares with others.
  Status Notes(const pugi::xml_node& notes) {
    for (const pugi::xml_node& frame : notes.children()) {
      if (AttributeOf(frame, "class") == "notes") {
        RAG_RETURN_IF_ERROR(Block(frame, BlockKind::kParagraph, 1));
      }
    }
    return OkStatus();
  }

  // What is shown, or where nothing is what is stored; of a date what it is.
  Result<std::string> ValueOf(const pugi::xml_node& cell, int depth) {
    if (AttributeOf(cell, "value-type") == "date") {
      std::string date = RepairUtf8(AttributeOf(cell, "date-value"));
      const size_t time = date.find('T');
      if (time != std::string::npos) date[time] = ' ';
      if (!date.empty()) return date;
    }
    std::string text;
    RAG_RETURN_IF_ERROR(Flatten(cell, depth, text));
    text = CollapseSpace(text);
    for (const std::string_view stored :
         {"string-value", "boolean-value", "time-value", "date-value", "value"}) {
      if (text.empty()) text = CollapseSpace(RepairUtf8(AttributeOf(cell, stored)));
    }
    return text;
  }

  Status Sheet(const pugi::xml_node& table) {
    std::vector<pugi::xml_node> nodes;
    RAG_RETURN_IF_ERROR(CollectRows(table, 0, nodes));
    struct Span {
      size_t rows = 0;  // still to come
      std::string text;
    };
    std::map<size_t, Span> down;  // by column
    SheetRows rows(builder_);
    bool headed = false;
    size_t number = 0;
    for (const pugi::xml_node& node : nodes) {
      if (cancel_ != nullptr && cancel_->cancelled()) return CancelledError("cancelled");
      if (builder_.full()) return OkStatus();
      SheetRow row;
      size_t bytes = 0;
      size_t column = 0;
      for (const pugi::xml_node& cell : node.children()) {
        const bool covered = LocalName(cell) == "covered-table-cell";
        if (!covered && LocalName(cell) != "table-cell") continue;
        const size_t repeated =
            CountOf(AttributeOf(cell, "number-columns-repeated"), 1, kMaxColumns);
        RAG_ASSIGN_OR_RETURN(const std::string text, ValueOf(cell, 1));
        if (text.empty() && !covered) {
          column += repeated;
          continue;
        }
        RAG_RETURN_IF_ERROR(CountCells(repeated));
        const std::string_view type = AttributeOf(cell, "value-type");
        for (size_t i = 0; i < repeated && column < kMaxColumns; ++i, ++column) {
          std::string value = text;
          const auto above = down.find(column);
          if (covered && above != down.end() && above->second.rows > 0) {
            --above->second.rows;
            value = above->second.text;
          }
          if (value.empty()) continue;
          const size_t spanned = CountOf(AttributeOf(cell, "number-rows-spanned"), 1, kMaxRows);
          if (spanned > 1) down[column] = {spanned - 1, value};
          bytes += value.size();
          row.all_text = row.all_text && (type.empty() || type == "string");
          row.fields.push_back({column, std::move(value)});
          if (bytes > kMaxRowBytes) return RowError();
        }
      }
      if (!row.fields.empty() && !headed) {
        builder_.Add(BlockKind::kHeading, RepairUtf8(AttributeOf(table, "name")), 1);
        headed = true;
      }
      const size_t repeated = CountOf(AttributeOf(node, "number-rows-repeated"), 1, kMaxRows);
      for (size_t i = 0; i < (row.fields.empty() ? 0 : repeated); ++i) {
        if (cancel_ != nullptr && cancel_->cancelled()) return CancelledError("cancelled");
        if (i > 0) RAG_RETURN_IF_ERROR(CountCells(row.fields.size()));
        row.number = number + i;
        rows.Add(row);
        if (builder_.full()) return OkStatus();
      }
      number += repeated;
    }
    rows.End();
    return OkStatus();
  }

  const Styles& styles_;
  TextBuilder& builder_;
  const CancelToken* cancel_;
  uint32_t page_ = 0;
  std::string first_title_;  // of a page
  size_t cells_ = 0;         // of tables, so far
  std::vector<pugi::xml_node> notes_;
};

Status CheckEncryption(const ZipParts& parts) {
  if (!parts.contains("META-INF/manifest.xml")) return OkStatus();
  pugi::xml_document xml;
  RAG_RETURN_IF_ERROR(LoadPart(parts, "META-INF/manifest.xml", xml));
  for (const pugi::xml_node& entry : xml.document_element().children()) {
    if (ChildOf(entry, "encryption-data")) {
      return InvalidArgumentError("the document is encrypted: ",
                                  RepairUtf8(AttributeOf(entry, "full-path")));
    }
  }
  return OkStatus();
}

}  // namespace

Result<ParsedFile> ParseOdf(std::string_view content, const ParseSource& source) {
  RAG_ASSIGN_OR_RETURN(const ZipParts parts, ReadParts(content, "an OpenDocument file", &IsWanted));
  if (!parts.contains("content.xml")) {
    return InvalidArgumentError("not an OpenDocument file: it has no content.xml");
  }
  RAG_RETURN_IF_ERROR(CheckEncryption(parts));
  pugi::xml_document xml;
  Document document = MakeDocument(source, "");
  const std::string file_name = document.title;
  if (parts.contains("meta.xml")) {
    RAG_RETURN_IF_ERROR(LoadPart(parts, "meta.xml", xml));
    ReadProperties(ChildOf(xml.document_element(), "meta"), document);
  }
  Styles styles;
  if (parts.contains("styles.xml")) {
    RAG_RETURN_IF_ERROR(LoadPart(parts, "styles.xml", xml));
    styles.Add(ChildOf(xml.document_element(), "styles"));
  }
  RAG_RETURN_IF_ERROR(LoadPart(parts, "content.xml", xml, BlankText::kKept));
  styles.Add(ChildOf(xml.document_element(), "automatic-styles"));
  const pugi::xml_node body = ChildOf(xml.document_element(), "body");
  TextBuilder builder(source.options.max_text_bytes);
  BodyReader reader(styles, builder, source.cancel);
  Value::Object& metadata = document.metadata.as_object();
  std::string_view kind = "text";
  if (const pugi::xml_node spreadsheet = ChildOf(body, "spreadsheet")) {
    kind = "spreadsheet";
    size_t sheets = 0;
    RAG_RETURN_IF_ERROR(reader.Spreadsheet(spreadsheet, &sheets));
    metadata.Set("sheets", sheets);
  } else if (const pugi::xml_node presentation = ChildOf(body, "presentation")) {
    kind = "presentation";
    uint32_t pages = 0;
    RAG_RETURN_IF_ERROR(reader.Presentation(presentation, &pages));
    metadata.Set("slides", pages);
    if (document.title == file_name && !reader.first_title().empty()) {
      document.title = reader.first_title();
    }
  } else if (const pugi::xml_node text = ChildOf(body, "text")) {
    RAG_RETURN_IF_ERROR(reader.Text(text));
  } else {
    return InvalidArgumentError("content.xml holds no text, spreadsheet or presentation");
  }
  document.media_type = StrCat("application/vnd.oasis.opendocument.", kind);
  RAG_RETURN_IF_ERROR(std::move(builder).Finish(document));
  if (kind == "text") TitleFromHeading(document, source, 1);
  return OneDocument(std::move(document));
}

}  // namespace rag
