// Patterns of tokenizer.json: literal strings and regular expressions over characters.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/text/unicode.h"

namespace rag {

// Indexes of characters.
struct Match {
  size_t begin = 0;
  size_t end = 0;
};

class Pattern {
 public:
  virtual ~Pattern() = default;
  // Appends the non-overlapping matches from left to right. Empty matches are left out.
  virtual void FindAll(std::span<const SourceChar> text, std::vector<Match>& matches) const = 0;
};

// Regular expressions that have a hand-written scanner (word_scanner.h).
enum class WordPattern {
  kGpt2,    // GPT-2's
  kLlama3,  // cl100k_base's and Llama 3's: up to three digits together
  kQwen2,   // the same, digits alone
  kClip,    // CLIP's, which leaves white space out
};
// The scanner for a regular expression in one of its published spellings; nullopt when there is
// none.
std::optional<WordPattern> KnownWordPattern(std::string_view regex);

std::unique_ptr<Pattern> MakeLiteralPattern(std::string_view text);
std::unique_ptr<Pattern> MakeWordPattern(WordPattern pattern);
// Errors: invalid_argument for a wrong expression; unsupported for one without a scanner in a
// build without PCRE2.
Result<std::unique_ptr<Pattern>> MakeRegexPattern(std::string_view regex);
// {"String": …} or {"Regex": …}.
Result<std::unique_ptr<Pattern>> ParsePattern(const Value& json);

}  // namespace rag
