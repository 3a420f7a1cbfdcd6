// PPTX (ECMA-376 PresentationML): the slides in the presentation's order, each its title, then the
// text and tables of its shapes, its diagrams and what its pictures are said to show, in the order
// of the file, which is the one that screen readers follow, and its speaker notes. A page is a
// slide. Charts, comments, footers and numbers of slides are left out.
#include <cstdint>
#include <pugixml.hpp>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/parse/office_xml.h"
#include "engine/parse/paragraphs.h"
#include "engine/parse/parser.h"
#include "engine/parse/text_builder.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

constexpr size_t kMaxSlides = 100'000;

std::string_view PlaceholderType(const pugi::xml_node& shape) {
  const pugi::xml_node placeholder = ChildOf(ChildOf(ChildOf(shape, "nvSpPr"), "nvPr"), "ph");
  if (!placeholder) return "none";
  const std::string_view type = AttributeOf(placeholder, "type");
  return type.empty() ? "obj" : type;  // the schema's default
}

bool IsTitle(const pugi::xml_node& shape) {
  const std::string_view type = PlaceholderType(shape);
  return type == "title" || type == "ctrTitle";
}

// Fields that the presentation fills in on every slide.
bool IsFurniture(std::string_view type) {
  return type == "dt" || type == "ftr" || type == "hdr" || type == "sldNum" || type == "sldImg";
}

// A slide's entry has an id of its own, without a prefix, too.
std::string_view RelationshipIdOf(const pugi::xml_node& entry) {
  for (const pugi::xml_attribute& attribute : entry.attributes()) {
    if (std::string_view(attribute.name()).ends_with(":id")) return attribute.value();
  }
  return {};
}

// Appends the text of a paragraph's runs, fields and formulas.
Status Inline(const pugi::xml_node& parent, int depth, std::string& text) {
  if (depth > kMaxXmlDepth) return XmlDepthError();
  for (const pugi::xml_node& node : parent.children()) {
    const std::string_view name = LocalName(node);
    if (name == "t") {
      text += RepairUtf8(TextOf(node));
    } else if (name == "br") {
      text += '\n';
    } else if (name != "pPr" && name != "rPr" && name != "endParaRPr" && name != "Fallback") {
      RAG_RETURN_IF_ERROR(Inline(node, depth + 1, text));
    }
  }
  return OkStatus();
}

// All paragraphs of a text body in one line.
Result<std::string> OneLine(const pugi::xml_node& body, int depth) {
  std::string text;
  for (const pugi::xml_node& paragraph : body.children()) {
    if (LocalName(paragraph) != "p") continue;
    text += ' ';
    RAG_RETURN_IF_ERROR(Inline(paragraph, depth + 1, text));
  }
  return CollapseSpace(text);
}

class SlideReader {
 public:
  SlideReader(const ZipParts& parts, const std::vector<Relationship>& related, uint32_t number,
              TextBuilder& builder, std::set<std::string>& read, const CancelToken* cancel)
      : parts_(parts),
        related_(related),
        number_(number),
        builder_(builder),
        read_(read),
        cancel_(cancel) {
    for (const Relationship& relationship : related) {
      if (relationship.type == "diagramData") diagrams_.emplace(relationship.id, &relationship);
    }
  }

  Status Read(const pugi::xml_node& slide) {
    const pugi::xml_node shapes = ChildOf(ChildOf(slide, "cSld"), "spTree");
    for (const pugi::xml_node& shape : shapes.children()) {
      if (!IsTitle(shape)) continue;
      RAG_ASSIGN_OR_RETURN(const std::string title, OneLine(ChildOf(shape, "txBody"), 0));
      if (title.empty()) continue;
      if (title_.empty()) title_ = title;
      headed_ = true;
      builder_.Add(BlockKind::kHeading, title, 1, number_);
    }
    RAG_RETURN_IF_ERROR(Shapes(shapes, 0));
    const std::string notes = TargetOf(related_, "notesSlide", "");
    if (notes.empty() || !read_.insert(notes).second) return OkStatus();
    pugi::xml_document xml;
    RAG_RETURN_IF_ERROR(LoadPart(parts_, notes, xml));
    for (const pugi::xml_node& shape :
         ChildOf(ChildOf(xml.document_element(), "cSld"), "spTree").children()) {
      if (PlaceholderType(shape) == "body") {
        RAG_RETURN_IF_ERROR(Text(ChildOf(shape, "txBody"), false, 0));
      }
    }
    return OkStatus();
  }

  const std::string& title() const { return title_; }

 private:
  // Every slide begins with a heading, so that nothing stands below another slide's.
  void Add(BlockKind kind, std::string_view text) {
    if (Trim(text).empty()) return;
    Head();
    builder_.Add(kind, text, 0, number_);
  }

  void Head() {
    if (!headed_) builder_.Add(BlockKind::kHeading, StrCat("Slide ", number_), 1, number_);
    headed_ = true;
  }

  Status Shapes(const pugi::xml_node& parent, int depth) {
    if (depth > kMaxXmlDepth) return XmlDepthError();
    if (cancel_ != nullptr && cancel_->cancelled()) return CancelledError("cancelled");
    for (const pugi::xml_node& node : parent.children()) {
      if (builder_.full()) return OkStatus();
      const std::string_view name = LocalName(node);
      if (name == "sp") {
        const std::string_view type = PlaceholderType(node);
        if (IsFurniture(type) || (depth == 0 && IsTitle(node))) continue;
        RAG_RETURN_IF_ERROR(Text(ChildOf(node, "txBody"), type == "obj", depth + 1));
      } else if (name == "tbl") {
        RAG_RETURN_IF_ERROR(Table(node, depth + 1));
      } else if (name == "pic") {
        // What stands for the picture where it cannot be seen.
        Add(BlockKind::kParagraph,
            RepairUtf8(AttributeOf(ChildOf(ChildOf(node, "nvPicPr"), "cNvPr"), "descr")));
      } else if (name == "relIds") {
        RAG_RETURN_IF_ERROR(Diagram(AttributeOf(node, "dm")));
      } else if (name != "Fallback") {
        // Groups, frames, alternative content: what they hold.
        RAG_RETURN_IF_ERROR(Shapes(node, depth + 1));
      }
    }
    return OkStatus();
  }

