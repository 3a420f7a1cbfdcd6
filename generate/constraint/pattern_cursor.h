// What the parsers of grammars and regular expressions share: a place in a text, and character
// escapes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "generate/constraint/expressions.h"
#include "lib/base/status.h"

namespace rag {

// Nesting of groups that the parsers follow.
inline constexpr int kMaxPatternDepth = 200;
// A count in a repetition.
inline constexpr size_t kMaxRepetitions = 100'000;

class PatternCursor {
 public:
  explicit PatternCursor(std::string_view text) : text_(text) {}

  bool done() const { return at_ == text_.size(); }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool Take(std::string_view expected) {
    if (!text_.substr(at_).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }
  void Skip(size_t count) { at_ += count; }
  void Back() { --at_; }
  size_t position() const { return at_; }
  // Line and column, from 1.
  std::string Place() const;

  // One character of UTF-8.
  Result<uint32_t> TakeCharacter();
  // A decimal number up to kMaxRepetitions.
  Result<size_t> TakeNumber();
  // `count` hexadecimal digits.
  Result<uint32_t> TakeHex(size_t count);
  // After "{": n} n,} n,m} with white space between.
  Status TakeBounds(size_t& min, size_t& max);

 private:
  std::string_view text_;
  size_t at_ = 0;
};

// UTF-8 of a character.
std::string EncodeCharacter(uint32_t character);

}  // namespace rag
