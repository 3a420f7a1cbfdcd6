#include "lib/template/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "lib/text/unicode.h"
#include "lib/text/utf8.h"

namespace rag::jinja {
namespace {

constexpr char kHex[] = "0123456789abcdef";

void AppendHex(std::string& out, uint32_t value, int digits) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += kHex[(value >> shift) & 15];
}

// The characters whose simple lower case is another one, ordered by that lower case. Built once;
// the tables have only the way down.
const std::vector<std::pair<char32_t, char32_t>>& UpperTable() {
  static const auto* table = [] {
    auto* pairs = new std::vector<std::pair<char32_t, char32_t>>;
    for (char32_t c = 0x80; c < 0x1F000; ++c) {
      const char32_t lower = ToSimpleLower(c);
      // U+2126, U+212A and U+212B are other spellings; U+1E9E's lower case has another upper one.
      const bool one_way = c == 0x2126 || c == 0x212A || c == 0x212B || c == 0x1E9E || c == 0x0130;
      // Title-case digraphs share their lower case with the upper-case ones.
      if (lower != c && lower >= 0x80 && !one_way && CategoryOf(c) != Category::kTitlecase) {
        pairs->emplace_back(lower, c);
      }
    }
    std::sort(pairs->begin(), pairs->end());
    return pairs;
  }();
  return *table;
}

void AppendUpper(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
    return;
  }
  switch (c) {  // the mappings that are not the inverse of a lower-case one
    case 0xDF:
      out += "SS";
      return;
    case 0xB5:
      return AppendUtf8(out, 0x39C);
    case 0x131:
      out += 'I';
      return;
    case 0x17F:
      out += 'S';
      return;
    case 0x3C2:
      return AppendUtf8(out, 0x3A3);
    case 0xFB01:
      out += "FI";
      return;
    case 0xFB02:
      out += "FL";
      return;
    default:
      break;
  }
  const auto& table = UpperTable();
  const auto found = std::lower_bound(table.begin(), table.end(), std::pair(c, char32_t{0}));
  AppendUtf8(out, found != table.end() && found->first == c ? found->second : c);
}

void AppendLowerUtf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return;
  }
  std::u32string lower;
  AppendLower(lower, c);
  for (const char32_t part : lower) AppendUtf8(out, part);
}

template <class Body>
void ForEachChar(std::string_view text, Body body) {
  for (size_t i = 0; i < text.size();) {
    const DecodedChar c = DecodeChar(text, i);
    body(c.code_point);
    i += c.length;
  }
}

bool IsPrintable(char32_t c) {
  if (c == ' ') return true;
  switch (CategoryOf(c)) {
    case Category::kUnassigned:
    case Category::kControl:
    case Category::kFormat:
    case Category::kPrivateUse:
    case Category::kSurrogate:
    case Category::kSpaceSeparator:
    case Category::kLineSeparator:
    case Category::kParagraphSeparator:
      return false;
    default:
      return true;
  }
}

}  // namespace

bool IsPythonSpace(char32_t c) { return IsWhitespace(c) || (c >= 0x1C && c <= 0x1F); }

size_t LeadingSpace(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const DecodedChar c = DecodeChar(text, i);
    if (!c.valid || !IsPythonSpace(c.code_point)) break;
    i += c.length;
  }
  return i;
}

std::string_view StripLeft(std::string_view text) { return text.substr(LeadingSpace(text)); }

std::string_view StripRight(std::string_view text) {
  while (!text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && text.size() - begin < 4 && (text[begin] & 0xC0) == 0x80) --begin;
    const DecodedChar c = DecodeChar(text, begin);
    if (!c.valid || begin + c.length != text.size() || !IsPythonSpace(c.code_point)) break;
    text = text.substr(0, begin);
  }
  return text;
}

