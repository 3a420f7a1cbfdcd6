#include "lib/tokenizer/word_piece.h"

#include <algorithm>

#include "lib/text/utf8.h"

namespace rag {

Result<std::unique_ptr<WordPiece>> WordPiece::Create(const Vocabulary& vocabulary,
                                                     const WordPieceSettings& settings) {
  std::unique_ptr<WordPiece> model(new WordPiece());
  const std::optional<TokenId> unk = vocabulary.Find(settings.unk_token);
  if (!unk) {
    return InvalidArgumentError("the vocabulary lacks the unknown token '", settings.unk_token,
                                "'");
  }
  model->unk_id_ = *unk;
  model->max_chars_per_word_ = settings.max_chars_per_word;
  const std::string& prefix = settings.continuing_prefix;
  // A word may itself begin with the prefix ("##" in a text), so such a piece serves both ways.
  model->first_ = vocabulary.map();
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    const TokenId id = static_cast<TokenId>(i);
    const std::string_view piece = vocabulary.Piece(id);
    if (piece.starts_with(prefix) && piece.size() > prefix.size()) {
      model->continuing_.Add(piece.substr(prefix.size()), id);
    }
  }
  return model;
}

void WordPiece::Tokenize(std::span<const SourceChar> word, std::vector<Token>& out) const {
  if (word.empty()) return;
  if (word.size() > max_chars_per_word_) {
    out.push_back({unk_id_, word.front().begin, word.back().end});
    return;
  }
  std::string bytes;
  std::vector<uint32_t> begins, ends;
  for (const SourceChar& source : word) {
    AppendUtf8(bytes, source.c);
    begins.resize(bytes.size(), source.begin);
    ends.resize(bytes.size(), source.end);
  }
  TokenizeBytes(bytes, word.size(), begins.data(), ends.data(), out);
}

void WordPiece::TokenizeBytes(std::string_view word, size_t chars, const uint32_t* begins,
                              const uint32_t* ends, std::vector<Token>& out) const {
  const size_t first_token = out.size();
  const auto unknown = [&] {
    out.resize(first_token);
    out.push_back({unk_id_, begins[0], ends[word.size() - 1]});
  };
  if (chars > max_chars_per_word_) return unknown();

  constexpr size_t kMaxPrefix = 256;
  uint64_t hashes[kMaxPrefix + 1];
  for (size_t start = 0; start < word.size();) {
    const PieceMap& pieces = start == 0 ? first_ : continuing_;
    const std::string_view rest = word.substr(start);
    const size_t longest = std::min({rest.size(), pieces.max_key_bytes(), kMaxPrefix});
    hashes[0] = PieceMap::kHashSeed;
    for (size_t i = 0; i < longest; ++i) {
      hashes[i + 1] = PieceMap::HashByte(hashes[i], static_cast<unsigned char>(rest[i]));
    }
    size_t length = longest;
    TokenId id = -1;
    for (; length > 0; --length) {
      id = pieces.FindHashed(rest.substr(0, length), hashes[length]);
      if (id >= 0) break;
    }
    if (id < 0) return unknown();
    out.push_back({id, begins[start], ends[start + length - 1]});
    start += length;
  }
}

}  // namespace rag
