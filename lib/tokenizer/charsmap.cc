// SentencePiece's compiled normalization rules, applied as huggingface/tokenizers does
// (normalizers/precompiled.rs): the shortest rule that begins a short grapheme replaces all of it.
#include <cstring>
#include <optional>

#include "lib/text/utf8.h"
#include "lib/tokenizer/normalizer.h"

namespace rag {
namespace {

// A grapheme of this many bytes or more is looked at character by character.
constexpr size_t kLongGraphemeBytes = 6;

class CharsmapNormalizer final : public Normalizer {
 public:
  CharsmapNormalizer(std::vector<uint32_t> trie, std::string replacements)
      : trie_(std::move(trie)), replacements_(std::move(replacements)) {}

  void Apply(Chars& chars) const override {
    Chars out;
    out.reserve(chars.size());
    std::string bytes;
    for (size_t i = 0; i < chars.size();) {
      const size_t end = GraphemeEnd(chars, i);
      bytes.clear();
      for (size_t k = i; k < end; ++k) AppendUtf8(bytes, chars[k].c);
      if (bytes.size() < kLongGraphemeBytes) {
        if (const auto replacement = Find(bytes)) {
          Append(*replacement, chars[i].begin, chars[end - 1].end, out);
          i = end;
          continue;
        }
      }
      for (; i < end; ++i) {
        bytes.clear();
        AppendUtf8(bytes, chars[i].c);
        if (const auto replacement = Find(bytes)) {
          Append(*replacement, chars[i].begin, chars[i].end, out);
        } else {
          out.push_back(chars[i]);
        }
      }
    }
    chars = std::move(out);
  }

 private:
  // The end of the extended grapheme cluster (UAX 29) that begins at `i`, as far as it matters for
  // clusters of less than six bytes: CR LF, and a character with the marks and joiners after it.
  static size_t GraphemeEnd(const Chars& chars, size_t i) {
    const char32_t first = chars[i].c;
    size_t end = i + 1;
    if (first == '\r' && end < chars.size() && chars[end].c == '\n') return end + 1;
    if (first < 0x20 || CategoryOf(first) == Category::kControl) return end;
    while (end < chars.size() &&
           (IsMark(chars[end].c) || chars[end].c == 0x200C || chars[end].c == 0x200D)) {
      ++end;
    }
    return end;
  }

  static void Append(std::string_view text, uint32_t begin, uint32_t end, Chars& out) {
    for (size_t i = 0; i < text.size();) {
      const DecodedChar next = DecodeChar(text, i);
      out.push_back({next.code_point, begin, end});
      i += next.length;
    }
  }

  // Walks a darts-clone double array (github.com/s-yata/darts-clone, DoubleArrayUnit). Every index
  // is checked, since the units come from a file.
  std::optional<std::string_view> Find(std::string_view key) const {
    const auto offset = [](uint32_t unit) { return unit >> 10 << ((unit & (1u << 9)) >> 6); };
    size_t position = offset(trie_[0]);
    for (const char c : key) {
      const uint32_t byte = static_cast<unsigned char>(c);
      if (byte == 0) break;
      position ^= byte;
      if (position >= trie_.size()) return std::nullopt;
      const uint32_t unit = trie_[position];
      if ((unit & (1u << 31 | 0xFF)) != byte) return std::nullopt;
      position ^= offset(unit);
      if (position >= trie_.size()) return std::nullopt;
      if ((unit >> 8 & 1) != 0) {
        const size_t start = trie_[position] & ~(1u << 31);
        if (start >= replacements_.size()) return std::nullopt;
        return std::string_view(replacements_)
            .substr(start, replacements_.find('\0', start) - start);
      }
    }
    return std::nullopt;
  }

  std::vector<uint32_t> trie_;
  std::string replacements_;  // each ends with a NUL
};

}  // namespace

Result<std::unique_ptr<Normalizer>> MakeCharsmapNormalizer(std::string_view blob) {
  if (blob.empty()) return std::unique_ptr<Normalizer>();
  uint32_t trie_bytes = 0;
  if (blob.size() < sizeof(trie_bytes)) {
    return InvalidArgumentError("precompiled_charsmap of ", blob.size(), " bytes is too short");
  }
  std::memcpy(&trie_bytes, blob.data(), sizeof(trie_bytes));
  blob.remove_prefix(sizeof(trie_bytes));
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > blob.size()) {
    return InvalidArgumentError("precompiled_charsmap's trie of ", trie_bytes,
                                " bytes does not fit into its ", blob.size(), " bytes");
  }
  std::vector<uint32_t> trie(trie_bytes / 4);
  std::memcpy(trie.data(), blob.data(), trie_bytes);
  return std::unique_ptr<Normalizer>(
      new CharsmapNormalizer(std::move(trie), std::string(blob.substr(trie_bytes))));
}

}  // namespace rag
