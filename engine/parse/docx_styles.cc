#include "engine/parse/docx_styles.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "engine/parse/office_xml.h"

namespace rag {
namespace {

// A style that is based on itself through others would never end.
constexpr int kMaxBases = 16;
constexpr int kMaxHeading = 6;

int ToInt(std::string_view text, int fallback) {
  int value = fallback;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  return read.ec == std::errc() ? value : fallback;
}

// "heading 3" -> 3.
int HeadingOfName(std::string_view name) {
  if (name == "title") return 1;
  if (!name.starts_with("heading ")) return 0;
  return std::clamp(ToInt(name.substr(8), 0), 0, kMaxHeading);
}

}  // namespace

DocxStyles::DocxStyles(const pugi::xml_node& styles) {
  for (const pugi::xml_node& node : styles.children()) {
    if (LocalName(node) != "style" || AttributeOf(node, "type") != "paragraph") continue;
    Style style;
    style.name = AttributeOf(ChildOf(node, "name"), "val");
    std::transform(style.name.begin(), style.name.end(), style.name.begin(), [](char c) {
      return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    });
    style.based_on = AttributeOf(ChildOf(node, "basedOn"), "val");
    const pugi::xml_node properties = ChildOf(node, "pPr");
    style.outline = ToInt(AttributeOf(ChildOf(properties, "outlineLvl"), "val"), -1);
    style.numbering = ToInt(AttributeOf(ChildOf(ChildOf(properties, "numPr"), "numId"), "val"), -1);
    styles_.emplace(std::string(AttributeOf(node, "styleId")), std::move(style));
  }
}

ParagraphStyle DocxStyles::Find(std::string_view id) const {
  ParagraphStyle result;
  bool outline_known = false;
  bool numbering_known = false;
  std::string at(id);
  for (int depth = 0; depth < kMaxBases && !at.empty(); ++depth) {
    const auto found = styles_.find(at);
    if (found == styles_.end()) {
      // Files without their styles part: the built-in ids speak for themselves.
      if (depth == 0 && at.starts_with("Heading")) {
        result.heading = std::clamp(ToInt(std::string_view(at).substr(7), 0), 0, kMaxHeading);
      }
      break;
    }
    const Style& style = found->second;
    if (!outline_known && style.outline >= 0) {
      outline_known = true;
      if (style.outline < 9) result.heading = std::min(style.outline + 1, kMaxHeading);
    }
    if (!outline_known && result.heading == 0) result.heading = HeadingOfName(style.name);
    if (!numbering_known && style.numbering >= 0) {
      numbering_known = true;
      result.list = style.numbering > 0;
    }
    // "List Paragraph" indents; "List Bullet" and its like are items.
    result.list =
        result.list || (style.name.starts_with("list ") && style.name != "list paragraph");
    result.quote = result.quote || style.name == "quote" || style.name == "intense quote";
    result.code = result.code || style.name == "html preformatted" || style.name == "macro" ||
                  style.name.find("code") != std::string::npos;
    at = style.based_on;
  }
  return result;
}

}  // namespace rag
