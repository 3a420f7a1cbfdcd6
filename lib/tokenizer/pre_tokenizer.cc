#include "lib/tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "lib/text/utf8.h"

namespace rag {
namespace {

constexpr int kMaxDepth = 16;

// Cuts one span at its matches as tokenizers' SplitDelimiterBehavior says. `matches` are absolute.
void Cut(Match span, const std::vector<Match>& matches, SplitBehavior behavior, bool invert,
         std::vector<Match>& out) {
  struct Part {
    Match range;
    bool is_match;
  };
  std::vector<Part> parts;
  size_t position = span.begin;
  for (const Match& match : matches) {
    if (match.begin > position) parts.push_back({{position, match.begin}, invert});
    parts.push_back({match, !invert});
    position = match.end;
  }
  if (position < span.end) parts.push_back({{position, span.end}, invert});

  switch (behavior) {
    case SplitBehavior::kRemoved:
      for (const Part& part : parts) {
        if (!part.is_match) out.push_back(part.range);
      }
      break;
    case SplitBehavior::kIsolated:
      for (const Part& part : parts) out.push_back(part.range);
      break;
    case SplitBehavior::kContiguous: {
      const size_t first = out.size();
      for (size_t i = 0; i < parts.size(); ++i) {
        if (i > 0 && parts[i].is_match == parts[i - 1].is_match && out.size() > first) {
          out.back().end = parts[i].range.end;
        } else {
          out.push_back(parts[i].range);
        }
      }
      break;
    }
    case SplitBehavior::kMergedWithPrevious: {
      const size_t first = out.size();
      bool previous_match = false;
      for (const Part& part : parts) {
        if (part.is_match && !previous_match && out.size() > first) {
          out.back().end = part.range.end;
        } else {
          out.push_back(part.range);
        }
        previous_match = part.is_match;
      }
      break;
    }
    case SplitBehavior::kMergedWithNext: {
      const size_t first = out.size();
      bool previous_match = false;
      for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
        if (part->is_match && !previous_match && out.size() > first) {
          out.back().begin = part->range.begin;
        } else {
          out.push_back(part->range);
        }
        previous_match = part->is_match;
      }
      std::reverse(out.begin() + static_cast<ptrdiff_t>(first), out.end());
      break;
    }
  }
}

class SplitPreTokenizer final : public PreTokenizer {
 public:
  SplitPreTokenizer(std::unique_ptr<Pattern> pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  void Apply(Words& words) const override {
    std::vector<Match> out, matches;
    for (const Match& span : words.spans) {
      matches.clear();
      pattern_->FindAll({words.chars.data() + span.begin, span.end - span.begin}, matches);
      for (Match& match : matches) {
        match.begin += span.begin;
        match.end += span.begin;
      }
      Cut(span, matches, behavior_, invert_, out);
    }
    words.spans = std::move(out);
  }

 private:
  std::unique_ptr<Pattern> pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

// Every character that the predicate holds for is a match of its own.
class PredicatePattern final : public Pattern {
 public:
  explicit PredicatePattern(bool (*predicate)(char32_t)) : predicate_(predicate) {}
  void FindAll(std::span<const SourceChar> text, std::vector<Match>& matches) const override {
    for (size_t i = 0; i < text.size(); ++i) {
      if (predicate_(text[i].c)) matches.push_back({i, i + 1});
    }
  }

 private:
  bool (*predicate_)(char32_t);
};

// \w+|[^\w\s]+
class WhitespacePattern final : public Pattern {
 public:
  void FindAll(std::span<const SourceChar> text, std::vector<Match>& matches) const override {
    const auto kind = [](char32_t c) {
      if (IsWhitespace(c)) return 0;
      return IsWordChar(c) ? 1 : 2;
    };
    for (size_t i = 0; i < text.size();) {
      const int first = kind(text[i].c);
      size_t end = i + 1;
      while (end < text.size() && kind(text[end].c) == first) ++end;
      if (first != 0) matches.push_back({i, end});
      i = end;
    }
  }
};

class SequencePreTokenizer final : public PreTokenizer {
 public:
  explicit SequencePreTokenizer(std::vector<std::unique_ptr<PreTokenizer>> parts)
      : parts_(std::move(parts)) {}
  void Apply(Words& words) const override {
    for (const auto& part : parts_) part->Apply(words);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

class ByteLevelPreTokenizer final : public PreTokenizer {
 public:
  explicit ByteLevelPreTokenizer(const ByteLevelSettings& settings) : settings_(settings) {
    if (settings.use_regex) pattern_ = MakeWordPattern(WordPattern::kGpt2);
  }

  void Apply(Words& words) const override {
    Words out;
    std::string bytes;
    Chars spaced;
    std::vector<Match> matches;
    for (const Match& span : words.spans) {
      std::span<const SourceChar> word(words.chars.data() + span.begin, span.end - span.begin);
      if (settings_.add_prefix_space && !word.empty() && word[0].c != ' ') {
        spaced.assign(1, {' ', word[0].begin, word[0].end});
        spaced.insert(spaced.end(), word.begin(), word.end());
        word = spaced;
      }
      matches.clear();
      if (pattern_) {
        pattern_->FindAll(word, matches);
      } else if (!word.empty()) {
        matches.push_back({0, word.size()});
      }
      for (const Match& match : matches) {
        const size_t begin = out.chars.size();
        for (size_t i = match.begin; i < match.end; ++i) {
          bytes.clear();
          AppendUtf8(bytes, word[i].c);
          for (const char byte : bytes) {
            out.chars.push_back(
                {ByteToChar(static_cast<unsigned char>(byte)), word[i].begin, word[i].end});
          }
        }
        out.spans.push_back({begin, out.chars.size()});
      }
    }
    words = std::move(out);
  }

 private:
  ByteLevelSettings settings_;
  std::unique_ptr<Pattern> pattern_;
};

class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  MetaspacePreTokenizer(char32_t replacement, PrependScheme scheme, bool split)
      : replacement_(replacement), scheme_(scheme), split_(split) {}

  void Apply(Words& words) const override {
    Words out;
    for (const Match& span : words.spans) {
      if (span.begin == span.end) continue;
      const SourceChar first = words.chars[span.begin];
      size_t begin = out.chars.size();
      const bool prepend = scheme_ == PrependScheme::kAlways ||
                           (scheme_ == PrependScheme::kFirst && first.begin == 0);
      if (prepend && first.c != ' ' && first.c != replacement_) {
        out.chars.push_back({replacement_, first.begin, first.end});
      }
      for (size_t i = span.begin; i < span.end; ++i) {
        SourceChar source = words.chars[i];
        if (source.c == ' ') source.c = replacement_;
        if (split_ && source.c == replacement_ && out.chars.size() > begin) {
          out.spans.push_back({begin, out.chars.size()});
          begin = out.chars.size();
        }
        out.chars.push_back(source);
      }
      out.spans.push_back({begin, out.chars.size()});
    }
    words = std::move(out);
  }

 private:
  char32_t replacement_;
  PrependScheme scheme_;
  bool split_;
};

std::unique_ptr<PreTokenizer> MakePredicate(bool (*predicate)(char32_t), SplitBehavior behavior) {
  return MakeSplitPreTokenizer(std::make_unique<PredicatePattern>(predicate), behavior, false);
}

Result<SplitBehavior> ParseBehavior(std::string_view name) {
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return UnsupportedError("split behavior '", name, "' is not supported");
}

Result<std::unique_ptr<PreTokenizer>> Parse(const Value& json, int depth) {
  using Pointer = std::unique_ptr<PreTokenizer>;
  if (json.is_null()) return Pointer();
  if (depth > kMaxDepth) return InvalidArgumentError("pre-tokenizers are nested too deeply");
  RAG_ASSIGN_OR_RETURN(const std::string type, json.GetString("type", ""));
  if (type == "Sequence") {
    const Value* parts = json.Find("pretokenizers");
    if (parts == nullptr || !parts->is_array()) {
      return InvalidArgumentError("pre-tokenizer Sequence has no pretokenizers");
    }
    std::vector<Pointer> list;
    for (const Value& part : parts->as_array()) {
      RAG_ASSIGN_OR_RETURN(Pointer pre_tokenizer, Parse(part, depth + 1));
      if (pre_tokenizer) list.push_back(std::move(pre_tokenizer));
    }
    return MakeSequencePreTokenizer(std::move(list));
  }
  if (type == "BertPreTokenizer") return MakeBertPreTokenizer();
  if (type == "ByteLevel") {
    ByteLevelSettings settings;
    RAG_ASSIGN_OR_RETURN(settings.add_prefix_space, json.GetBool("add_prefix_space", true));
    RAG_ASSIGN_OR_RETURN(settings.use_regex, json.GetBool("use_regex", true));
    return MakeByteLevelPreTokenizer(settings);
  }
  if (type == "Whitespace") {
    return MakeSplitPreTokenizer(std::make_unique<WhitespacePattern>(), SplitBehavior::kRemoved,
                                 true);
  }
  if (type == "WhitespaceSplit") return MakePredicate(IsWhitespace, SplitBehavior::kRemoved);
  if (type == "Punctuation") {
    RAG_ASSIGN_OR_RETURN(const std::string name, json.GetString("behavior", "Isolated"));
    RAG_ASSIGN_OR_RETURN(const SplitBehavior behavior, ParseBehavior(name));
    return MakePredicate(IsBertPunctuation, behavior);
  }
  if (type == "Digits") {
    RAG_ASSIGN_OR_RETURN(const bool individual, json.GetBool("individual_digits", false));
    return MakePredicate(IsNumber,
                         individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
  }
  if (type == "Metaspace") {
    RAG_ASSIGN_OR_RETURN(const std::string replacement, json.GetString("replacement", "▁"));
    const std::u32string chars = ToUtf32(replacement);
    if (chars.size() != 1) {
      return InvalidArgumentError("Metaspace's replacement '", replacement, "' is no character");
    }
    RAG_ASSIGN_OR_RETURN(const PrependScheme scheme, ParsePrependScheme(json));
    RAG_ASSIGN_OR_RETURN(const bool split, json.GetBool("split", true));
    return MakeMetaspacePreTokenizer(chars[0], scheme, split);
  }
  if (type == "Split") {
    const Value* pattern_json = json.Find("pattern");
    if (pattern_json == nullptr) return InvalidArgumentError("pre-tokenizer Split has no pattern");
    RAG_ASSIGN_OR_RETURN(std::unique_ptr<Pattern> pattern, ParsePattern(*pattern_json));
    RAG_ASSIGN_OR_RETURN(const std::string name, json.GetString("behavior", "Isolated"));
    RAG_ASSIGN_OR_RETURN(const SplitBehavior behavior, ParseBehavior(name));
    RAG_ASSIGN_OR_RETURN(const bool invert, json.GetBool("invert", false));
    return MakeSplitPreTokenizer(std::move(pattern), behavior, invert);
  }
  return UnsupportedError("pre-tokenizer '", type, "' is not supported");
}

struct ByteAlphabet {
  std::array<char32_t, 256> to_char;
  std::array<int16_t, 0x144> to_byte;
  ByteAlphabet() {
    to_byte.fill(-1);
    char32_t next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printing = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
                            (byte >= 0xAE && byte <= 0xFF);
      const char32_t c = printing ? static_cast<char32_t>(byte) : next++;
      to_char[static_cast<size_t>(byte)] = c;
      to_byte[c] = static_cast<int16_t>(byte);
    }
  }
};

const ByteAlphabet& Alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

}  // namespace

char32_t ByteToChar(unsigned char byte) { return Alphabet().to_char[byte]; }

std::optional<unsigned char> CharToByte(char32_t c) {
  const auto& table = Alphabet().to_byte;
  if (c >= table.size() || table[c] < 0) return std::nullopt;
  return static_cast<unsigned char>(table[c]);
}

bool IsBertPunctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
  }
  return IsPunctuation(c);
}

std::unique_ptr<PreTokenizer> MakeBertPreTokenizer() {
  std::vector<std::unique_ptr<PreTokenizer>> parts;
  parts.push_back(MakePredicate(IsWhitespace, SplitBehavior::kRemoved));
  parts.push_back(MakePredicate(IsBertPunctuation, SplitBehavior::kIsolated));
  return MakeSequencePreTokenizer(std::move(parts));
}
std::unique_ptr<PreTokenizer> MakeByteLevelPreTokenizer(const ByteLevelSettings& settings) {
  return std::make_unique<ByteLevelPreTokenizer>(settings);
}
std::unique_ptr<PreTokenizer> MakeMetaspacePreTokenizer(char32_t replacement, PrependScheme scheme,
                                                        bool split) {
  return std::make_unique<MetaspacePreTokenizer>(replacement, scheme, split);
}
std::unique_ptr<PreTokenizer> MakeSplitPreTokenizer(std::unique_ptr<Pattern> pattern,
                                                    SplitBehavior behavior, bool invert) {
  return std::make_unique<SplitPreTokenizer>(std::move(pattern), behavior, invert);
}
std::unique_ptr<PreTokenizer> MakeSequencePreTokenizer(
    std::vector<std::unique_ptr<PreTokenizer>> parts) {
  return std::make_unique<SequencePreTokenizer>(std::move(parts));
}

Result<std::unique_ptr<PreTokenizer>> ParsePreTokenizer(const Value& json) {
  return Parse(json, 0);
}

Result<PrependScheme> ParsePrependScheme(const Value& json) {
  RAG_ASSIGN_OR_RETURN(const bool add_prefix_space, json.GetBool("add_prefix_space", true));
  RAG_ASSIGN_OR_RETURN(const std::string scheme,
                       json.GetString("prepend_scheme", add_prefix_space ? "always" : "never"));
  if (scheme == "always") return PrependScheme::kAlways;
  if (scheme == "first") return PrependScheme::kFirst;
  if (scheme == "never") return PrependScheme::kNever;
  return InvalidArgumentError("prepend_scheme '", scheme, "' is not always, first or never");
}

}  // namespace rag
