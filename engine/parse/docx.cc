// DOCX (ECMA-376 WordprocessingML, transitional and strict): the body's paragraphs, headings by
// style, lists, tables and text boxes, then foot- and endnotes. Deleted text of tracked changes,
// field codes, headers and footers are left out. pugixml expands no entities of a document type.
#include <pugixml.hpp>

#include <algorithm>
#include <charconv>
#include <map>
#include <string>
#include <vector>

#include "engine/parse/docx_styles.h"
#include "engine/parse/encoding.h"
#include "engine/parse/paragraphs.h"
#include "engine/parse/parser.h"
#include "engine/parse/text_builder.h"
#include "engine/parse/zip.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

// Of elements; the walk below is recursive. Text boxes in tables in text boxes reach about 60.
constexpr int kMaxDepth = 400;
constexpr size_t kMaxSpan = 1'000;

bool IsDeleted(std::string_view name) {
  return name == "del" || name == "moveFrom" || name == "instrText" || name == "delText" ||
         name == "Fallback" || name == "pPr" || name == "rPr";
}

class BodyReader {
 public:
  BodyReader(const DocxStyles& styles, TextBuilder& builder, const CancelToken* cancel)
      : styles_(styles), builder_(builder), cancel_(cancel) {}

  // The block-level children of a body, a cell, a text box or a note.
  Status Blocks(const pugi::xml_node& parent, int depth) {
    if (depth > kMaxDepth) return DepthError();
    if (cancel_ != nullptr && cancel_->cancelled()) return CancelledError("cancelled");
    for (const pugi::xml_node& node : parent.children()) {
      if (builder_.full()) return OkStatus();
      const std::string_view name = LocalName(node);
      if (name == "p") {
        RAG_RETURN_IF_ERROR(Paragraph(node, depth + 1));
      } else if (name == "tbl") {
        RAG_RETURN_IF_ERROR(Table(node, depth + 1));
      } else if (!IsDeleted(name) && name != "sectPr" && name != "sdtPr" && name != "tcPr") {
        // Content controls, custom XML, insertions, alternative content: what they hold.
        RAG_RETURN_IF_ERROR(Blocks(node, depth + 1));
      }
    }
    return OkStatus();
  }

 private:
  static Status DepthError() {
    return ResourceExhaustedError("the document's elements are nested deeper than ", kMaxDepth,
                                  " levels");
  }

  Status Paragraph(const pugi::xml_node& node, int depth) {
    std::string text;
    std::vector<pugi::xml_node> boxes;
    RAG_RETURN_IF_ERROR(Inline(node, depth, text, boxes));
    const pugi::xml_node properties = ChildOf(node, "pPr");
    ParagraphStyle style = styles_.Find(AttributeOf(ChildOf(properties, "pStyle"), "val"));
    const std::string_view outline = AttributeOf(ChildOf(properties, "outlineLvl"), "val");
    if (outline.size() == 1 && outline[0] >= '0' && outline[0] <= '9') {
      style.heading = outline[0] == '9' ? 0 : std::min(outline[0] - '0' + 1, 6);
    }
    const pugi::xml_node numbering = ChildOf(properties, "numPr");
    if (numbering) style.list = AttributeOf(ChildOf(numbering, "numId"), "val") != "0";
    if (style.heading != 0) {
      builder_.Add(BlockKind::kHeading, CollapseSpace(text), static_cast<uint8_t>(style.heading));
    } else {
      builder_.Add(style.code    ? BlockKind::kCode
                   : style.list  ? BlockKind::kListItem
                   : style.quote ? BlockKind::kQuote
                                 : BlockKind::kParagraph,
                   text);
    }
    for (const pugi::xml_node& box : boxes) RAG_RETURN_IF_ERROR(Blocks(box, depth + 1));
    return OkStatus();
  }

  // Appends the text of runs; text boxes that hang in them are given back for later.
  static Status Inline(const pugi::xml_node& parent, int depth, std::string& text,
                       std::vector<pugi::xml_node>& boxes) {
    if (depth > kMaxDepth) return DepthError();
    for (const pugi::xml_node& node : parent.children()) {
      const std::string_view name = LocalName(node);
      if (name == "t") {
        text += RepairUtf8(node.child_value());
      } else if (name == "tab" || name == "ptab") {
        text += '\t';
      } else if (name == "br" || name == "cr") {
        text += '\n';
      } else if (name == "noBreakHyphen") {
        text += '-';
      } else if (name == "txbxContent") {
        boxes.push_back(node);
      } else if (!IsDeleted(name)) {
        RAG_RETURN_IF_ERROR(Inline(node, depth + 1, text, boxes));
      }
    }
    return OkStatus();
  }

