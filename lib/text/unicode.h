// Character properties and the normalization forms, from tables of a fixed Unicode version, so that
// ids and offsets do not change with the machine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rag {

enum class Category : uint8_t {
  kUnassigned,
  kControl,
  kFormat,
  kPrivateUse,
  kSurrogate,
  kUppercase,
  kLowercase,
  kTitlecase,
  kModifierLetter,
  kOtherLetter,
  kNonspacingMark,
  kSpacingMark,
  kEnclosingMark,
  kDecimalNumber,
  kLetterNumber,
  kOtherNumber,
  kConnectorPunctuation,
  kDashPunctuation,
  kOpenPunctuation,
  kClosePunctuation,
  kInitialPunctuation,
  kFinalPunctuation,
  kOtherPunctuation,
  kMathSymbol,
  kCurrencySymbol,
  kModifierSymbol,
  kOtherSymbol,
  kSpaceSeparator,
  kLineSeparator,
  kParagraphSeparator,
};

// "15.1.0".
std::string_view UnicodeVersion();

// Values past U+10FFFF count as unassigned.
Category CategoryOf(char32_t c);
bool IsWhitespace(char32_t c);   // property White_Space
bool IsLetter(char32_t c);       // L
bool IsMark(char32_t c);         // M
bool IsNumber(char32_t c);       // N
bool IsPunctuation(char32_t c);  // P
bool IsSymbol(char32_t c);       // S
// What \w stands for: letters, marks, decimal digits, letter numbers and connectors.
bool IsWordChar(char32_t c);
// The blocks that BERT calls CJK: ideographs, without kana and Hangul (google-research/bert,
// tokenization.py, _is_chinese_char).
bool IsCjkIdeograph(char32_t c);

// Appends the full lowercase mapping of one character, without context (U+03A3 becomes U+03C3).
void AppendLower(std::u32string& out, char32_t c);
char32_t ToSimpleLower(char32_t c);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// Appends the full decomposition of one character, its marks not yet reordered.
void AppendDecomposition(std::u32string& out, char32_t c, bool compatible);
uint8_t CombiningClass(char32_t c);
// The primary composite of two characters; 0 when there is none.
char32_t Compose(char32_t first, char32_t second);

// A character and the bytes of the original text that it came from, through any normalization.
struct SourceChar {
  char32_t c = 0;
  uint32_t begin = 0;
  uint32_t end = 0;
};

// Puts characters into a normalization form (UAX 15). Parts of a decomposed character keep its
// whole range; a composed one takes the ranges of its parts together.
void NormalizeChars(std::vector<SourceChar>& chars, NormalForm form);

// The text in a normalization form. Broken UTF-8 becomes U+FFFD.
std::string Normalize(std::string_view text, NormalForm form);
// Full lowercase of every character, without context.
std::string ToLower(std::string_view text);

}  // namespace rag
