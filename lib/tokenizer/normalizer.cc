#include "lib/tokenizer/normalizer.h"

#include <algorithm>

#include "lib/base/base64.h"
#include "lib/text/utf8.h"
#include "lib/tokenizer/pattern.h"

namespace rag {
namespace {

constexpr int kMaxDepth = 16;

class FormNormalizer final : public Normalizer {
 public:
  explicit FormNormalizer(NormalForm form) : form_(form) {}
  void Apply(Chars& chars) const override { NormalizeChars(chars, form_); }

 private:
  NormalForm form_;
};

void Lower(Chars& chars) {
  std::u32string lower;
  for (size_t i = 0; i < chars.size(); ++i) {
    const SourceChar source = chars[i];
    if (source.c < 0x80) {
      if (source.c >= 'A' && source.c <= 'Z') chars[i].c = source.c + 32;
      continue;
    }
    lower.clear();
    AppendLower(lower, source.c);
    chars[i].c = lower[0];
    for (size_t k = 1; k < lower.size(); ++k) {
      ++i;
      chars.insert(chars.begin() + static_cast<ptrdiff_t>(i), {lower[k], source.begin, source.end});
    }
  }
}

class LowercaseNormalizer final : public Normalizer {
 public:
  void Apply(Chars& chars) const override { Lower(chars); }
};

class StripAccentsNormalizer final : public Normalizer {
 public:
  void Apply(Chars& chars) const override {
    std::erase_if(chars, [](const SourceChar& c) { return IsMark(c.c); });
  }
};

class StripNormalizer final : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  void Apply(Chars& chars) const override {
    const auto is_text = [](const SourceChar& c) { return !IsWhitespace(c.c); };
    if (right_) {
      chars.erase(std::find_if(chars.rbegin(), chars.rend(), is_text).base(), chars.end());
    }
    if (left_) chars.erase(chars.begin(), std::find_if(chars.begin(), chars.end(), is_text));
  }

 private:
  bool left_, right_;
};

// The tokenizers package's: control characters are removed, what separates without being seen
// becomes a space.
class NmtNormalizer final : public Normalizer {
 public:
  void Apply(Chars& chars) const override {
    std::erase_if(chars, [](const SourceChar& source) { return IsRemoved(source.c); });
    for (SourceChar& source : chars) {
      if (IsSpace(source.c)) source.c = ' ';
    }
  }

 private:
  static bool IsRemoved(char32_t c) {
    return (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F ||
           c == 0x8F || c == 0x9F;
  }
  static bool IsSpace(char32_t c) {
    return c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
           (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xFEFF || c == 0xFFFD;
  }
};

class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::u32string text) : text_(std::move(text)) {}
  void Apply(Chars& chars) const override {
    if (chars.empty()) return;
    Chars front;
    for (const char32_t c : text_) front.push_back({c, chars[0].begin, chars[0].end});
    chars.insert(chars.begin(), front.begin(), front.end());
  }

 private:
  std::u32string text_;
};

// What replaces a match keeps the match's whole range.
class ReplaceNormalizer final : public Normalizer {
 public:
  ReplaceNormalizer(std::unique_ptr<Pattern> pattern, std::u32string text)
      : pattern_(std::move(pattern)), text_(std::move(text)) {}
  void Apply(Chars& chars) const override {
    std::vector<Match> matches;
    pattern_->FindAll({chars.data(), chars.size()}, matches);
    if (matches.empty()) return;
    Chars out;
    out.reserve(chars.size());
    size_t position = 0;
    for (const Match& match : matches) {
      out.insert(out.end(), chars.begin() + static_cast<ptrdiff_t>(position),
                 chars.begin() + static_cast<ptrdiff_t>(match.begin));
      position = match.end;
      if (match.begin == match.end) continue;
      for (const char32_t c : text_) {
        out.push_back({c, chars[match.begin].begin, chars[match.end - 1].end});
      }
    }
    out.insert(out.end(), chars.begin() + static_cast<ptrdiff_t>(position), chars.end());
    chars = std::move(out);
  }

