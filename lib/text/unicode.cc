#include "lib/text/unicode.h"

#include <algorithm>

#include "lib/text/unicode_tables.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

using namespace unicode;

constexpr uint8_t kSpaceBit = 32;
constexpr uint8_t kLowerBit = 64;
constexpr uint8_t kDecomposesBit = 128;

// Hangul syllables are composed by arithmetic (Unicode 3.12).
constexpr char32_t kHangulBase = 0xAC00, kLBase = 0x1100, kVBase = 0x1161, kTBase = 0x11A7;
constexpr char32_t kLCount = 19, kVCount = 21, kTCount = 28;
constexpr char32_t kHangulCount = kLCount * kVCount * kTCount;

uint8_t Properties(char32_t c) {
  if (c > 0x10FFFF) return 0;
  return kPropertyBlocks[kPropertyIndex[c / 128] * 128u + c % 128];
}

bool InRange(Category category, Category first, Category last) {
  return category >= first && category <= last;
}

std::pair<uint32_t, uint32_t> RangeOf(const std::vector<SourceChar>& chars, size_t begin,
                                      size_t end) {
  uint32_t low = chars[begin].begin;
  uint32_t high = chars[begin].end;
  for (size_t i = begin + 1; i < end; ++i) {
    low = std::min(low, chars[i].begin);
    high = std::max(high, chars[i].end);
  }
  return {low, high};
}

const UnicodeExpansion* FindExpansion(const UnicodeExpansion* table, size_t count, char32_t c) {
  const auto* found = std::lower_bound(
      table, table + count, c,
      [](const UnicodeExpansion& row, char32_t key) { return row.code_point < key; });
  return found != table + count && found->code_point == c ? found : nullptr;
}

}  // namespace

std::string_view UnicodeVersion() { return kVersion; }

Category CategoryOf(char32_t c) { return static_cast<Category>(Properties(c) & 31); }
bool IsWhitespace(char32_t c) { return (Properties(c) & kSpaceBit) != 0; }
bool IsLetter(char32_t c) {
  return InRange(CategoryOf(c), Category::kUppercase, Category::kOtherLetter);
}
bool IsMark(char32_t c) {
  return InRange(CategoryOf(c), Category::kNonspacingMark, Category::kEnclosingMark);
}
bool IsNumber(char32_t c) {
  return InRange(CategoryOf(c), Category::kDecimalNumber, Category::kOtherNumber);
}
bool IsPunctuation(char32_t c) {
  return InRange(CategoryOf(c), Category::kConnectorPunctuation, Category::kOtherPunctuation);
}
bool IsSymbol(char32_t c) {
  return InRange(CategoryOf(c), Category::kMathSymbol, Category::kOtherSymbol);
}

bool IsWordChar(char32_t c) {
  const Category category = CategoryOf(c);
  return InRange(category, Category::kUppercase, Category::kLetterNumber) ||
         category == Category::kConnectorPunctuation;
}

