#include "embed/passage_windows.h"

#include <algorithm>
#include <utility>

namespace rag {
namespace {

size_t FindTokens(std::span<const TokenId> in, std::span<const TokenId> part, size_t from) {
  const auto found =
      std::search(in.begin() + static_cast<ptrdiff_t>(from), in.end(), part.begin(), part.end());
  if (found == in.end() && !part.empty()) return in.size() + 1;
  return static_cast<size_t>(found - in.begin());
}

void Append(const Encoding& from, size_t begin, size_t end, Encoding& to) {
  const auto b = static_cast<ptrdiff_t>(begin);
  const auto e = static_cast<ptrdiff_t>(end);
  to.ids.insert(to.ids.end(), from.ids.begin() + b, from.ids.begin() + e);
  to.type_ids.insert(to.type_ids.end(), from.type_ids.begin() + b, from.type_ids.begin() + e);
  to.offsets.insert(to.offsets.end(), from.offsets.begin() + b, from.offsets.begin() + e);
}

}  // namespace

Result<PassageWindows> CutPassage(const Tokenizer& tokenizer, const std::string_view* question,
                                  std::string_view passage, size_t max_tokens, size_t overlap) {
  const EncodeOptions plain{.add_special_tokens = false};
  const Encoding own = tokenizer.Encode(passage, plain);
  const Encoding asked = question == nullptr ? Encoding() : tokenizer.Encode(*question, plain);
  const Encoding whole =
      question == nullptr ? tokenizer.Encode(passage) : tokenizer.EncodePair(*question, passage);
  const size_t question_row = FindTokens(whole.ids, asked.ids, 0);
  const size_t size = whole.ids.size();
  // The passage's tokens stand as near the end as they can: the question may hold them too.
  const size_t behind_question = question_row + asked.ids.size();
  size_t row = size + 1;
  for (size_t at = behind_question; at + own.ids.size() <= size; ++at) {
    if (std::equal(own.ids.begin(), own.ids.end(),
                   whole.ids.begin() + static_cast<ptrdiff_t>(at)) &&
        std::equal(own.offsets.begin(), own.offsets.end(),
                   whole.offsets.begin() + static_cast<ptrdiff_t>(at),
                   [](const Encoding::Range& a, const Encoding::Range& b) {
                     return a.begin == b.begin && a.end == b.end;
                   })) {
      row = at;
      break;
    }
  }
  if (question_row > size || row > size) {
    return UnsupportedError(
        "the tokenizer changes a text's tokens beside another's; windows want them unchanged");
  }
  const size_t frame = size - own.ids.size();
  if (frame >= max_tokens) {
    return InvalidArgumentError("the question takes ", frame, " tokens, which leaves no room in ",
                                max_tokens, " for the passage");
  }
  const size_t room = max_tokens - frame;
  const size_t step = room - std::min(overlap, room - 1);
  PassageWindows result;
  result.offsets = own.offsets;
  for (size_t first = 0;; first += step) {
    const size_t count = std::min(room, own.ids.size() - first);
    PassageWindow window{.encoding = {}, .passage_row = row, .first = first, .count = count};
    Append(whole, 0, row, window.encoding);
    Append(whole, row + first, row + first + count, window.encoding);
    Append(whole, row + own.ids.size(), size, window.encoding);
    result.windows.push_back(std::move(window));
    if (first + count >= own.ids.size()) return result;
  }
}

}  // namespace rag