  // A content placeholder's paragraphs have bullets unless they say otherwise, others' have not.
  Status Text(const pugi::xml_node& body, bool bullets, int depth) {
    for (const pugi::xml_node& paragraph : body.children()) {
      if (LocalName(paragraph) != "p") continue;
      std::string text;
      RAG_RETURN_IF_ERROR(Inline(paragraph, depth + 1, text));
      const pugi::xml_node properties = ChildOf(paragraph, "pPr");
      const bool item = !ChildOf(properties, "buNone") &&
                        (bullets || ChildOf(properties, "buChar") ||
                         ChildOf(properties, "buAutoNum") || ChildOf(properties, "buBlip"));
      Add(item ? BlockKind::kListItem : BlockKind::kParagraph, text);
    }
    return OkStatus();
  }

  Status Table(const pugi::xml_node& table, int depth) {
    TableRows rows(builder_, number_);
    Head();
    for (const pugi::xml_node& row : table.children()) {
      if (LocalName(row) != "tr") continue;
      size_t column = 0;
      for (const pugi::xml_node& cell : row.children()) {
        if (LocalName(cell) != "tc") continue;
        const std::string_view across = AttributeOf(cell, "hMerge");
        if (across != "1" && across != "true") {
          RAG_ASSIGN_OR_RETURN(std::string text, OneLine(ChildOf(cell, "txBody"), depth + 1));
          const std::string_view down = AttributeOf(cell, "vMerge");
          rows.AddCell(column, std::move(text), down == "1" || down == "true");
        }
        ++column;
      }
      rows.EndRow();
      if (builder_.full()) return OkStatus();
    }
    return OkStatus();
  }

  // The texts of a SmartArt diagram's points.
  Status Diagram(std::string_view id) {
    const auto found = diagrams_.find(id);
    if (found == diagrams_.end()) return OkStatus();
    const std::string& part = found->second->target;
    if (!read_.insert(part).second) return OkStatus();
    pugi::xml_document xml;
    RAG_RETURN_IF_ERROR(LoadPart(parts_, part, xml));
    for (const pugi::xml_node& point : ChildOf(xml.document_element(), "ptLst").children()) {
      RAG_RETURN_IF_ERROR(Text(ChildOf(point, "t"), true, 0));
    }
    return OkStatus();
  }

  const ZipParts& parts_;
  const std::vector<Relationship>& related_;
  const uint32_t number_;
  TextBuilder& builder_;
  std::set<std::string>& read_;
  const CancelToken* cancel_;
  std::unordered_map<std::string_view, const Relationship*> diagrams_;  // by id
  std::string title_;
  bool headed_ = false;
};

}  // namespace

Result<ParsedFile> ParsePptx(std::string_view content, const ParseSource& source) {
  static constexpr std::string_view kKind = "a PPTX file";
  RAG_ASSIGN_OR_RETURN(const ZipParts parts, ReadParts(content, kKind, &IsOfficePart));
  RAG_ASSIGN_OR_RETURN(const std::string main, FindMainPart(parts, kKind, "ppt/presentation.xml"));
  RAG_ASSIGN_OR_RETURN(const std::vector<Relationship> related, ReadRelationships(parts, main));
  std::unordered_map<std::string_view, std::string_view> slide_names;  // by id
  for (const Relationship& relationship : related) {
    if (relationship.type == "slide") slide_names.emplace(relationship.id, relationship.target);
  }
  Document document = MakeDocument(
      source, "application/vnd.openxmlformats-officedocument.presentationml.presentation");
  const std::string file_name = document.title;
  RAG_RETURN_IF_ERROR(ReadCoreProperties(parts, document));
  TextBuilder builder(source.options.max_text_bytes);
  pugi::xml_document presentation;
  RAG_RETURN_IF_ERROR(LoadPart(parts, main, presentation));
  std::set<std::string> read;  // a part belongs to one slide
  uint32_t slides = 0;
  for (const pugi::xml_node& entry :
       ChildOf(presentation.document_element(), "sldIdLst").children()) {
    if (source.cancel != nullptr && source.cancel->cancelled()) return CancelledError("cancelled");
    if (builder.full()) break;
    if (++slides > kMaxSlides) {
      return ResourceExhaustedError("the presentation has more than ", kMaxSlides, " slides");
    }
    const auto name = slide_names.find(RelationshipIdOf(entry));
    if (name == slide_names.end()) {
      return InvalidArgumentError("the document is damaged: ", main, " names no part for slide ",
                                  slides);
    }
    const std::string part(name->second);
    if (!read.insert(part).second) continue;
    pugi::xml_document xml;
    RAG_RETURN_IF_ERROR(LoadPart(parts, part, xml));
    RAG_ASSIGN_OR_RETURN(const std::vector<Relationship> of_slide, ReadRelationships(parts, part));
    SlideReader reader(parts, of_slide, slides, builder, read, source.cancel);
    RAG_RETURN_IF_ERROR(reader.Read(xml.document_element()));
    if (document.title == file_name && !reader.title().empty()) document.title = reader.title();
  }
  RAG_RETURN_IF_ERROR(std::move(builder).Finish(document));
  document.metadata.as_object().Set("slides", slides);
  return OneDocument(std::move(document));
}

}  // namespace rag