 private:
  std::unique_ptr<Pattern> pattern_;
  std::u32string text_;
};

class SequenceNormalizer final : public Normalizer {
 public:
  explicit SequenceNormalizer(std::vector<std::unique_ptr<Normalizer>> parts)
      : parts_(std::move(parts)) {}
  void Apply(Chars& chars) const override {
    for (const auto& part : parts_) part->Apply(chars);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

class BertNormalizer final : public Normalizer {
 public:
  explicit BertNormalizer(const BertNormalizerSettings& settings) : settings_(settings) {}

  void Apply(Chars& chars) const override {
    if (settings_.clean_text) {
      std::erase_if(chars, [](const SourceChar& source) {
        return source.c == 0 || source.c == 0xFFFD || IsBertControl(source.c);
      });
      for (SourceChar& source : chars) {
        if (IsWhitespace(source.c)) source.c = ' ';
      }
    }
    if (settings_.handle_chinese_chars) {
      Chars out;
      out.reserve(chars.size());
      for (const SourceChar& source : chars) {
        const bool ideograph = IsCjkIdeograph(source.c);
        if (ideograph) out.push_back({' ', source.begin, source.end});
        out.push_back(source);
        if (ideograph) out.push_back({' ', source.begin, source.end});
      }
      chars = std::move(out);
    }
    if (settings_.strip_accents) {
      NormalizeChars(chars, NormalForm::kNfd);
      std::erase_if(chars, [](const SourceChar& source) {
        return CategoryOf(source.c) == Category::kNonspacingMark;
      });
    }
    if (settings_.lowercase) Lower(chars);
  }

 private:
  BertNormalizerSettings settings_;
};

Result<std::unique_ptr<Normalizer>> Parse(const Value& json, int depth) {
  if (json.is_null()) return std::unique_ptr<Normalizer>();
  if (depth > kMaxDepth) return InvalidArgumentError("normalizers are nested too deeply");
  RAG_ASSIGN_OR_RETURN(const std::string type, json.GetString("type", ""));
  using Pointer = std::unique_ptr<Normalizer>;
  if (type == "Sequence") {
    const Value* parts = json.Find("normalizers");
    if (parts == nullptr || !parts->is_array()) {
      return InvalidArgumentError("normalizer Sequence has no normalizers");
    }
    std::vector<Pointer> normalizers;
    for (const Value& part : parts->as_array()) {
      RAG_ASSIGN_OR_RETURN(Pointer normalizer, Parse(part, depth + 1));
      if (normalizer) normalizers.push_back(std::move(normalizer));
    }
    return MakeSequenceNormalizer(std::move(normalizers));
  }
  if (type == "BertNormalizer") {
    Status status;
    const BertNormalizerSettings settings = ParseBertNormalizer(json, &status);
    RAG_RETURN_IF_ERROR(status);
    return MakeBertNormalizer(settings);
  }
  if (type == "NFC") return Pointer(new FormNormalizer(NormalForm::kNfc));
  if (type == "NFD") return Pointer(new FormNormalizer(NormalForm::kNfd));
  if (type == "NFKC") return Pointer(new FormNormalizer(NormalForm::kNfkc));
  if (type == "NFKD") return Pointer(new FormNormalizer(NormalForm::kNfkd));
  if (type == "Nmt") return Pointer(new NmtNormalizer());
  if (type == "Lowercase") return Pointer(new LowercaseNormalizer());
  if (type == "StripAccents") return Pointer(new StripAccentsNormalizer());
  if (type == "Strip") {
    RAG_ASSIGN_OR_RETURN(const bool left, json.GetBool("strip_left", true));
    RAG_ASSIGN_OR_RETURN(const bool right, json.GetBool("strip_right", true));
    return Pointer(new StripNormalizer(left, right));
  }
  if (type == "Prepend") {
    RAG_ASSIGN_OR_RETURN(const std::string text, json.GetString("prepend", ""));
    return MakePrependNormalizer(text);
  }
  if (type == "Replace") {
    const Value* pattern_json = json.Find("pattern");
    if (pattern_json == nullptr) {
      return InvalidArgumentError("normalizer Replace has no pattern");
    }
    RAG_ASSIGN_OR_RETURN(std::unique_ptr<Pattern> pattern, ParsePattern(*pattern_json));
    RAG_ASSIGN_OR_RETURN(const std::string content, json.GetString("content", ""));
    return Pointer(new ReplaceNormalizer(std::move(pattern), ToUtf32(content)));
  }
  if (type == "Precompiled") {
    RAG_ASSIGN_OR_RETURN(const std::string encoded, json.GetString("precompiled_charsmap", ""));
    const Result<std::string> blob = DecodeBase64(encoded);
    if (!blob.ok()) return blob.status().WithContext("precompiled_charsmap");
    return MakeCharsmapNormalizer(*blob);
  }
  return UnsupportedError("normalizer '", type, "' is not supported");
}

}  // namespace

Chars DecodeChars(std::string_view text, uint32_t base, size_t* invalid_bytes) {
  Chars chars;
  chars.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const DecodedChar next = DecodeChar(text, i);
    const uint32_t begin = base + static_cast<uint32_t>(i);
    chars.push_back({next.code_point, begin, begin + next.length});
    if (!next.valid) *invalid_bytes += next.length;
    i += next.length;
  }
  return chars;
}

std::string ToUtf8(const SourceChar* begin, const SourceChar* end) {
  std::string text;
  for (; begin != end; ++begin) AppendUtf8(text, begin->c);
  return text;
}

std::u32string ToUtf32(std::string_view text) {
  std::u32string out;
  for (size_t i = 0; i < text.size();) {
    const DecodedChar next = DecodeChar(text, i);
    out += next.code_point;
    i += next.length;
  }
  return out;
}

bool IsBertControl(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  const Category category = CategoryOf(c);
  return category == Category::kControl || category == Category::kFormat ||
         category == Category::kPrivateUse;
}

BertNormalizerSettings ParseBertNormalizer(const Value& json, Status* status) {
  BertNormalizerSettings settings;
  const auto read = [&](std::string_view key, bool fallback) {
    const Result<bool> value = json.GetBool(key, fallback);
    if (!value.ok() && status->ok()) *status = value.status();
    return value.ok() ? *value : fallback;
  };
  settings.clean_text = read("clean_text", true);
  settings.handle_chinese_chars = read("handle_chinese_chars", true);
  settings.lowercase = read("lowercase", true);
  // Absent or null means: as lowercase says.
  settings.strip_accents = read("strip_accents", settings.lowercase);
  return settings;
}

std::unique_ptr<Normalizer> MakeBertNormalizer(const BertNormalizerSettings& settings) {
  return std::make_unique<BertNormalizer>(settings);
}
std::unique_ptr<Normalizer> MakePrependNormalizer(std::string_view text) {
  return std::make_unique<PrependNormalizer>(ToUtf32(text));
}
std::unique_ptr<Normalizer> MakeReplaceNormalizer(std::string_view pattern, std::string_view text) {
  return std::make_unique<ReplaceNormalizer>(MakeLiteralPattern(pattern), ToUtf32(text));
}
std::unique_ptr<Normalizer> MakeSequenceNormalizer(
    std::vector<std::unique_ptr<Normalizer>> normalizers) {
  return std::make_unique<SequenceNormalizer>(std::move(normalizers));
}

Result<std::unique_ptr<Normalizer>> ParseNormalizer(const Value& json) { return Parse(json, 0); }

}  // namespace rag