  // All text below a node in one line: of a cell, with what is nested in it.
  static Status Flatten(const pugi::xml_node& parent, int depth, std::string& text) {
    if (depth > kMaxDepth) return DepthError();
    for (const pugi::xml_node& node : parent.children()) {
      const std::string_view name = LocalName(node);
      if (name == "p") {
        std::vector<pugi::xml_node> boxes;
        text += ' ';
        RAG_RETURN_IF_ERROR(Inline(node, depth + 1, text, boxes));
        for (const pugi::xml_node& box : boxes) {
          RAG_RETURN_IF_ERROR(Flatten(box, depth + 1, text));
        }
      } else if (!IsDeleted(name)) {
        RAG_RETURN_IF_ERROR(Flatten(node, depth + 1, text));
      }
    }
    return OkStatus();
  }

  // Elements of that name below `parent`, through content controls and the like, not through other
  // rows or cells.
  static Status Collect(const pugi::xml_node& parent, std::string_view wanted, int depth,
                        std::vector<pugi::xml_node>& found) {
    if (depth > kMaxDepth) return DepthError();
    for (const pugi::xml_node& node : parent.children()) {
      const std::string_view name = LocalName(node);
      if (name == wanted) {
        found.push_back(node);
      } else if (name == "sdt" || name == "sdtContent" || name == "customXml" || name == "ins" ||
                 name == "smartTag") {
        RAG_RETURN_IF_ERROR(Collect(node, wanted, depth + 1, found));
      }
    }
    return OkStatus();
  }

  // The number of columns that an element says.
  static size_t ToSpan(const pugi::xml_node& node, size_t fallback) {
    const std::string_view value = AttributeOf(node, "val");
    size_t span = fallback;
    std::from_chars(value.data(), value.data() + value.size(), span);
    return std::min(span, kMaxSpan);
  }

  Status Table(const pugi::xml_node& table, int depth) {
    std::vector<pugi::xml_node> rows;
    RAG_RETURN_IF_ERROR(Collect(table, "tr", depth, rows));
    std::map<size_t, std::string> above;  // by column of the grid
    for (const pugi::xml_node& row : rows) {
      if (builder_.full()) return OkStatus();
      std::vector<pugi::xml_node> cells;
      RAG_RETURN_IF_ERROR(Collect(row, "tc", depth + 1, cells));
      // A table of one cell is a frame around ordinary text.
      if (rows.size() == 1 && cells.size() == 1) return Blocks(cells.front(), depth + 2);
      std::string text;
      size_t column = ToSpan(ChildOf(ChildOf(row, "trPr"), "gridBefore"), 0);
      for (size_t i = 0; i < cells.size(); ++i) {
        std::string flat;
        RAG_RETURN_IF_ERROR(Flatten(cells[i], depth + 2, flat));
        std::string cell = CollapseSpace(flat);
        const pugi::xml_node properties = ChildOf(cells[i], "tcPr");
        const pugi::xml_node merge = ChildOf(properties, "vMerge");
        // A cell that goes on from above repeats its text, so that each row reads by itself.
        if (merge && AttributeOf(merge, "val") != "restart" && cell.empty()) cell = above[column];
        if (i > 0) text += " | ";
        text += cell;
        above[column] = std::move(cell);
        column += ToSpan(ChildOf(properties, "gridSpan"), 1);
      }
      if (text.find_first_not_of("| ") != std::string::npos) {
        builder_.Add(BlockKind::kTableRow, text);
      }
    }
    return OkStatus();
  }

  const DocxStyles& styles_;
  TextBuilder& builder_;
  const CancelToken* cancel_;
};

Status LoadXml(const std::string& name, const std::string& content, pugi::xml_document& xml) {
  const pugi::xml_parse_result parsed = xml.load_buffer(
      content.data(), content.size(), pugi::parse_default | pugi::parse_ws_pcdata_single);
  if (parsed) return OkStatus();
  return InvalidArgumentError("the document is damaged: ", name, " at byte ", parsed.offset, ": ",
                              parsed.description());
}

