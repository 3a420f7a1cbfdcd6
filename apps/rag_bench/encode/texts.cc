#include "apps/rag_bench/encode/texts.h"

#include <algorithm>
#include <fstream>
#include <random>

#include "lib/base/file.h"
#include "lib/base/value.h"

namespace rag::bench {
namespace {

constexpr size_t kMaxTexts = 4'000'000;
constexpr size_t kRandomWords = 400;
constexpr uint32_t kRandomSeed = 7;
// More bytes than a token of running text takes: a window of so many holds enough tokens.
constexpr size_t kBytesPerToken = 12;

bool IsWord(std::string_view piece) {
  return piece.size() > 1 &&
         std::all_of(piece.begin(), piece.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

// The end of the text's first `tokens` tokens, special ones included; npos: it has fewer.
size_t EndOfTokens(const Encoding& encoding, size_t special, size_t tokens) {
  size_t left = tokens - special;
  for (const Encoding::Range& range : encoding.offsets) {
    if (range.end > range.begin && --left == 0) return range.end;
  }
  return std::string::npos;
}

}  // namespace

Result<std::vector<std::string>> ReadTexts(const std::string& path, size_t limit) {
  std::ifstream file(path);
  if (!file) return NotFoundError("'", path, "' cannot be read");
  std::vector<std::string> texts;
  size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (limit != 0 && texts.size() == limit) break;
    if (texts.size() == kMaxTexts) {
      return ResourceExhaustedError(path, ": more than ", kMaxTexts, " texts");
    }
    if (line.empty()) continue;
    const std::string place = StrCat(path, ", line ", number);
    const Result<Value> entry = ParseJson(line);
    if (!entry.ok()) return entry.status().WithContext(place);
    if (!entry->is_object()) return InvalidArgumentError(place, ": no object");
    const Result<std::string> title = entry->GetString("title", "");
    if (!title.ok()) return title.status().WithContext(place);
    const Result<std::string> text = entry->GetString("text", "");
    if (!text.ok()) return text.status().WithContext(place);
    texts.push_back(title->empty() ? *text : StrCat(*title, " ", *text));
  }
  if (texts.empty()) return InvalidArgumentError(path, ": no texts");
  return texts;
}

Result<std::vector<std::string>> RandomTexts(const Tokenizer& tokenizer, size_t count) {
  std::vector<std::string_view> words;
  for (size_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string_view piece = tokenizer.Piece(static_cast<TokenId>(id));
    if (IsWord(piece) && !tokenizer.IsSpecial(static_cast<TokenId>(id))) words.push_back(piece);
  }
  if (words.size() < 10) {
    return FailedPreconditionError("the model's tokenizer has ", words.size(),
                                   " words of its own: --texts names a file of texts");
  }
  std::mt19937 random(kRandomSeed);
  std::vector<std::string> texts(count);
  for (std::string& text : texts) {
    for (size_t i = 0; i < kRandomWords; ++i) {
      text += StrCat(i == 0 ? "" : " ", words[random() % words.size()]);
    }
  }
  return texts;
}

Result<TextSet> TextsOfLength(const Tokenizer& tokenizer, const std::vector<std::string>& source,
                              size_t length, size_t count) {
  const size_t special = tokenizer.Encode("").ids.size();
  if (length <= special) {
    return InvalidArgumentError("a text of ", length, " tokens: ", special, " are the tokenizer's");
  }
  std::string all;
  for (const std::string& text : source) all += StrCat(all.empty() ? "" : " ", text);
  const size_t window = length * kBytesPerToken;
  TextSet out{StrCat(length, " tokens"), {}, length * count, length, length, length};
  size_t found_before = 0;  // when the source last began
  size_t at = 0;
  while (out.texts.size() < count) {
    const std::string_view chunk = std::string_view(all).substr(at, window);
    const size_t end = EndOfTokens(tokenizer.Encode(chunk), special, length);
    // A cut inside a word may change its pieces: such a place is passed over.
    const bool fits =
        end != std::string::npos && tokenizer.Encode(chunk.substr(0, end)).ids.size() == length;
    if (fits) out.texts.emplace_back(chunk.substr(0, end));
    at = all.find(' ', at + (fits ? end : 0));
    if (at != std::string::npos) {
      ++at;
      continue;
    }
    if (out.texts.size() == found_before) {
      return InvalidArgumentError("the texts have no piece of exactly ", length, " tokens");
    }
    found_before = out.texts.size();
    at = 0;
  }
  return out;
}

TextSet MakeTextSet(const Tokenizer& tokenizer, std::string name, std::vector<std::string> texts,
                    size_t max_tokens) {
  TextSet out;
  out.name = std::move(name);
  out.texts = std::move(texts);
  std::vector<size_t> lengths;
  for (const std::string& text : out.texts) {
    lengths.push_back(tokenizer.Encode(text, {.max_tokens = max_tokens}).ids.size());
    out.tokens += lengths.back();
  }
  if (lengths.empty()) return out;
  std::sort(lengths.begin(), lengths.end());
  out.shortest = lengths.front();
  out.median = lengths[lengths.size() / 2];
  out.longest = lengths.back();
  return out;
}

Status WriteTexts(const std::string& path, const std::vector<std::string>& texts) {
  std::string lines;
  for (const std::string& text : texts) lines += StrCat(ToJson(Value(text)), "\n");
  return WriteFileAtomic(path, lines);
}

}  // namespace rag::bench
