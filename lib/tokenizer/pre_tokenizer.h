// Pre-tokenizers: what tokenizer.json's "pre_tokenizer" does to cut normalized text into words.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/tokenizer/normalizer.h"
#include "lib/tokenizer/pattern.h"

namespace rag {

// Characters and the words cut from them, in order and without overlap; characters outside every
// word are dropped. Some pre-tokenizers also change the characters.
struct Words {
  Chars chars;
  std::vector<Match> spans;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void Apply(Words& words) const = 0;
};

enum class SplitBehavior {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};

enum class PrependScheme { kAlways, kFirst, kNever };

struct ByteLevelSettings {
  bool add_prefix_space = true;
  bool use_regex = true;
};

// The character that stands for a byte in byte-level vocabularies (openai/gpt-2, encoder.py,
// bytes_to_unicode), and back (nullopt for other characters).
char32_t ByteToChar(unsigned char byte);
std::optional<unsigned char> CharToByte(char32_t c);

// BERT's punctuation: ASCII's printing characters that are no letters or digits, and category P.
bool IsBertPunctuation(char32_t c);

std::unique_ptr<PreTokenizer> MakeBertPreTokenizer();
std::unique_ptr<PreTokenizer> MakeByteLevelPreTokenizer(const ByteLevelSettings& settings);
std::unique_ptr<PreTokenizer> MakeMetaspacePreTokenizer(char32_t replacement, PrependScheme scheme,
                                                        bool split);
std::unique_ptr<PreTokenizer> MakeSplitPreTokenizer(std::unique_ptr<Pattern> pattern,
                                                    SplitBehavior behavior, bool invert);
std::unique_ptr<PreTokenizer> MakeSequencePreTokenizer(
    std::vector<std::unique_ptr<PreTokenizer>> parts);

// tokenizer.json's "pre_tokenizer"; null for JSON null. Errors: unsupported naming the type or
// the regular expression; invalid_argument for a wrong field.
Result<std::unique_ptr<PreTokenizer>> ParsePreTokenizer(const Value& json);

// "prepend_scheme" of a Metaspace, with the older "add_prefix_space".
Result<PrependScheme> ParsePrependScheme(const Value& json);

}  // namespace rag