// Dublin Core in docProps/core.xml.
void ReadProperties(const pugi::xml_node& root, Document& document) {
  static constexpr struct {
    std::string_view from;
    std::string_view to;
  } kNames[] = {{"creator", "author"},    {"subject", "subject"},
                {"keywords", "keywords"}, {"description", "description"},
                {"created", "created"},   {"modified", "modified"},
                {"language", "lang"}};
  for (const pugi::xml_node& node : root.children()) {
    const std::string_view name = LocalName(node);
    std::string value = RepairUtf8(CollapseSpace(node.child_value()));
    if (value.empty()) continue;
    if (name == "title") document.title = value;
    for (const auto& entry : kNames) {
      if (entry.from == name) document.metadata.as_object().Set(entry.to, Value(value));
    }
  }
}

// Notes other than the separators that Word keeps with them.
Status ReadNotes(const pugi::xml_node& root, BodyReader& reader) {
  for (const pugi::xml_node& note : root.children()) {
    if (AttributeOf(note, "type").empty() || AttributeOf(note, "type") == "normal") {
      RAG_RETURN_IF_ERROR(reader.Blocks(note, 0));
    }
  }
  return OkStatus();
}

bool IsMainPart(std::string_view name) {
  return name.starts_with("word/document") && name.ends_with(".xml") &&
         name.find('/', 5) == std::string_view::npos;
}

bool IsWanted(std::string_view name) {
  return IsMainPart(name) || name == "word/styles.xml" || name == "word/footnotes.xml" ||
         name == "word/endnotes.xml" || name == "docProps/core.xml";
}

}  // namespace

Result<ParsedFile> ParseDocx(std::string_view content, const ParseSource& source) {
  if (content.starts_with("\xD0\xCF\x11\xE0")) {
    return InvalidArgumentError("not a DOCX file: it is encrypted, or of an older Word");
  }
  if (!content.starts_with("PK")) {
    return InvalidArgumentError("not a DOCX file: it is no ZIP archive");
  }
  using Parts = std::map<std::string, std::string>;
  RAG_ASSIGN_OR_RETURN(const Parts parts, ReadZip(content, &IsWanted));
  const auto main = std::find_if(parts.begin(), parts.end(),
                                 [](const auto& part) { return IsMainPart(part.first); });
  if (main == parts.end()) {
    return InvalidArgumentError("not a DOCX file: it has no word/document.xml");
  }
  pugi::xml_document xml;
  DocxStyles styles;
  if (const auto part = parts.find("word/styles.xml"); part != parts.end()) {
    RAG_RETURN_IF_ERROR(LoadXml(part->first, part->second, xml));
    styles = DocxStyles(xml.document_element());
  }
  Document document = MakeDocument(
      source, "application/vnd.openxmlformats-officedocument.wordprocessingml.document");
  const std::string stem = document.title;
  if (const auto part = parts.find("docProps/core.xml"); part != parts.end()) {
    RAG_RETURN_IF_ERROR(LoadXml(part->first, part->second, xml));
    ReadProperties(xml.document_element(), document);
  }
  TextBuilder builder(source.options.max_text_bytes);
  BodyReader reader(styles, builder, source.cancel);
  RAG_RETURN_IF_ERROR(LoadXml(main->first, main->second, xml));
  RAG_RETURN_IF_ERROR(reader.Blocks(ChildOf(xml.document_element(), "body"), 0));
  for (const char* name : {"word/footnotes.xml", "word/endnotes.xml"}) {
    const auto part = parts.find(name);
    if (part == parts.end()) continue;
    RAG_RETURN_IF_ERROR(LoadXml(part->first, part->second, xml));
    RAG_RETURN_IF_ERROR(ReadNotes(xml.document_element(), reader));
  }
  RAG_RETURN_IF_ERROR(std::move(builder).Finish(document));
  if (document.title == stem) {
    const auto heading = std::find_if(
        document.blocks.begin(), document.blocks.end(),
        [](const Block& block) { return block.kind == BlockKind::kHeading && block.level == 1; });
    if (heading != document.blocks.end()) {
      document.title = document.text.substr(heading->begin, heading->end - heading->begin);
    }
  }
  ParsedFile file;
  file.documents.push_back(std::move(document));
  return file;
}

}  // namespace rag
