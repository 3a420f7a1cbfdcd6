// Normalizers: what tokenizer.json's "normalizer" does to the characters of a text.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/text/unicode.h"

namespace rag {

using Chars = std::vector<SourceChar>;

// The text as characters with their byte ranges, `base` added to each; broken UTF-8 becomes U+FFFD
// and its bytes are added to *invalid_bytes.
Chars DecodeChars(std::string_view text, uint32_t base, size_t* invalid_bytes);
std::string ToUtf8(const SourceChar* begin, const SourceChar* end);
inline std::string ToUtf8(const Chars& chars) {
  return ToUtf8(chars.data(), chars.data() + chars.size());
}
std::u32string ToUtf32(std::string_view text);

// Immutable; called from any thread.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void Apply(Chars& chars) const = 0;
};

struct BertNormalizerSettings {
  bool clean_text = true;
  bool handle_chinese_chars = true;
  bool strip_accents = true;
  bool lowercase = true;
};
BertNormalizerSettings ParseBertNormalizer(const Value& json, Status* status);

// The control characters that BERT drops: Cc, Cf and Co but for tab, line feed and carriage return.
bool IsBertControl(char32_t c);

std::unique_ptr<Normalizer> MakeBertNormalizer(const BertNormalizerSettings& settings);
std::unique_ptr<Normalizer> MakePrependNormalizer(std::string_view text);
std::unique_ptr<Normalizer> MakeReplaceNormalizer(std::string_view pattern, std::string_view text);
std::unique_ptr<Normalizer> MakeSequenceNormalizer(
    std::vector<std::unique_ptr<Normalizer>> normalizers);
// SentencePiece's compiled rules (its "precompiled_charsmap"): a double-array trie and the
// replacement strings. Errors: invalid_argument for a damaged blob.
Result<std::unique_ptr<Normalizer>> MakeCharsmapNormalizer(std::string_view blob);

// tokenizer.json's "normalizer"; null for JSON null. Errors: unsupported naming the type,
// invalid_argument for a wrong field.
Result<std::unique_ptr<Normalizer>> ParseNormalizer(const Value& json);

}  // namespace rag
