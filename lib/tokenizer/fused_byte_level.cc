#include "lib/text/utf8.h"
#include "lib/tokenizer/bpe.h"
#include "lib/tokenizer/word_scanner.h"

namespace rag {
namespace {

struct ByteReader {
  std::string_view text;
  size_t size() const { return text.size(); }
  char32_t At(size_t i, size_t& next) const {
    const unsigned char byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
      next = i + 1;
      return byte;
    }
    const DecodedChar decoded = DecodeChar(text, i);
    next = i + decoded.length;
    return decoded.code_point;
  }
};

class FusedByteLevel final : public FusedEncoder {
 public:
  FusedByteLevel(const Bpe& model, WordPattern pattern, bool add_prefix_space)
      : model_(model), pattern_(pattern), add_prefix_space_(add_prefix_space) {}

  void Encode(std::string_view text, uint32_t base, std::vector<Token>& out,
              size_t* invalid_bytes) const override {
    const bool prefix = add_prefix_space_ && !text.empty() && text[0] != ' ';
    if (!prefix && IsValidUtf8(text)) {
      Scan(text, out, [base](uint32_t position) { return base + position; });
      return;
    }
    // The changed text, and where its bytes came from.
    std::string changed;
    std::vector<uint32_t> begins, ends;
    const auto append = [&](char32_t c, size_t begin, size_t end) {
      AppendUtf8(changed, c);
      begins.resize(changed.size(), base + static_cast<uint32_t>(begin));
      ends.resize(changed.size(), base + static_cast<uint32_t>(end));
    };
    for (size_t i = 0; i < text.size();) {
      const DecodedChar next = DecodeChar(text, i);
      if (i == 0 && prefix) append(' ', 0, next.length);
      append(next.code_point, i, i + next.length);
      if (!next.valid) *invalid_bytes += next.length;
      i += next.length;
    }
    const size_t first = out.size();
    Scan(changed, out, [](uint32_t position) { return position; });
    for (size_t i = first; i < out.size(); ++i) {
      out[i].begin = begins[out[i].begin];
      out[i].end = ends[out[i].end - 1];
    }
  }

 private:
  template <class Place>
  void Scan(std::string_view text, std::vector<Token>& out, const Place& place) const {
    const WordScanner<ByteReader> scanner(ByteReader{text});
    const auto run = [&](const auto& next_word) {
      for (size_t begin = 0; begin < text.size();) {
        const size_t end = next_word(begin);
        model_.TokenizeBytes(text.substr(begin, end - begin), place(static_cast<uint32_t>(begin)),
                             out);
        begin = end;
      }
    };
    switch (pattern_) {
      case WordPattern::kGpt2:
        run([&](size_t i) { return scanner.Gpt2(i); });
        break;
      case WordPattern::kLlama3:
        run([&](size_t i) { return scanner.Llama3(i, 3); });
        break;
      case WordPattern::kQwen2:
        run([&](size_t i) { return scanner.Llama3(i, 1); });
        break;
      case WordPattern::kClip:
        break;  // leaves gaps, and is never fused
    }
  }

  const Bpe& model_;
  WordPattern pattern_;
  bool add_prefix_space_;
};

}  // namespace

std::unique_ptr<FusedEncoder> MakeFusedByteLevel(const Bpe& model, WordPattern pattern,
                                                 bool add_prefix_space) {
  return std::make_unique<FusedByteLevel>(model, pattern, add_prefix_space);
}

}  // namespace rag
