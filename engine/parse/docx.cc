// DOCX (ECMA-376 WordprocessingML, transitional and strict): the body's paragraphs, headings by
// style, lists, tables and text boxes, then foot- and endnotes. Deleted text of tracked changes,
// field codes, headers and footers are left out. pugixml expands no entities of a document type.
#include <pugixml.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/parse/docx_styles.h"
#include "engine/parse/encoding.h"
#include "engine/parse/office_xml.h"
#include "engine/parse/paragraphs.h"
#include "engine/parse/parser.h"
#include "engine/parse/text_builder.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

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
    if (depth > kMaxXmlDepth) return XmlDepthError();
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
    if (depth > kMaxXmlDepth) return XmlDepthError();
    for (const pugi::xml_node& node : parent.children()) {
      const std::string_view name = LocalName(node);
      if (name == "t") {
        text += RepairUtf8(TextOf(node));
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
    if (depth > kMaxXmlDepth) return XmlDepthError();
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
    if (depth > kMaxXmlDepth) return XmlDepthError();
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

  Status Table(const pugi::xml_node& table, int depth) {
    std::vector<pugi::xml_node> rows;
    RAG_RETURN_IF_ERROR(Collect(table, "tr", depth, rows));
    TableRows out(builder_);
    for (const pugi::xml_node& row : rows) {
      if (builder_.full()) return OkStatus();
      std::vector<pugi::xml_node> cells;
      RAG_RETURN_IF_ERROR(Collect(row, "tc", depth + 1, cells));
      // A table of one cell is a frame around ordinary text.
      if (rows.size() == 1 && cells.size() == 1) return Blocks(cells.front(), depth + 2);
      size_t column = CountOf(AttributeOf(ChildOf(ChildOf(row, "trPr"), "gridBefore"), "val"), 0);
      for (const pugi::xml_node& cell : cells) {
        std::string text;
        RAG_RETURN_IF_ERROR(Flatten(cell, depth + 2, text));
        const pugi::xml_node properties = ChildOf(cell, "tcPr");
        const pugi::xml_node merge = ChildOf(properties, "vMerge");
        out.AddCell(column, CollapseSpace(text), merge && AttributeOf(merge, "val") != "restart");
        column += CountOf(AttributeOf(ChildOf(properties, "gridSpan"), "val"), 1);
      }
      out.EndRow();
    }
    return OkStatus();
  }

  const DocxStyles& styles_;
  TextBuilder& builder_;
  const CancelToken* cancel_;
};

// Notes other than the separators that Word keeps with them.
Status ReadNotes(const pugi::xml_node& root, BodyReader& reader) {
  for (const pugi::xml_node& note : root.children()) {
    if (AttributeOf(note, "type").empty() || AttributeOf(note, "type") == "normal") {
      RAG_RETURN_IF_ERROR(reader.Blocks(note, 0));
    }
  }
  return OkStatus();
}

}  // namespace

Result<ParsedFile> ParseDocx(std::string_view content, const ParseSource& source) {
  static constexpr std::string_view kKind = "a DOCX file";
  RAG_ASSIGN_OR_RETURN(const ZipParts parts, ReadParts(content, kKind, &IsOfficePart));
  RAG_ASSIGN_OR_RETURN(const std::string main, FindMainPart(parts, kKind, "word/document.xml"));
  RAG_ASSIGN_OR_RETURN(const std::vector<Relationship> related, ReadRelationships(parts, main));
  pugi::xml_document xml;
  DocxStyles styles;
  if (const std::string name = TargetOf(related, "styles", "word/styles.xml");
      parts.contains(name)) {
    RAG_RETURN_IF_ERROR(LoadPart(parts, name, xml));
    styles = DocxStyles(xml.document_element());
  }
  Document document = MakeDocument(
      source, "application/vnd.openxmlformats-officedocument.wordprocessingml.document");
  RAG_RETURN_IF_ERROR(ReadCoreProperties(parts, document));
  TextBuilder builder(source.options.max_text_bytes);
  BodyReader reader(styles, builder, source.cancel);
  RAG_RETURN_IF_ERROR(LoadPart(parts, main, xml));
  RAG_RETURN_IF_ERROR(reader.Blocks(ChildOf(xml.document_element(), "body"), 0));
  for (const char* notes : {"footnotes", "endnotes"}) {
    const std::string name = TargetOf(related, notes, StrCat("word/", notes, ".xml"));
    if (!parts.contains(name)) continue;
    RAG_RETURN_IF_ERROR(LoadPart(parts, name, xml));
    RAG_RETURN_IF_ERROR(ReadNotes(xml.document_element(), reader));
  }
  RAG_RETURN_IF_ERROR(std::move(builder).Finish(document));
  TitleFromHeading(document, source, 1);
  return OneDocument(std::move(document));
}

}  // namespace rag
