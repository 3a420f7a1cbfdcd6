// What the paragraph styles of a DOCX file say about structure.
#pragma once

#include <pugixml.hpp>
#include <string>
#include <string_view>
#include <unordered_map>

namespace rag {

struct ParagraphStyle {
  int heading = 0;  // 1 .. 6; 0: none. "Title" is 1
  bool list = false;
  bool quote = false;
  bool code = false;
};

class DocxStyles {
 public:
  DocxStyles() = default;
  // Takes the root of word/styles.xml.
  explicit DocxStyles(const pugi::xml_node& styles);
  // Of the style with this id and those that it is based on.
  ParagraphStyle Find(std::string_view id) const;

 private:
  struct Style {
    std::string name;  // lower case; Word keeps the English names of its own styles in any language
    std::string based_on;
    int outline = -1;    // 0 .. 8, 9: body text; -1: not given
    int numbering = -1;  // numId; 0 takes the numbering away
  };
  std::unordered_map<std::string, Style> styles_;
};

}  // namespace rag
