// UTF-8: decoding that never fails, and repair.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rag {

struct DecodedChar {
  char32_t code_point;  // U+FFFD where the bytes are broken
  uint32_t length;      // bytes taken, at least 1
  bool valid;
};

// The character at text[position]; position < text.size(). Broken bytes are taken as the Unicode
// standard recommends (section 3.9, "maximal subparts"): one U+FFFD for each longest prefix of a
// well-formed sequence. Overlong forms, surrogates and values past U+10FFFF are broken.
DecodedChar DecodeChar(std::string_view text, size_t position);

void AppendUtf8(std::string& out, char32_t code_point);

bool IsValidUtf8(std::string_view text);

// The text with broken bytes replaced by U+FFFD; `broken_bytes` (when given) counts them.
std::string RepairUtf8(std::string_view text, size_t* broken_bytes = nullptr);

// Length of the longest prefix that does not end within a character that more bytes could complete
// (for streaming). Broken bytes elsewhere do not count.
size_t CompleteUtf8Prefix(std::string_view text);

}  // namespace rag
