#include "generate/constraint/pattern_cursor.h"

namespace rag {

std::string PatternCursor::Place() const {
  size_t line = 1;
  size_t column = 1;
  for (size_t i = 0; i < at_; ++i) {
    ++column;
    if (text_[i] != '\n') continue;
    ++line;
    column = 1;
  }
  return StrCat("line ", line, ", column ", column);
}

Result<uint32_t> PatternCursor::TakeCharacter() {
  if (done()) return InvalidArgumentError("the text ends at ", Place());
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(peek(i)); };
  const unsigned lead = byte(0);
  const size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  uint32_t value = length == 1 ? lead : lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return InvalidArgumentError("broken UTF-8 at ", Place());
    value = value << 6 | (byte(i) & 0x3Fu);
  }
  if (length == 0 || value > kLastCharacter || (value >= 0xD800 && value <= 0xDFFF)) {
    return InvalidArgumentError("broken UTF-8 at ", Place());
  }
  at_ += length;
  return value;
}

Result<size_t> PatternCursor::TakeNumber() {
  if (peek() < '0' || peek() > '9') return InvalidArgumentError("a number is missing at ", Place());
  size_t value = 0;
  while (peek() >= '0' && peek() <= '9') {
    value = value * 10 + static_cast<size_t>(peek() - '0');
    if (value > kMaxRepetitions) {
      return InvalidArgumentError("a number over ", kMaxRepetitions, " at ", Place());
    }
    ++at_;
  }
  return value;
}

Result<uint32_t> PatternCursor::TakeHex(size_t count) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) {
    const char c = peek();
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return InvalidArgumentError("a hexadecimal digit is missing at ", Place());
    value = value << 4 | static_cast<uint32_t>(digit);
    ++at_;
  }
  if (value > kLastCharacter) return InvalidArgumentError("no such character at ", Place());
  return value;
}

Status PatternCursor::TakeBounds(size_t& min, size_t& max) {
  const auto skip = [&] {
    while (peek() == ' ' || peek() == '\t') ++at_;
  };
  skip();
  min = 0;
  if (peek() != ',') {
    RAG_ASSIGN_OR_RETURN(min, TakeNumber());
  }
  max = min;
  skip();
  if (Take(",")) {
    skip();
    max = kUnbounded;
    if (peek() != '}') {
      RAG_ASSIGN_OR_RETURN(max, TakeNumber());
    }
    skip();
  }
  if (!Take("}")) return InvalidArgumentError("'}' is missing at ", Place());
  if (max < min) return InvalidArgumentError("a repetition's bounds are reversed at ", Place());
  return OkStatus();
}

std::string EncodeCharacter(uint32_t c) {
  std::string out;
  if (c < 0x80) {
    out += static_cast<char>(c);
    return out;
  }
  const int rest = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  const unsigned lead = rest == 1 ? 0xC0u : rest == 2 ? 0xE0u : 0xF0u;
  out += static_cast<char>(lead | c >> (6 * rest));
  for (int i = rest - 1; i >= 0; --i) out += static_cast<char>(0x80u | (c >> (6 * i) & 0x3Fu));
  return out;
}

}  // namespace rag
