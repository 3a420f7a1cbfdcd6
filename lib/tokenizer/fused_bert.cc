#include <array>
#include <vector>

#include "lib/text/utf8.h"
#include "lib/tokenizer/loaders.h"
#include "lib/tokenizer/word_piece.h"

namespace rag {
namespace {

class FusedBert final : public FusedEncoder {
 public:
  FusedBert(const WordPiece& model, const BertNormalizerSettings& settings)
      : model_(model), settings_(settings) {
    for (char32_t c = 0; c < 128; ++c) {
      const bool dropped = settings.clean_text && (c == 0 || IsBertControl(c));
      const bool upper = settings.lowercase && c >= 'A' && c <= 'Z';
      Ascii& entry = ascii_[c];
      entry.kind = dropped                ? kDropped
                   : IsWhitespace(c)      ? kSpace
                   : IsBertPunctuation(c) ? kPunctuation
                                          : kWord;
      entry.byte = static_cast<char>(upper ? c + 32 : c);
    }
  }

  void Encode(std::string_view text, uint32_t base, std::vector<Token>& out,
              size_t* invalid_bytes) const override {
    State state{*this, out};
    for (size_t i = 0; i < text.size();) {
      const unsigned char byte = static_cast<unsigned char>(text[i]);
      const uint32_t begin = base + static_cast<uint32_t>(i);
      if (byte < 0x80) {
        const Ascii entry = ascii_[byte];
        ++i;
        switch (entry.kind) {
          case kWord:
            state.Push(entry.byte, begin, begin + 1);
            break;
          case kSpace:
            state.Flush();
            break;
          case kDropped:
            break;
          case kPunctuation:
            state.Flush();
            state.Push(entry.byte, begin, begin + 1);
            state.Flush();
            break;
        }
        continue;
      }
      const DecodedChar next = DecodeChar(text, i);
      if (!next.valid) *invalid_bytes += next.length;
      i += next.length;
      Other(next.code_point, begin, begin + next.length, state);
    }
    state.Flush();
  }

 private:
  enum Kind : uint8_t { kWord, kSpace, kPunctuation, kDropped };
  struct Ascii {
    Kind kind;
    char byte;
  };

  // The word being read, as UTF-8, and where each byte came from.
  struct State {
    const FusedBert& encoder;
    std::vector<Token>& out;
    std::string bytes = {};
    std::vector<uint32_t> begins = {};
    std::vector<uint32_t> ends = {};
    size_t chars = 0;
    std::u32string scratch = {};

    void Push(char byte, uint32_t begin, uint32_t end) {
      bytes.push_back(byte);
      begins.push_back(begin);
      ends.push_back(end);
      ++chars;
    }
    void PushChar(char32_t c, uint32_t begin, uint32_t end) {
      AppendUtf8(bytes, c);
      begins.resize(bytes.size(), begin);
      ends.resize(bytes.size(), end);
      ++chars;
    }
    void Flush() {
      if (bytes.empty()) return;
      encoder.model_.TokenizeBytes(bytes, chars, begins.data(), ends.data(), out);
      bytes.clear();
      begins.clear();
      ends.clear();
      chars = 0;
    }
  };

  void Other(char32_t c, uint32_t begin, uint32_t end, State& state) const {
    if (settings_.clean_text && (c == 0xFFFD || IsBertControl(c))) return;
    if (IsWhitespace(c)) return state.Flush();
    const bool ideograph = settings_.handle_chinese_chars && IsCjkIdeograph(c);
    if (ideograph) state.Flush();
    state.scratch.clear();
    if (settings_.strip_accents) {
      AppendDecomposition(state.scratch, c, false);
    } else {
      state.scratch += c;
    }
    std::u32string lower;
    for (const char32_t part : state.scratch) {
      if (settings_.strip_accents && CategoryOf(part) == Category::kNonspacingMark) continue;
      lower.clear();
      if (settings_.lowercase) {
        AppendLower(lower, part);
      } else {
        lower += part;
      }
      for (const char32_t letter : lower) {
        if (IsWhitespace(letter)) {
          state.Flush();
        } else if (IsBertPunctuation(letter)) {
          state.Flush();
          state.PushChar(letter, begin, end);
          state.Flush();
        } else {
          state.PushChar(letter, begin, end);
        }
      }
    }
    if (ideograph) state.Flush();
  }

  const WordPiece& model_;
  BertNormalizerSettings settings_;
  std::array<Ascii, 128> ascii_;
};

}  // namespace

std::unique_ptr<FusedEncoder> MakeFusedBert(const WordPiece& model,
                                            const BertNormalizerSettings& settings) {
  return std::make_unique<FusedBert>(model, settings);
}

}  // namespace rag
