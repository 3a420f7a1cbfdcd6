#include "lib/tokenizer/decoder.h"

#include <array>
#include <utility>

#include "lib/text/utf8.h"
#include "lib/tokenizer/pattern.h"
#include "lib/tokenizer/pre_tokenizer.h"

namespace rag {
namespace {

constexpr int kMaxDepth = 16;

void ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  for (size_t i = text.find(from); i != std::string::npos; i = text.find(from, i + to.size())) {
    text.replace(i, from.size(), to);
  }
}

// huggingface/tokenizers, decoders/wordpiece.rs, cleanup.
void CleanUp(std::string& text) {
  static constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) ReplaceAll(text, from, to);
}

class WordPieceDecoder final : public Decoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup)
      : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  void Apply(std::vector<std::string>& pieces) const override {
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (i > 0) {
        ApplyFollowing(pieces[i]);
      } else if (cleanup_) {
        CleanUp(pieces[i]);
      }
    }
  }
  void ApplyFollowing(std::string& piece) const override {
    if (piece.starts_with(prefix_)) {
      piece.erase(0, prefix_.size());
    } else {
      piece.insert(piece.begin(), ' ');
    }
    if (cleanup_) CleanUp(piece);
  }

 private:
  std::string prefix_;
  bool cleanup_;
};

class ByteLevelDecoder final : public Decoder {
 public:
  ByteLevelDecoder() {
    bytes_.fill(kNoByte);
    for (size_t byte = 0; byte < 256; ++byte) {
      bytes_[ByteToChar(static_cast<unsigned char>(byte))] = static_cast<int16_t>(byte);
    }
  }
  void Apply(std::vector<std::string>& pieces) const override {
    for (std::string& piece : pieces) ApplyFollowing(piece);
  }
  void ApplyFollowing(std::string& piece) const override {
    std::string bytes;
    bytes.reserve(piece.size());
    for (size_t i = 0; i < piece.size(); ++i) {
      size_t letter = static_cast<unsigned char>(piece[i]);
      // No letter has more than two bytes; a whole vocabulary is read so.
      if (letter >= 0x80) {
        const auto second = static_cast<unsigned char>(++i < piece.size() ? piece[i] : 0);
        letter = letter < 0xC2 || (second & 0xC0) != 0x80 ? bytes_.size()
                                                          : (letter - 0xC0) << 6 | (second & 0x3F);
      }
      if (letter >= bytes_.size() || bytes_[letter] == kNoByte) {
        return;  // an added token, which is text already
      }
      bytes += static_cast<char>(bytes_[letter]);
    }
    piece = std::move(bytes);
  }

 private:
  static constexpr int16_t kNoByte = -1;
  std::array<int16_t, 0x144> bytes_;  // by letter
};

class MetaspaceDecoder final : public Decoder {
 public:
  MetaspaceDecoder(std::string replacement, bool drop_first)
      : replacement_(std::move(replacement)), drop_first_(drop_first) {}
  void Apply(std::vector<std::string>& pieces) const override {
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (i == 0 && drop_first_ && pieces[0].starts_with(replacement_)) {
        pieces[0].erase(0, replacement_.size());
      }
      ApplyFollowing(pieces[i]);
    }
  }
  void ApplyFollowing(std::string& piece) const override { ReplaceAll(piece, replacement_, " "); }

 private:
  std::string replacement_;
  bool drop_first_;
};

class SuffixDecoder final : public Decoder {
 public:
  explicit SuffixDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void Apply(std::vector<std::string>& pieces) const override {
    for (size_t i = 0; i < pieces.size(); ++i) {
      ReplaceAll(pieces[i], suffix_, i + 1 == pieces.size() ? "" : " ");
    }
  }
  void ApplyFollowing(std::string& piece) const override { ReplaceAll(piece, suffix_, " "); }

 private:
  std::string suffix_;
};

class ByteFallbackDecoder final : public Decoder {
 public:
  void Apply(std::vector<std::string>& pieces) const override {
    for (std::string& piece : pieces) ApplyFollowing(piece);
  }
  void ApplyFollowing(std::string& piece) const override {
    const int byte = ParseBytePiece(piece);
    if (byte >= 0) piece.assign(1, static_cast<char>(byte));
  }
};

class FuseDecoder final : public Decoder {
 public:
  void Apply(std::vector<std::string>& pieces) const override {
    std::string all;
    for (const std::string& piece : pieces) all += piece;
    pieces.assign(1, std::move(all));
  }
  void ApplyFollowing(std::string&) const override {}
};

