#include "lib/tokenizer/pattern.h"

#include <array>

#include "lib/text/utf8.h"
#include "lib/tokenizer/normalizer.h"
#include "lib/tokenizer/word_scanner.h"

namespace rag {
namespace {

struct CharReader {
  std::span<const SourceChar> text;
  size_t size() const { return text.size(); }
  char32_t At(size_t i, size_t& next) const {
    next = i + 1;
    return text[i].c;
  }
};

class LiteralPattern final : public Pattern {
 public:
  explicit LiteralPattern(std::u32string text) : text_(std::move(text)) {}
  void FindAll(std::span<const SourceChar> text, std::vector<Match>& matches) const override {
    if (text_.empty() || text.size() < text_.size()) return;
    for (size_t i = 0; i + text_.size() <= text.size();) {
      size_t k = 0;
      while (k < text_.size() && text[i + k].c == text_[k]) ++k;
      if (k == text_.size()) {
        matches.push_back({i, i + k});
        i += k;
      } else {
        ++i;
      }
    }
  }

 private:
  std::u32string text_;
};

class ScannerPattern final : public Pattern {
 public:
  explicit ScannerPattern(WordPattern pattern) : pattern_(pattern) {}
  void FindAll(std::span<const SourceChar> text, std::vector<Match>& matches) const override {
    const WordScanner<CharReader> scanner(CharReader{text});
    for (size_t i = 0; i < text.size();) {
      size_t end = i;
      switch (pattern_) {
        case WordPattern::kGpt2:
          end = scanner.Gpt2(i);
          break;
        case WordPattern::kLlama3:
          end = scanner.Llama3(i, 3);
          break;
        case WordPattern::kQwen2:
          end = scanner.Llama3(i, 1);
          break;
        case WordPattern::kClip:
          end = scanner.Clip(i);
          break;
      }
      if (end > i) matches.push_back({i, end});
      i = end > i ? end : i + 1;
    }
  }

 private:
  WordPattern pattern_;
};

}  // namespace

std::optional<WordPattern> KnownWordPattern(std::string_view regex) {
  struct Known {
    std::string_view regex;
    WordPattern pattern;
  };
  static constexpr std::array kKnown = {
      Known{R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
            WordPattern::kGpt2},
      Known{R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
            WordPattern::kGpt2},
      Known{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
            R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
            WordPattern::kLlama3},
      Known{R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}|)"
            R"( ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
            WordPattern::kLlama3},
      Known{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
            R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
            WordPattern::kQwen2},
      Known{R"(<\|startoftext\|>|<\|endoftext\|>|)"
            R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)",
            WordPattern::kClip},
  };
  for (const Known& known : kKnown) {
    if (known.regex == regex) return known.pattern;
  }
  return std::nullopt;
}

std::unique_ptr<Pattern> MakeLiteralPattern(std::string_view text) {
  return std::make_unique<LiteralPattern>(ToUtf32(text));
}

std::unique_ptr<Pattern> MakeWordPattern(WordPattern pattern) {
  return std::make_unique<ScannerPattern>(pattern);
}

Result<std::unique_ptr<Pattern>> ParsePattern(const Value& json) {
  if (const Value* text = json.Find("String"); text != nullptr && text->is_string()) {
    return MakeLiteralPattern(text->as_string());
  }
  if (const Value* regex = json.Find("Regex"); regex != nullptr && regex->is_string()) {
    if (const auto known = KnownWordPattern(regex->as_string())) return MakeWordPattern(*known);
    return MakeRegexPattern(regex->as_string());
  }
  return InvalidArgumentError("a pattern is neither a String nor a Regex");
}

}  // namespace rag