std::string_view StripChars(std::string_view text, std::string_view chars, bool left, bool right) {
  std::u32string set;
  ForEachChar(chars, [&](char32_t c) { set += c; });
  const std::vector<size_t> offsets = CharOffsets(text);
  size_t begin = 0;
  size_t end = offsets.size() - 1;
  const auto contains = [&](size_t i) {
    return set.find(DecodeChar(text, offsets[i]).code_point) != std::u32string::npos;
  };
  while (left && begin < end && contains(begin)) ++begin;
  while (right && begin < end && contains(end - 1)) --end;
  return text.substr(offsets[begin], offsets[end] - offsets[begin]);
}

size_t CountChars(std::string_view text) {
  size_t count = 0;
  ForEachChar(text, [&](char32_t) { ++count; });
  return count;
}

std::vector<size_t> CharOffsets(std::string_view text) {
  std::vector<size_t> offsets;
  offsets.reserve(text.size() + 1);
  for (size_t i = 0; i < text.size(); i += DecodeChar(text, i).length) offsets.push_back(i);
  offsets.push_back(text.size());
  return offsets;
}

std::string Upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  ForEachChar(text, [&](char32_t c) { AppendUpper(out, c); });
  return out;
}

std::string Lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  ForEachChar(text, [&](char32_t c) { AppendLowerUtf8(out, c); });
  return out;
}

std::string Capitalize(std::string_view text) {
  if (text.empty()) return "";
  const size_t first = DecodeChar(text, 0).length;
  return Upper(text.substr(0, first)) + Lower(text.substr(first));
}

bool IsCased(char32_t c) {
  const Category category = CategoryOf(c);
  return category == Category::kUppercase || category == Category::kLowercase ||
         category == Category::kTitlecase;
}

std::string TitleWords(std::string_view text) {
  std::string out;
  bool inside = false;
  ForEachChar(text, [&](char32_t c) {
    if (inside) {
      AppendLowerUtf8(out, c);
    } else {
      AppendUpper(out, c);
    }
    inside = IsCased(c);
  });
  return out;
}

bool IsUpperText(std::string_view text) {
  bool any = false;
  bool other = false;
  ForEachChar(text, [&](char32_t c) {
    any |= CategoryOf(c) == Category::kUppercase;
    other |= IsCased(c) && CategoryOf(c) != Category::kUppercase;
  });
  return any && !other;
}

bool IsLowerText(std::string_view text) {
  bool any = false;
  bool other = false;
  ForEachChar(text, [&](char32_t c) {
    any |= CategoryOf(c) == Category::kLowercase;
    other |= IsCased(c) && CategoryOf(c) != Category::kLowercase;
  });
  return any && !other;
}

void AppendQuoted(std::string& out, std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out += quote;
  for (size_t i = 0; i < text.size();) {
    const DecodedChar decoded = DecodeChar(text, i);
    const char32_t c = decoded.code_point;
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (IsPrintable(c)) {
      out.append(text.substr(i, decoded.length));
    } else if (c < 0x100) {
      out += "\\x";
      AppendHex(out, c, 2);
    } else if (c < 0x10000) {
      out += "\\u";
      AppendHex(out, c, 4);
    } else {
      out += "\\U";
      AppendHex(out, c, 8);
    }
    i += decoded.length;
  }
  out += quote;
}

std::string FormatFloat(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  // The shortest digits that read back, laid out as Python's repr does it: scientific below 1e-4
  // and from 1e16 on.
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string_view text(buffer, end.ptr - buffer);
  std::string out;
  if (text[0] == '-') {
    out += '-';
    text.remove_prefix(1);
  }
  const size_t e = text.find('e');
  std::string digits(text.substr(0, e));
  std::erase(digits, '.');
  int exponent = 0;
  std::string_view exponent_text = text.substr(e + 1);
  if (exponent_text[0] == '+') exponent_text.remove_prefix(1);
  std::from_chars(exponent_text.data(), exponent_text.data() + exponent_text.size(), exponent);
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (count > 1) out.append(".").append(digits, 1);
    out += 'e';
    out += exponent < 0 ? '-' : '+';
    const int size = std::abs(exponent);
    if (size < 10) out += '0';
    return out + std::to_string(size);
  }
  if (exponent < 0) return out + "0." + std::string(-exponent - 1, '0') + digits;
  if (exponent + 1 >= count) return out + digits + std::string(exponent + 1 - count, '0') + ".0";
  return out + digits.substr(0, exponent + 1) + "." + digits.substr(exponent + 1);
}

