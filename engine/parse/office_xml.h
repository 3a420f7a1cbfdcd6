// What the formats share that are XML files in a ZIP archive.
#pragma once

#include <map>
#include <pugixml.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/document.h"
#include "engine/parse/text_builder.h"
#include "engine/parse/zip.h"
#include "lib/base/status.h"

namespace rag {

// Of elements; the walks are recursive. Text boxes in tables in text boxes reach about 60.
inline constexpr int kMaxXmlDepth = 400;
Status XmlDepthError();

// The name without its prefix: producers choose prefixes freely, and no two elements that matter
// here share a local name.
std::string_view LocalName(const pugi::xml_node& node);
// The first child element of that local name; an empty node when there is none.
pugi::xml_node ChildOf(const pugi::xml_node& node, std::string_view local_name);
// The attribute of that local name ("val" of w:val); "" when there is none.
std::string_view AttributeOf(const pugi::xml_node& node, std::string_view local_name);
// The text that stands in an element itself, in however many pieces.
std::string TextOf(const pugi::xml_node& node);
// How many columns, rows or characters an attribute says, from `least` (also when it says nothing)
// to `most`.
size_t CountOf(std::string_view value, size_t least, size_t most = 1'000);

using ZipParts = std::map<std::string, std::string>;

// The archive's entries that `wanted` names. Errors: those of ReadZip, and invalid_argument "not "
// and the kind ("a DOCX file").
Result<ZipParts> ReadParts(std::string_view content, std::string_view kind,
                           bool (*wanted)(std::string_view name));
// White space between two elements: in a few formats it is text.
enum class BlankText { kLeftOut, kKept };
// Names differ in more than the case of their letters (ECMA-376, part 2, 6.2.2.3). Errors:
// invalid_argument naming the part, when it is missing or damaged. No entities of a document type
// are expanded.
Status LoadPart(const ZipParts& parts, const std::string& name, pugi::xml_document& xml,
                BlankText blanks = BlankText::kLeftOut);
// "a/d.xml" of "a/b/c.xml" and "../d.xml"; a target that begins with '/' stands at the root.
std::string ResolvePart(std::string_view base, std::string_view target);

// invalid_argument that names the part.
Status MissingPartError(std::string_view name);
// Dublin Core and its like: the children's names as metadata calls them, and the title. What stands
// there several times is joined, up to 64 KiB; longer values are left out.
void ReadProperties(const pugi::xml_node& properties, Document& document);

// ECMA-376, part 2 (OPC): the parts of DOCX, PPTX and XLSX, found through their relationships.
bool IsOfficePart(std::string_view name);
struct Relationship {
  std::string id;
  std::string type;    // its last segment: "slide"
  std::string target;  // the part's name
};
// Of the part; none when it has no such file. Those to places outside are left out.
Result<std::vector<Relationship>> ReadRelationships(const ZipParts& parts, std::string_view part);
// The target of the first one of that type; `fallback` when there is none.
std::string TargetOf(const std::vector<Relationship>& relationships, std::string_view type,
                     std::string_view fallback);
// The part that the package is about, where _rels/.rels says or `usual`. invalid_argument when it
// is missing.
Result<std::string> FindMainPart(const ZipParts& parts, std::string_view kind,
                                 std::string_view usual);
// docProps/core.xml, when there is one.
Status ReadCoreProperties(const ZipParts& parts, Document& document);

// Rows of a table whose cells may reach down into the rows that follow; their text is repeated
// there, so that each row reads by itself.
class TableRows {
 public:
  explicit TableRows(TextBuilder& builder, uint32_t page = 0) : builder_(builder), page_(page) {}

  // The row's next cell, at that column of the grid. One that `continues` the cell above and has no
  // text takes that one's.
  void AddCell(size_t column, std::string text, bool continues);
  void EndRow();
  size_t row_bytes() const { return row_.size(); }

 private:
  TextBuilder& builder_;
  uint32_t page_;
  std::map<size_t, std::string> above_;  // by column
  std::string row_;
  bool empty_ = true;  // no cell yet
};

}  // namespace rag
