#include "engine/parse/office_xml.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

#include "engine/parse/paragraphs.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

constexpr size_t kMaxPropertyBytes = size_t{64} << 10;

std::string RelationshipsOf(std::string_view part) {
  const size_t name = part.find_last_of('/') + 1;
  return StrCat(part.substr(0, name), "_rels/", part.substr(name), ".rels");
}

bool SameButForCase(std::string_view a, std::string_view b) {
  const auto lower = [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace

Status XmlDepthError() {
  return ResourceExhaustedError("the document's elements are nested deeper than ", kMaxXmlDepth,
                                " levels");
}

std::string_view LocalName(const pugi::xml_node& node) {
  const std::string_view name = node.name();
  const size_t colon = name.find(':');
  return colon == std::string_view::npos ? name : name.substr(colon + 1);
}

pugi::xml_node ChildOf(const pugi::xml_node& node, std::string_view local_name) {
  for (const pugi::xml_node& child : node.children()) {
    if (LocalName(child) == local_name) return child;
  }
  return {};
}

std::string_view AttributeOf(const pugi::xml_node& node, std::string_view local_name) {
  for (const pugi::xml_attribute& attribute : node.attributes()) {
    std::string_view name = attribute.name();
    const size_t colon = name.find(':');
    if (colon != std::string_view::npos) name.remove_prefix(colon + 1);
    if (name == local_name) return attribute.value();
  }
  return {};
}

std::string TextOf(const pugi::xml_node& node) {
  std::string text;
  for (const pugi::xml_node& child : node.children()) {
    if (child.type() == pugi::node_pcdata || child.type() == pugi::node_cdata) {
      text += child.value();
    }
  }
  return text;
}

size_t CountOf(std::string_view value, size_t least, size_t most) {
  size_t count = least;
  const auto end = std::from_chars(value.data(), value.data() + value.size(), count);
  if (end.ec == std::errc::result_out_of_range) count = most;
  return std::clamp(count, least, most);
}

Result<ZipParts> ReadParts(std::string_view content, std::string_view kind,
                           bool (*wanted)(std::string_view name)) {
  if (content.starts_with("\xD0\xCF\x11\xE0")) {
    return InvalidArgumentError("not ", kind, ": it is encrypted, or of an older Office");
  }
  if (!content.starts_with("PK")) {
    return InvalidArgumentError("not ", kind, ": it is no ZIP archive");
  }
  return ReadZip(content, wanted);
}

Status MissingPartError(std::string_view name) {
  return InvalidArgumentError("the document is damaged: its part '", RepairUtf8(name),
                              "' is missing");
}

Status LoadPart(const ZipParts& parts, const std::string& name, pugi::xml_document& xml,
                BlankText blanks) {
  auto part = parts.find(name);
  if (part == parts.end()) {
    part = std::find_if(parts.begin(), parts.end(),
                        [&](const auto& entry) { return SameButForCase(entry.first, name); });
  }
  if (part == parts.end()) return MissingPartError(name);
  const unsigned how =
      blanks == BlankText::kKept ? pugi::parse_ws_pcdata : pugi::parse_ws_pcdata_single;
  const pugi::xml_parse_result parsed =
      xml.load_buffer(part->second.data(), part->second.size(), pugi::parse_default | how);
  if (parsed) return OkStatus();
  return InvalidArgumentError("the document is damaged: ", RepairUtf8(name), " at byte ",
                              parsed.offset, ": ", parsed.description());
}

std::string ResolvePart(std::string_view base, std::string_view target) {
  std::vector<std::string_view> segments;
  const auto add = [&](std::string_view path) {
    while (!path.empty()) {
      const size_t end = std::min(path.find('/'), path.size());
      const std::string_view segment = path.substr(0, end);
      if (segment == "..") {
        if (!segments.empty()) segments.pop_back();
      } else if (!segment.empty() && segment != ".") {
        segments.push_back(segment);
      }
      path.remove_prefix(std::min(end + 1, path.size()));
    }
  };
  if (!target.starts_with('/')) add(base.substr(0, base.find_last_of('/') + 1));
  add(target);
  std::string name;
  for (const std::string_view segment : segments) {
    if (!name.empty()) name += '/';
    name += segment;
  }
  return name;
}

void ReadProperties(const pugi::xml_node& properties, Document& document) {
  static constexpr struct {
    std::string_view from;
    std::string_view to;
  } kNames[] = {
      {"creator", "author"},          {"subject", "subject"},       {"keywords", "keywords"},
      {"description", "description"}, {"created", "created"},       {"modified", "modified"},
      {"language", "lang"},           {"publisher", "publisher"},   {"date", "date"},
      {"initial-creator", "author"},  {"creation-date", "created"}, {"keyword", "keywords"}};
  Value::Object& metadata = document.metadata.as_object();
  // OpenDocument's creator is who changed the document last.
  const bool changed_since = ChildOf(properties, "initial-creator");
  bool has_title = false;
  std::map<std::string_view, std::string> values;
  for (const pugi::xml_node& node : properties.children()) {
    const std::string_view name = LocalName(node);
    std::string value = RepairUtf8(CollapseSpace(TextOf(node)));
    if (value.empty() || value.size() > kMaxPropertyBytes) continue;
    // PowerPoint's own for a presentation that was given none.
    if (name == "title" && !has_title && value != "PowerPoint Presentation") {
      document.title = value;
      has_title = true;
    }
    const auto* known = std::find_if(std::begin(kNames), std::end(kNames),
                                     [&](const auto& entry) { return entry.from == name; });
    if (known == std::end(kNames) || (changed_since && name == "creator")) continue;
    std::string& joined = values[known->to];
    if (joined.size() + value.size() > kMaxPropertyBytes) continue;
    if (!joined.empty()) joined += "; ";
    joined += value;
  }
  for (auto& [name, value] : values) metadata.Set(name, std::move(value));
}

bool IsOfficePart(std::string_view name) {
  if (!name.ends_with(".xml") && !name.ends_with(".rels")) return false;
  // What may be large and says nothing about the text.
  static constexpr std::string_view kUnread[] = {
      "theme/",          "slideMasters/", "slideLayouts/", "notesMasters/",
      "handoutMasters/", "charts/",       "embeddings/",   "customXml/",
      "pivotCache/",     "pivotTables/",  "drawings/"};
  return std::none_of(std::begin(kUnread), std::end(kUnread), [&](std::string_view folder) {
    return name.find(folder) != std::string_view::npos;
  });
}

Result<std::vector<Relationship>> ReadRelationships(const ZipParts& parts, std::string_view part) {
  std::vector<Relationship> relationships;
  const std::string name = RelationshipsOf(part);
  if (!parts.contains(name)) return relationships;
  pugi::xml_document xml;
  RAG_RETURN_IF_ERROR(LoadPart(parts, name, xml));
  for (const pugi::xml_node& node : xml.document_element().children()) {
    if (LocalName(node) != "Relationship" || AttributeOf(node, "TargetMode") == "External") {
      continue;
    }
    const std::string_view type = AttributeOf(node, "Type");
    relationships.push_back({std::string(AttributeOf(node, "Id")),
                             std::string(type.substr(type.find_last_of('/') + 1)),
                             ResolvePart(part, AttributeOf(node, "Target"))});
  }
  return relationships;
}

std::string TargetOf(const std::vector<Relationship>& relationships, std::string_view type,
                     std::string_view fallback) {
  for (const Relationship& relationship : relationships) {
    if (relationship.type == type) return relationship.target;
  }
  return std::string(fallback);
}

Result<std::string> FindMainPart(const ZipParts& parts, std::string_view kind,
                                 std::string_view usual) {
  RAG_ASSIGN_OR_RETURN(const std::vector<Relationship> relationships, ReadRelationships(parts, ""));
  std::string main = TargetOf(relationships, "officeDocument", usual);
  if (!parts.contains(main)) main = usual;
  if (parts.contains(main)) return main;
  return InvalidArgumentError("not ", kind, ": it has no ", usual);
}

Status ReadCoreProperties(const ZipParts& parts, Document& document) {
  RAG_ASSIGN_OR_RETURN(const std::vector<Relationship> relationships, ReadRelationships(parts, ""));
  const std::string name = TargetOf(relationships, "core-properties", "docProps/core.xml");
  if (!parts.contains(name)) return OkStatus();
  pugi::xml_document xml;
  RAG_RETURN_IF_ERROR(LoadPart(parts, name, xml));
  ReadProperties(xml.document_element(), document);
  return OkStatus();
}

void TableRows::AddCell(size_t column, std::string text, bool continues) {
  if (continues && text.empty()) text = above_[column];
  if (!empty_) row_ += " | ";
  empty_ = false;
  row_ += text;
  above_[column] = std::move(text);
}

void TableRows::EndRow() {
  if (row_.find_first_not_of("| ") != std::string::npos) {
    builder_.Add(BlockKind::kTableRow, row_, 0, page_);
  }
  row_.clear();
  empty_ = true;
}

}  // namespace rag
