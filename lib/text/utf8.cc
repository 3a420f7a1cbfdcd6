#include "lib/text/utf8.h"

#include <cstring>

namespace rag {

DecodedChar DecodeChar(std::string_view text, size_t position) {
  const auto byte = [&](size_t i) -> uint32_t {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;  // 0 continues nothing
  };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const uint32_t first = byte(position);
  if (first < 0x80) return {first, 1, true};
  if (first < 0xC2 || first > 0xF4) return {0xFFFD, 1, false};
  const uint32_t second = byte(position + 1);
  // The second byte's range excludes overlong forms (E0, F0), surrogates (ED) and what is past
  // U+10FFFF (F4): table 3-7 of the standard.
  uint32_t low = 0x80;
  uint32_t high = 0xBF;
  if (first == 0xE0) low = 0xA0;
  if (first == 0xED) high = 0x9F;
  if (first == 0xF0) low = 0x90;
  if (first == 0xF4) high = 0x8F;
  if (second < low || second > high) return {0xFFFD, 1, false};
  if (first < 0xE0) return {(first & 0x1F) << 6 | (second & 0x3F), 2, true};
  if (!continues(position + 2)) return {0xFFFD, 2, false};
  const uint32_t third = byte(position + 2);
  if (first < 0xF0) {
    return {(first & 0x0F) << 12 | (second & 0x3F) << 6 | (third & 0x3F), 3, true};
  }
  if (!continues(position + 3)) return {0xFFFD, 3, false};
  const uint32_t fourth = byte(position + 3);
  return {(first & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | (fourth & 0x3F), 4,
          true};
}

void AppendUtf8(std::string& out, char32_t code_point) {
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xC0 | code_point >> 6);
    out += static_cast<char>(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xE0 | code_point >> 12);
    out += static_cast<char>(0x80 | (code_point >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code_point & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code_point >> 18);
    out += static_cast<char>(0x80 | (code_point >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code_point >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code_point & 0x3F));
  }
}

bool IsValidUtf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    uint64_t word;
    if (i + 8 <= text.size()) {
      std::memcpy(&word, text.data() + i, 8);
      if ((word & 0x8080808080808080) == 0) {
        i += 8;
        continue;
      }
    }
    const DecodedChar next = DecodeChar(text, i);
    if (!next.valid) return false;
    i += next.length;
  }
  return true;
}

std::string RepairUtf8(std::string_view text, size_t* broken_bytes) {
  std::string out;
  out.reserve(text.size());
  size_t broken = 0;
  for (size_t i = 0; i < text.size();) {
    const DecodedChar next = DecodeChar(text, i);
    if (next.valid) {
      out.append(text, i, next.length);
    } else {
      out += "\xEF\xBF\xBD";
      broken += next.length;
    }
    i += next.length;
  }
  if (broken_bytes != nullptr) *broken_bytes = broken;
  return out;
}

size_t CompleteUtf8Prefix(std::string_view text) {
  // An unfinished character has at most three bytes.
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const size_t start = text.size() - back;
    const unsigned char byte = static_cast<unsigned char>(text[start]);
    if ((byte & 0xC0) == 0x80) continue;
    const size_t length = byte < 0xC2 || byte > 0xF4 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    if (length <= back) return text.size();
    const DecodedChar next = DecodeChar(text, start);
    return next.length == back ? start : text.size();
  }
  return text.size();
}

}  // namespace rag
