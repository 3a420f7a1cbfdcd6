#include "engine/check_text.h"

#include "lib/text/utf8.h"

namespace rag {

bool IsBlank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

Status CheckUtf8(std::string_view name, std::string_view text) {
  if (IsValidUtf8(text)) return OkStatus();
  size_t position = 0;
  for (DecodedChar next = DecodeChar(text, 0); next.valid; next = DecodeChar(text, position)) {
    position += next.length;
  }
  return InvalidArgumentError(name, " is not UTF-8 at byte ", position);
}

Status CheckUtf8(std::string_view name, std::span<const std::string_view> texts) {
  for (size_t i = 0; i < texts.size(); ++i) {
    if (IsValidUtf8(texts[i])) continue;  // before a name is made
    return CheckUtf8(StrCat(name, "[", i, "]"), texts[i]);
  }
  return OkStatus();
}

}  // namespace rag
