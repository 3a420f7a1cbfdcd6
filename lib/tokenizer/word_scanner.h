// Scanners for the regular expressions that cut words before byte-level BPE. They give what the
// expression gives, character for character, and are templates so that they run over UTF-8 bytes
// as well as over characters.
//
// A Reader has: size_t size(); char32_t At(size_t i, size_t& next), where i < size() and next
// becomes the position of the following character.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/text/unicode.h"

namespace rag {

enum class CharClass : uint8_t { kLetter, kNumber, kSpace, kOther };

inline CharClass ClassOf(char32_t c) {
  if (c < 0x80) {
    if ((c | 32) >= 'a' && (c | 32) <= 'z') return CharClass::kLetter;
    if (c >= '0' && c <= '9') return CharClass::kNumber;
    return c == ' ' || (c >= 9 && c <= 13) ? CharClass::kSpace : CharClass::kOther;
  }
  if (IsLetter(c)) return CharClass::kLetter;
  if (IsNumber(c)) return CharClass::kNumber;
  return IsWhitespace(c) ? CharClass::kSpace : CharClass::kOther;
}

template <class Reader>
class WordScanner {
 public:
  explicit WordScanner(const Reader& reader) : reader_(reader), size_(reader.size()) {}

  // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  // Returns the end of the word that begins at `begin` < size().
  size_t Gpt2(size_t begin) const {
    size_t next;
    const char32_t first = reader_.At(begin, next);
    if (first == '\'') {
      if (const size_t end = Contraction<false>(next)) return end;
    }
    CharClass kind = ClassOf(first);
    if (first == ' ' && next < size_) {
      size_t after;
      const CharClass second = ClassOf(reader_.At(next, after));
      if (second != CharClass::kSpace) {
        kind = second;
        next = after;
      }
    }
    if (kind == CharClass::kSpace) return Spaces(begin);
    return Run(next, kind);
  }

  // (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,max_digits}|
  // ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
  size_t Llama3(size_t begin, size_t max_digits) const {
    size_t next;
    const char32_t first = reader_.At(begin, next);
    if (first == '\'') {
      if (const size_t end = Contraction<true>(next)) return end;
    }
    const CharClass kind = ClassOf(first);
    if (kind == CharClass::kLetter) return Run(next, kind);
    if (kind == CharClass::kNumber) {
      size_t end = next;
      for (size_t digits = 1; digits < max_digits && end < size_; ++digits) {
        if (ClassOf(reader_.At(end, next)) != CharClass::kNumber) break;
        end = next;
      }
      return end;
    }
    size_t after = next;
    CharClass second = CharClass::kSpace;
    if (next < size_) second = ClassOf(reader_.At(next, after));
    if (first != '\r' && first != '\n' && next < size_ && second == CharClass::kLetter) {
      return Run(after, CharClass::kLetter);
    }
    if (kind == CharClass::kOther ||
        (first == ' ' && next < size_ && second == CharClass::kOther)) {
      size_t end = Run(kind == CharClass::kOther ? next : after, CharClass::kOther);
      while (end < size_) {
        const char32_t c = reader_.At(end, next);
        if (c != '\r' && c != '\n') break;
        end = next;
      }
      return end;
    }
    // White space: up to its last line break if it has one.
    size_t after_break = 0;
    size_t last = begin;  // where the last space begins
    size_t end = begin;
    size_t spaces = 0;
    while (end < size_) {
      const char32_t c = reader_.At(end, next);
      if (ClassOf(c) != CharClass::kSpace) break;
      last = end;
      end = next;
      ++spaces;
      if (c == '\r' || c == '\n') after_break = end;
    }
    if (after_break != 0) return after_break;
    return end < size_ && spaces > 1 ? last : end;
  }

  // <\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+;
  // white space belongs to no match.
  // Returns `begin` when there is no match there.
  size_t Clip(size_t begin) const {
    size_t next;
    const char32_t first = reader_.At(begin, next);
    if (first == '<') {
      for (const std::string_view token : {"<|startoftext|>", "<|endoftext|>"}) {
        if (const size_t end = Literal(begin, token)) return end;
      }
    }
    if (first == '\'') {
      if (const size_t end = Contraction<false>(next)) return end;
    }
    const CharClass kind = ClassOf(first);
    if (kind == CharClass::kSpace) return begin;
    return kind == CharClass::kNumber ? next : Run(next, kind);
  }

 private:
  // `position` follows an apostrophe; 0 when no contraction does.
  template <bool kIgnoreCase>
  size_t Contraction(size_t position) const {
    if (position >= size_) return 0;
    const auto fold = [](char32_t c) -> char32_t {
      if (!kIgnoreCase) return c;
      if (c == 0x17F) return 's';  // LATIN SMALL LETTER LONG S folds to s
      return c >= 'A' && c <= 'Z' ? c + 32 : c;
    };
    size_t next;
    const char32_t first = fold(reader_.At(position, next));
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return next;
    if (next >= size_ || (first != 'r' && first != 'v' && first != 'l')) return 0;
    size_t after;
    const char32_t second = fold(reader_.At(next, after));
    return second == (first == 'l' ? 'l' : 'e') ? after : 0;
  }

  // The end of an ASCII string at `position`; 0 when it is not there.
  size_t Literal(size_t position, std::string_view text) const {
    for (const char c : text) {
      size_t next;
      if (position >= size_ || reader_.At(position, next) != static_cast<unsigned char>(c))
        return 0;
      position = next;
    }
    return position;
  }

  size_t Run(size_t position, CharClass kind) const {
    size_t next;
    while (position < size_ && ClassOf(reader_.At(position, next)) == kind) position = next;
    return position;
  }

  // \s+(?!\S)|\s+: all of it at the end of the text, else without the last one unless it is alone.
  size_t Spaces(size_t begin) const {
    size_t last = begin;
    size_t end = begin;
    size_t next;
    size_t count = 0;
    while (end < size_ && ClassOf(reader_.At(end, next)) == CharClass::kSpace) {
      last = end;
      end = next;
      ++count;
    }
    return end < size_ && count > 1 ? last : end;
  }

  Reader reader_;
  size_t size_;
};

}  // namespace rag