bool IsCjkIdeograph(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

void AppendLower(std::u32string& out, char32_t c) {
  if ((Properties(c) & kLowerBit) != 0) {
    if (const UnicodeExpansion* row = FindExpansion(kLower, kLowerCount, c)) {
      out.append(kLowerPool + row->offset, row->length);
      return;
    }
  }
  out += c;
}

char32_t ToSimpleLower(char32_t c) {
  if ((Properties(c) & kLowerBit) == 0) return c;
  const UnicodeExpansion* row = FindExpansion(kLower, kLowerCount, c);
  return row != nullptr && row->length == 1 ? kLowerPool[row->offset] : c;
}

void AppendDecomposition(std::u32string& out, char32_t c, bool compatible) {
  if (c - kHangulBase < kHangulCount) {
    const char32_t index = c - kHangulBase;
    out += kLBase + index / (kVCount * kTCount);
    out += kVBase + index % (kVCount * kTCount) / kTCount;
    if (index % kTCount != 0) out += kTBase + index % kTCount;
    return;
  }
  if ((Properties(c) & kDecomposesBit) != 0) {
    if (compatible) {
      if (const UnicodeExpansion* row = FindExpansion(kCompatible, kCompatibleCount, c)) {
        out.append(kCompatiblePool + row->offset, row->length);
        return;
      }
    }
    if (const UnicodeExpansion* row = FindExpansion(kCanonical, kCanonicalCount, c)) {
      out.append(kCanonicalPool + row->offset, row->length);
      return;
    }
  }
  out += c;
}

uint8_t CombiningClass(char32_t c) {
  if (c < 0x300 || !IsMark(c)) return 0;
  const auto* end = kCombiningClasses + kCombiningClassCount;
  const auto* found =
      std::lower_bound(kCombiningClasses, end, c,
                       [](const UnicodePair& row, char32_t key) { return row.code_point < key; });
  return found != end && found->code_point == c ? static_cast<uint8_t>(found->value) : 0;
}

char32_t Compose(char32_t first, char32_t second) {
  if (first - kLBase < kLCount && second - kVBase < kVCount) {
    return kHangulBase + ((first - kLBase) * kVCount + (second - kVBase)) * kTCount;
  }
  if (first - kHangulBase < kHangulCount && (first - kHangulBase) % kTCount == 0 &&
      second > kTBase && second < kTBase + kTCount) {
    return first + (second - kTBase);
  }
  const auto* end = kCompositions + kCompositionCount;
  const auto* found =
      std::lower_bound(kCompositions, end, std::pair<uint32_t, uint32_t>(first, second),
                       [](const UnicodeComposition& row, const std::pair<uint32_t, uint32_t>& key) {
                         return std::pair<uint32_t, uint32_t>(row.first, row.second) < key;
                       });
  if (found == end || found->first != first || found->second != second) return 0;
  return found->composed;
}

void NormalizeChars(std::vector<SourceChar>& chars, NormalForm form) {
  // Nothing below U+00C0 changes in any form but U+00A0 and its like in the compatible ones.
  if (std::all_of(chars.begin(), chars.end(), [](const SourceChar& c) { return c.c < 0xA0; })) {
    return;
  }
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  std::vector<SourceChar> out;
  out.reserve(chars.size() + 16);
  std::u32string expansion;
  for (const SourceChar& source : chars) {
    expansion.clear();
    AppendDecomposition(expansion, source.c, compatible);
    for (const char32_t c : expansion) out.push_back({c, source.begin, source.end});
  }
  for (size_t i = 0; i < out.size();) {
    size_t end = i;
    while (end < out.size() && CombiningClass(out[end].c) != 0) ++end;
    const auto by_class = [](const SourceChar& a, const SourceChar& b) {
      return CombiningClass(a.c) < CombiningClass(b.c);
    };
    if (end > i + 1 && !std::is_sorted(out.begin() + static_cast<ptrdiff_t>(i),
                                       out.begin() + static_cast<ptrdiff_t>(end), by_class)) {
      std::stable_sort(out.begin() + static_cast<ptrdiff_t>(i),
                       out.begin() + static_cast<ptrdiff_t>(end), by_class);
      // The marks may have changed places: each takes the range of all of them, so that ranges of
      // pieces stay in order.
      const auto [low, high] = RangeOf(out, i, end);
      for (size_t k = i; k < end; ++k) {
        out[k].begin = low;
        out[k].end = high;
      }
    }
    i = end + 1;
  }
  if (form == NormalForm::kNfc || form == NormalForm::kNfkc) {
    size_t kept = 0;
    size_t starter = SIZE_MAX;
    uint8_t last_class = 0;  // of the last character kept after the starter
    for (size_t i = 0; i < out.size(); ++i) {
      const SourceChar source = out[i];
      const uint8_t combining = CombiningClass(source.c);
      const bool blocked =
          starter != SIZE_MAX && kept > starter + 1 && (last_class >= combining || last_class == 0);
      if (starter != SIZE_MAX && !blocked) {
        if (const char32_t composed = Compose(out[starter].c, source.c)) {
          out[starter].c = composed;
          out[starter].end = std::max(out[starter].end, source.end);
          continue;
        }
      }
      if (combining == 0) starter = kept;
      last_class = combining;
      out[kept++] = source;
    }
    out.resize(kept);
  }
  chars = std::move(out);
}

std::string Normalize(std::string_view text, NormalForm form) {
  std::vector<SourceChar> chars;
  chars.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const DecodedChar next = DecodeChar(text, i);
    chars.push_back({next.code_point, 0, 0});
    i += next.length;
  }
  NormalizeChars(chars, form);
  std::string result;
  result.reserve(text.size());
  for (const SourceChar& source : chars) AppendUtf8(result, source.c);
  return result;
}

std::string ToLower(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  std::u32string lower;
  for (size_t i = 0; i < text.size();) {
    const DecodedChar next = DecodeChar(text, i);
    lower.clear();
    AppendLower(lower, next.code_point);
    for (const char32_t c : lower) AppendUtf8(result, c);
    i += next.length;
  }
  return result;
}

}  // namespace rag
