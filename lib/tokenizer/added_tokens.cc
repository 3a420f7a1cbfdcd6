#include "lib/tokenizer/added_tokens.h"

#include <algorithm>
#include <functional>

#include "lib/text/unicode.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

// The start of the character that ends before `position`.
size_t PreviousChar(std::string_view text, size_t position) {
  do {
    --position;
  } while (position > 0 && (static_cast<unsigned char>(text[position]) & 0xC0) == 0x80);
  return position;
}

}  // namespace

void AddedTokenMatcher::Add(const AddedToken& token, std::string_view content) {
  if (content.empty()) return;
  if (!by_content_.Add(content, static_cast<TokenId>(tokens_.size()))) return;
  tokens_.push_back(token);
  auto& lengths = lengths_[static_cast<unsigned char>(content[0])];
  const uint32_t length = static_cast<uint32_t>(content.size());
  const auto place = std::lower_bound(lengths.begin(), lengths.end(), length, std::greater<>());
  if (place == lengths.end() || *place != length) lengths.insert(place, length);
}

void AddedTokenMatcher::FindAll(std::string_view text, bool parse_special,
                                std::vector<Found>& found) const {
  size_t taken = 0;  // end of the last token
  for (size_t i = 0; i < text.size();) {
    const auto& lengths = lengths_[static_cast<unsigned char>(text[i])];
    TokenId index = -1;
    size_t length = 0;
    for (const uint32_t candidate : lengths) {
      if (candidate > text.size() - i) continue;
      index = by_content_.Find(text.substr(i, candidate));
      length = candidate;
      if (index >= 0) break;
    }
    if (index < 0) {
      ++i;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    size_t begin = i;
    size_t end = i + length;
    i = end;
    if (token.special && !parse_special) continue;
    if (token.single_word) {
      if (begin > 0 && IsWordChar(DecodeChar(text, PreviousChar(text, begin)).code_point)) continue;
      if (end < text.size() && IsWordChar(DecodeChar(text, end).code_point)) continue;
    }
    if (token.lstrip) {
      while (begin > taken) {
        const size_t before = PreviousChar(text, begin);
        if (before < taken || !IsWhitespace(DecodeChar(text, before).code_point)) break;
        begin = before;
      }
    }
    if (token.rstrip) {
      while (end < text.size()) {
        const DecodedChar next = DecodeChar(text, end);
        if (!IsWhitespace(next.code_point)) break;
        end += next.length;
      }
    }
    if (begin < taken) continue;
    found.push_back({begin, end, token.id});
    taken = end;
    i = std::max(i, end);
  }
}

}  // namespace rag