void AppendJsonString(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u";
          AppendHex(out, static_cast<unsigned char>(c), 4);
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

std::string EscapeHtml(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to,
                       long long count) {
  std::string out;
  long long left = count;
  if (from.empty()) {
    for (size_t i = 0; i <= text.size();) {
      if (left != 0) {
        out += to;
        if (left > 0) --left;
      }
      if (i == text.size()) break;
      const size_t length = DecodeChar(text, i).length;
      out.append(text.substr(i, length));
      i += length;
    }
    return out;
  }
  size_t begin = 0;
  while (left != 0) {
    const size_t found = text.find(from, begin);
    if (found == std::string_view::npos) break;
    out.append(text.substr(begin, found - begin)).append(to);
    begin = found + from.size();
    if (left > 0) --left;
  }
  return out.append(text.substr(begin));
}

std::vector<std::string_view> SplitOn(std::string_view text, std::string_view separator,
                                      long long limit, bool from_right) {
  std::vector<std::string_view> parts;
  while (limit < 0 || static_cast<long long>(parts.size()) < limit) {
    const size_t found = from_right ? text.rfind(separator) : text.find(separator);
    if (found == std::string_view::npos) break;
    if (from_right) {
      parts.push_back(text.substr(found + separator.size()));
      text = text.substr(0, found);
    } else {
      parts.push_back(text.substr(0, found));
      text = text.substr(found + separator.size());
    }
  }
  parts.push_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> SplitSpace(std::string_view text, long long limit, bool from_right) {
  std::vector<std::string_view> parts;
  const auto next_space = [](std::string_view rest) {
    size_t i = 0;
    while (i < rest.size()) {
      const DecodedChar c = DecodeChar(rest, i);
      if (IsPythonSpace(c.code_point)) break;
      i += c.length;
    }
    return i;
  };
  if (!from_right) {
    text = StripLeft(text);
    while (!text.empty()) {
      if (limit >= 0 && static_cast<long long>(parts.size()) >= limit) {
        parts.push_back(text);
        break;
      }
      const size_t end = next_space(text);
      parts.push_back(text.substr(0, end));
      text = StripLeft(text.substr(end));
    }
    return parts;
  }
  // From the right: all words, then the first ones again as the bytes that hold them.
  const std::vector<std::string_view> words = SplitSpace(text, -1, false);
  if (limit < 0 || words.size() <= static_cast<size_t>(limit)) return words;
  const size_t rest = words.size() - static_cast<size_t>(limit);
  const std::string_view last = words[rest - 1];
  parts.push_back(text.substr(0, static_cast<size_t>(last.data() - text.data()) + last.size()));
  parts.insert(parts.end(), words.begin() + static_cast<ptrdiff_t>(rest), words.end());
  return parts;
}

std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const DecodedChar c = DecodeChar(text, i);
    const char32_t p = c.code_point;
    const bool ends = (p >= 0x0A && p <= 0x0D) || (p >= 0x1C && p <= 0x1E) || p == 0x85 ||
                      p == 0x2028 || p == 0x2029;
    size_t next = i + c.length;
    if (ends) {
      if (p == '\r' && next < text.size() && text[next] == '\n') ++next;
      lines.push_back(text.substr(begin, (keep_ends ? next : i) - begin));
      begin = next;
    }
    i = next;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

}  // namespace rag::jinja
