#include "engine/chunk/token_map.h"

#include <unicode/utf8.h>

#include <algorithm>

#include "engine/parse/paragraphs.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {
namespace {

// What a tokenizer is given at once: its offsets and buffers stay small.
constexpr uint32_t kPieceBytes = 64 << 10;

bool IsWideSpace(UChar32 c) {
  return c == 0xA0 || c == 0x3000 || (c >= 0x2000 && c <= 0x200B) || c == 0x2028 || c == 0x2029 ||
         c == 0x85;
}

// Scripts that are written without spaces between words, or count by syllables.
bool CountsAlone(UChar32 c) {
  return (c >= 0x1100 && c <= 0x11FF) || (c >= 0x3040 && c <= 0x30FF) ||
         (c >= 0x3130 && c <= 0x318F) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0xAC00 && c <= 0xD7A3) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x3FFFF);
}

}  // namespace

void TokenMap::Append(uint32_t begin, uint32_t end) {
  if (tokenizer_ == nullptr) {
    AppendWords(begin, end);
    return;
  }
  while (end - begin > kPieceBytes) {
    const uint32_t cut = CharacterBorder(begin, begin + kPieceBytes);
    const size_t space = text_.substr(begin, cut - begin).find_last_of(" \n\t\r");
    const uint32_t piece_end =
        space == std::string_view::npos || space == 0 ? cut : begin + static_cast<uint32_t>(space);
    AppendTokens(begin, piece_end);
    begin = piece_end;
  }
  AppendTokens(begin, end);
}

void TokenMap::AppendTokens(uint32_t begin, uint32_t end) {
  const EncodeOptions plain{.add_special_tokens = false};
  const Encoding encoding = tokenizer_->Encode(text_.substr(begin, end - begin), plain);
  for (const Encoding::Range& range : encoding.offsets) {
    // A piece that takes the space before its word with it begins, for us, with the word.
    uint32_t at = begin + std::min(range.begin, end - begin);
    const uint32_t piece_end = begin + std::min(range.end, end - begin);
    while (at < piece_end && IsSpace(text_[at])) ++at;
    begins_.push_back(begins_.empty() ? at : std::max(at, begins_.back()));
  }
}

void TokenMap::AppendWords(uint32_t begin, uint32_t end) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text_.data());
  bool in_word = false;
  for (uint32_t i = begin; i < end;) {
    const uint32_t at = i;
    UChar32 c = bytes[i];
    if (c < 0x80) {
      ++i;
    } else {
      auto next = static_cast<int64_t>(i);
      U8_NEXT(bytes, next, static_cast<int64_t>(end), c);
      i = static_cast<uint32_t>(next);
    }
    if (c < 0x80 ? IsSpace(static_cast<char>(c)) : IsWideSpace(c)) {
      in_word = false;
    } else if (c >= 0x1100 && CountsAlone(c)) {
      begins_.push_back(at);
      in_word = false;
    } else {
      if (!in_word) begins_.push_back(at);
      in_word = true;
    }
  }
}

size_t TokenMap::Count(uint32_t begin, uint32_t end) const {
  const auto first = std::lower_bound(begins_.begin(), begins_.end(), begin);
  return static_cast<size_t>(std::lower_bound(first, begins_.end(), end) - first);
}

uint32_t TokenMap::CharacterBorder(uint32_t begin, uint32_t at) const {
  while (at > begin && at < text_.size() && (text_[at] & 0xC0) == 0x80) --at;
  return at;
}

uint32_t TokenMap::CutAtToken(uint32_t begin, uint32_t end, size_t tokens, size_t bytes) const {
  const auto first = std::lower_bound(begins_.begin(), begins_.end(), begin);
  uint32_t cut = end;
  if (static_cast<size_t>(begins_.end() - first) > tokens) {
    cut = std::min(end, first[static_cast<ptrdiff_t>(tokens)]);
  }
  if (cut - begin > bytes) cut = begin + static_cast<uint32_t>(bytes);
  cut = CharacterBorder(begin, cut);
  if (cut > begin) return cut;
  // One character that is more than the limit.
  cut = begin + 1;
  while (cut < end && (text_[cut] & 0xC0) == 0x80) ++cut;
  return cut;
}

uint32_t TokenMap::CutAfter(uint32_t begin, uint32_t end, size_t tokens, size_t bytes) const {
  const uint32_t cut = CutAtToken(begin, end, tokens, bytes);
  if (cut == end || IsSpace(text_[cut]) || IsSpace(text_[cut - 1])) return cut;
  for (uint32_t at = cut; at > begin + (cut - begin) / 2; --at) {
    if (IsSpace(text_[at - 1])) return at;
  }
  return cut;
}

uint32_t TokenMap::BeginOfLast(uint32_t begin, uint32_t end, size_t tokens) const {
  const auto last = std::lower_bound(begins_.begin(), begins_.end(), end);
  auto at = std::lower_bound(begins_.begin(), last, begin + 1);
  if (static_cast<size_t>(last - at) > tokens) at = last - static_cast<ptrdiff_t>(tokens);
  for (; at != last; ++at) {
    if (IsSpace(text_[*at - 1]) || (text_[*at - 1] & 0x80) != 0) {
      return CharacterBorder(begin, *at);
    }
  }
  return end;
}

}  // namespace rag