// Takes up to `start` and `stop` copies of a character off the ends.
class StripDecoder final : public Decoder {
 public:
  StripDecoder(std::string content, int64_t start, int64_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void Apply(std::vector<std::string>& pieces) const override {
    if (content_.empty()) return;
    for (std::string& piece : pieces) {
      for (int64_t i = 0; i < start_ && piece.starts_with(content_); ++i) {
        piece.erase(0, content_.size());
      }
      for (int64_t i = 0; i < stop_ && piece.ends_with(content_); ++i) {
        piece.resize(piece.size() - content_.size());
      }
    }
  }
  // After a Fuse it acts on the ends of the whole text alone.
  void ApplyFollowing(std::string&) const override {}

 private:
  std::string content_;
  int64_t start_, stop_;
};

class ReplaceDecoder final : public Decoder {
 public:
  ReplaceDecoder(std::unique_ptr<Pattern> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void Apply(std::vector<std::string>& pieces) const override {
    for (std::string& piece : pieces) ApplyFollowing(piece);
  }
  void ApplyFollowing(std::string& piece) const override {
    size_t invalid = 0;
    const Chars chars = DecodeChars(piece, 0, &invalid);
    std::vector<Match> matches;
    pattern_->FindAll(chars, matches);
    if (matches.empty()) return;
    std::string out;
    size_t position = 0;
    for (const Match& match : matches) {
      out += ToUtf8(chars.data() + position, chars.data() + match.begin);
      out += content_;
      position = match.end;
    }
    out += ToUtf8(chars.data() + position, chars.data() + chars.size());
    piece = std::move(out);
  }

 private:
  std::unique_ptr<Pattern> pattern_;
  std::string content_;
};

class SequenceDecoder final : public Decoder {
 public:
  explicit SequenceDecoder(std::vector<std::unique_ptr<Decoder>> parts)
      : parts_(std::move(parts)) {}
  void Apply(std::vector<std::string>& pieces) const override {
    for (const auto& part : parts_) part->Apply(pieces);
  }
  void ApplyFollowing(std::string& piece) const override {
    for (const auto& part : parts_) part->ApplyFollowing(piece);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> parts_;
};

Result<std::unique_ptr<Decoder>> Parse(const Value& json, int depth) {
  using Pointer = std::unique_ptr<Decoder>;
  if (json.is_null()) return Pointer();
  if (depth > kMaxDepth) return InvalidArgumentError("decoders are nested too deeply");
  RAG_ASSIGN_OR_RETURN(const std::string type, json.GetString("type", ""));
  if (type == "Sequence") {
    const Value* parts = json.Find("decoders");
    if (parts == nullptr || !parts->is_array()) {
      return InvalidArgumentError("decoder Sequence has no decoders");
    }
    std::vector<Pointer> list;
    for (const Value& part : parts->as_array()) {
      RAG_ASSIGN_OR_RETURN(Pointer decoder, Parse(part, depth + 1));
      if (decoder) list.push_back(std::move(decoder));
    }
    return MakeSequenceDecoder(std::move(list));
  }
  if (type == "WordPiece") {
    RAG_ASSIGN_OR_RETURN(std::string prefix, json.GetString("prefix", "##"));
    RAG_ASSIGN_OR_RETURN(const bool cleanup, json.GetBool("cleanup", true));
    return MakeWordPieceDecoder(std::move(prefix), cleanup);
  }
  if (type == "ByteLevel") return MakeByteLevelDecoder();
  if (type == "Metaspace") {
    RAG_ASSIGN_OR_RETURN(std::string replacement, json.GetString("replacement", "▁"));
    RAG_ASSIGN_OR_RETURN(const PrependScheme scheme, ParsePrependScheme(json));
    return MakeMetaspaceDecoder(std::move(replacement), scheme != PrependScheme::kNever);
  }
  if (type == "BPEDecoder") {
    RAG_ASSIGN_OR_RETURN(std::string suffix, json.GetString("suffix", "</w>"));
    return MakeSuffixDecoder(std::move(suffix));
  }
  if (type == "ByteFallback") return MakeByteFallbackDecoder();
  if (type == "Fuse") return Pointer(new FuseDecoder());
  if (type == "Strip") {
    RAG_ASSIGN_OR_RETURN(std::string content, json.GetString("content", " "));
    RAG_ASSIGN_OR_RETURN(const int64_t start, json.GetInt("start", 0));
    RAG_ASSIGN_OR_RETURN(const int64_t stop, json.GetInt("stop", 0));
    return Pointer(new StripDecoder(std::move(content), start, stop));
  }
  if (type == "Replace") {
    const Value* pattern_json = json.Find("pattern");
    if (pattern_json == nullptr) return InvalidArgumentError("decoder Replace has no pattern");
    RAG_ASSIGN_OR_RETURN(std::unique_ptr<Pattern> pattern, ParsePattern(*pattern_json));
    RAG_ASSIGN_OR_RETURN(std::string content, json.GetString("content", ""));
    return Pointer(new ReplaceDecoder(std::move(pattern), std::move(content)));
  }
  return UnsupportedError("decoder '", type, "' is not supported");
}

}  // namespace

std::unique_ptr<Decoder> MakeWordPieceDecoder(std::string prefix, bool cleanup) {
  return std::make_unique<WordPieceDecoder>(std::move(prefix), cleanup);
}
std::unique_ptr<Decoder> MakeByteLevelDecoder() { return std::make_unique<ByteLevelDecoder>(); }
std::unique_ptr<Decoder> MakeMetaspaceDecoder(std::string replacement, bool drop_first) {
  return std::make_unique<MetaspaceDecoder>(std::move(replacement), drop_first);
}
std::unique_ptr<Decoder> MakeSuffixDecoder(std::string suffix) {
  return std::make_unique<SuffixDecoder>(std::move(suffix));
}
std::unique_ptr<Decoder> MakeByteFallbackDecoder() {
  return std::make_unique<ByteFallbackDecoder>();
}
std::unique_ptr<Decoder> MakeSequenceDecoder(std::vector<std::unique_ptr<Decoder>> parts) {
  return std::make_unique<SequenceDecoder>(std::move(parts));
}

Result<std::unique_ptr<Decoder>> ParseDecoder(const Value& json) { return Parse(json, 0); }

int ParseBytePiece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  int value = 0;
  for (const char c : piece.substr(3, 2)) {
    if (c >= '0' && c <= '9') {
      value = value * 16 + (c - '0');
    } else if (c >= 'A' && c <= 'F') {
      value = value * 16 + (c - 'A' + 10);
    } else {
      return -1;
    }
  }
  return value;
}

}  // namespace rag
