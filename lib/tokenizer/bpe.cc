#include "lib/tokenizer/bpe.h"

#include <algorithm>
#include <queue>

#include "lib/text/utf8.h"
#include "lib/tokenizer/pre_tokenizer.h"

namespace rag {
namespace {

constexpr uint32_t kNone = ~uint32_t{0};
// Up to this many symbols, looking at every pair again for each merge beats a heap.
constexpr size_t kShortWord = 48;

uint64_t PairKey(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }

uint64_t HashPair(uint64_t pair) {
  pair *= 0x9E3779B97F4A7C15;
  return pair ^ pair >> 32;
}

// The bytes of a piece in the byte-level alphabet; false when it has other characters.
bool PieceBytes(std::string_view piece, std::string& bytes) {
  bytes.clear();
  for (size_t i = 0; i < piece.size();) {
    const DecodedChar next = DecodeChar(piece, i);
    const auto byte = CharToByte(next.code_point);
    if (!byte) return false;
    bytes += static_cast<char>(*byte);
    i += next.length;
  }
  return true;
}

std::string BytePiece(int byte) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

}  // namespace

void Bpe::AddMerge(uint32_t left, uint32_t right, uint32_t rank, uint32_t id) {
  if (2 * (merge_count_ + 1) > merges_.size()) {
    std::vector<Merge> old = std::move(merges_);
    merges_.assign(std::max<size_t>(64, old.size() * 2), Merge());
    merge_mask_ = merges_.size() - 1;
    for (const Merge& merge : old) {
      if (merge.pair == Merge().pair) continue;
      size_t i = HashPair(merge.pair) & merge_mask_;
      while (merges_[i].pair != Merge().pair) i = (i + 1) & merge_mask_;
      merges_[i] = merge;
    }
  }
  const uint64_t pair = PairKey(left, right);
  size_t i = HashPair(pair) & merge_mask_;
  while (merges_[i].pair != Merge().pair && merges_[i].pair != pair) i = (i + 1) & merge_mask_;
  // A pair that is there twice takes its last rank, as in tokenizers.
  if (merges_[i].pair != pair) ++merge_count_;
  merges_[i] = {pair, rank, id};
}

const Bpe::Merge* Bpe::FindMerge(uint32_t left, uint32_t right) const {
  if (merges_.empty()) return nullptr;
  const uint64_t pair = PairKey(left, right);
  for (size_t i = HashPair(pair) & merge_mask_;; i = (i + 1) & merge_mask_) {
    if (merges_[i].pair == pair) return &merges_[i];
    if (merges_[i].pair == Merge().pair) return nullptr;
  }
}

Status Bpe::Prepare(const Vocabulary& vocabulary) {
  virtual_begin_ = static_cast<uint32_t>(vocabulary.size());
  byte_ids_.fill(kNone);
  byte_end_ids_.fill(kNone);
  fallback_ids_.fill(kNone);
  if (!settings_.unk_token.empty()) {
    const auto unk = vocabulary.Find(settings_.unk_token);
    if (!unk) {
      return InvalidArgumentError("the vocabulary lacks the unknown token '", settings_.unk_token,
                                  "'");
    }
    unk_id_ = *unk;
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    if (settings_.byte_level) {
      std::string piece;
      AppendUtf8(piece, ByteToChar(static_cast<unsigned char>(byte)));
      if (const auto id = vocabulary.Find(piece)) byte_ids_[byte] = static_cast<uint32_t>(*id);
      if (const auto id = vocabulary.Find(piece + settings_.end_suffix)) {
        byte_end_ids_[byte] = static_cast<uint32_t>(*id);
      }
    }
    if (const auto id = vocabulary.Find(BytePiece(static_cast<int>(byte)))) {
      fallback_ids_[byte] = static_cast<uint32_t>(*id);
      has_fallback_ = true;
    }
  }
  if (settings_.byte_level) return OkStatus();
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    const std::string_view piece = vocabulary.Piece(static_cast<TokenId>(i));
    if (!piece.empty()) pieces_.Add(piece, static_cast<TokenId>(i));
  }
  return OkStatus();
}

Result<std::unique_ptr<Bpe>> Bpe::FromMerges(
    std::span<const std::pair<std::string, std::string>> merges, const Vocabulary& vocabulary,
    const std::vector<bool>& excluded, const BpeSettings& settings) {
  std::unique_ptr<Bpe> model(new Bpe(settings));
  RAG_RETURN_IF_ERROR(model->Prepare(vocabulary));
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const std::string_view rest = std::string_view(right).substr(
        right.starts_with(settings.continuing_prefix) ? settings.continuing_prefix.size() : 0);
    const auto left_id = vocabulary.Find(left);
    const auto right_id = vocabulary.Find(right);
    const auto merged_id = vocabulary.Find(StrCat(left, rest));
    if (!left_id || !right_id || !merged_id) {
      return InvalidArgumentError("merge ", rank, " '", left, " ", right,
                                  "' names a piece that the vocabulary lacks");
    }
    model->AddMerge(static_cast<uint32_t>(*left_id), static_cast<uint32_t>(*right_id),
                    static_cast<uint32_t>(rank), static_cast<uint32_t>(*merged_id));
  }
  if (settings.byte_level || settings.ignore_merges) model->FindAtomicWords(vocabulary, excluded);
  return model;
}

Result<std::unique_ptr<Bpe>> Bpe::FromJson(const Value& model, const Vocabulary& vocabulary,
                                           const std::vector<bool>& excluded, bool byte_level) {
  BpeSettings settings;
  settings.byte_level = byte_level;
  RAG_ASSIGN_OR_RETURN(settings.unk_token, model.GetString("unk_token", ""));
  RAG_ASSIGN_OR_RETURN(settings.continuing_prefix,
                       model.GetString("continuing_subword_prefix", ""));
  RAG_ASSIGN_OR_RETURN(settings.end_suffix, model.GetString("end_of_word_suffix", ""));
  RAG_ASSIGN_OR_RETURN(settings.fuse_unk, model.GetBool("fuse_unk", false));
  RAG_ASSIGN_OR_RETURN(settings.byte_fallback, model.GetBool("byte_fallback", false));
  RAG_ASSIGN_OR_RETURN(settings.ignore_merges, model.GetBool("ignore_merges", false));
  RAG_ASSIGN_OR_RETURN(const double dropout, model.GetDouble("dropout", 0));
  if (dropout != 0) return UnsupportedError("BPE with dropout ", dropout, " is not supported");

  const Value* list = model.Find("merges");
  if (list == nullptr || !list->is_array()) return InvalidArgumentError("model BPE has no merges");
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(list->as_array().size());
  for (const Value& merge : list->as_array()) {
    if (merge.is_string()) {
      const std::string& text = merge.as_string();
      const size_t space = text.find(' ');
      if (space != std::string::npos) {
        merges.emplace_back(text.substr(0, space), text.substr(space + 1));
        continue;
      }
    } else if (merge.is_array() && merge.as_array().size() == 2 &&
               merge.as_array()[0].is_string() && merge.as_array()[1].is_string()) {
      merges.emplace_back(merge.as_array()[0].as_string(), merge.as_array()[1].as_string());
      continue;
    }
    return InvalidArgumentError("merge ", merges.size(), " is no pair of pieces");
  }
  return FromMerges(merges, vocabulary, excluded, settings);
}

Result<std::unique_ptr<Bpe>> Bpe::FromScores(std::span<const float> scores,
                                             const std::vector<bool>& mergeable,
                                             const Vocabulary& vocabulary,
                                             const BpeSettings& settings) {
  std::unique_ptr<Bpe> model(new Bpe(settings));
  RAG_RETURN_IF_ERROR(model->Prepare(vocabulary));
  if (scores.size() < vocabulary.size() || mergeable.size() < vocabulary.size()) {
    return InvalidArgumentError(scores.size(), " scores for ", vocabulary.size(), " pieces");
  }
  // Rank 0 is the highest score; equal scores share a rank, so that position decides.
  std::vector<float> distinct(scores.begin(), scores.end());
  std::sort(distinct.begin(), distinct.end(), std::greater<>());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  // Pieces from their ends, so that the hashes of all ends of a piece come from one pass too.
  PieceMap mirrored;
  std::string mirror;
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    const std::string_view piece = vocabulary.Piece(static_cast<TokenId>(i));
    mirror.assign(piece.rbegin(), piece.rend());
    if (!piece.empty()) mirrored.Add(mirror, static_cast<TokenId>(i));
  }
  uint32_t next_virtual = model->virtual_begin_;
  // A character that is no piece can be merged all the same.
  const auto character = [&](std::string_view text) -> uint32_t {
    if (const TokenId id = model->pieces_.Find(text); id >= 0) return static_cast<uint32_t>(id);
    model->pieces_.Add(text, static_cast<TokenId>(next_virtual));
    return next_virtual++;
  };
  const auto merged = [&](TokenId id) {
    const size_t index = static_cast<size_t>(id);
    return id >= 0 && index < vocabulary.size() && mergeable[index] ? static_cast<uint32_t>(id)
                                                                    : kNone;
  };
  std::vector<size_t> starts;
  std::vector<uint32_t> lefts;  // what ends where each character but the first begins
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    const std::string_view piece = vocabulary.Piece(static_cast<TokenId>(i));
    // A NaN would make the order above meaningless.
    if (scores[i] != scores[i]) return InvalidArgumentError("score of piece ", i, " is no number");
    if (!mergeable[i]) continue;
    starts.clear();
    for (size_t at = 0; at < piece.size(); at += DecodeChar(piece, at).length) starts.push_back(at);
    if (starts.size() < 2) continue;
    const auto rank = static_cast<uint32_t>(
        std::lower_bound(distinct.begin(), distinct.end(), scores[i], std::greater<>()) -
        distinct.begin());
    lefts.assign(1, kNone);
    uint64_t hash = PieceMap::kHashSeed;
    for (size_t k = 1, at = 0; k < starts.size(); ++k) {
      while (at < starts[k]) {
        hash = PieceMap::HashByte(hash, static_cast<unsigned char>(piece[at++]));
      }
      const std::string_view left = piece.substr(0, starts[k]);
      lefts.push_back(k == 1 ? character(left) : merged(model->pieces_.FindHashed(left, hash)));
    }
    mirror.assign(piece.rbegin(), piece.rend());
    hash = PieceMap::kHashSeed;
    for (size_t k = starts.size() - 1, at = 0; k > 0; --k) {
      const size_t length = piece.size() - starts[k];
      while (at < length) {
        hash = PieceMap::HashByte(hash, static_cast<unsigned char>(mirror[at++]));
      }
      const uint32_t right =
          k + 1 == starts.size()
              ? character(piece.substr(starts[k]))
              : merged(mirrored.FindHashed(std::string_view(mirror).substr(0, length), hash));
      if (lefts[k] != kNone && right != kNone) {
        model->AddMerge(lefts[k], right, rank, static_cast<uint32_t>(i));
      }
    }
  }
  return model;
}

// Most words of a text are one piece. Where the merges lead from the bytes of a piece to that
// piece, one look-up gives the same as merging.
void Bpe::FindAtomicWords(const Vocabulary& vocabulary, const std::vector<bool>& excluded) {
  std::string bytes;
  std::vector<Symbol> symbols;
  const std::string& suffix = settings_.end_suffix;
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    std::string_view piece = vocabulary.Piece(static_cast<TokenId>(i));
    if (piece.empty() || !piece.ends_with(suffix)) continue;
    if (settings_.ignore_merges && i < excluded.size() && excluded[i]) continue;
    piece.remove_suffix(suffix.size());
    if (!settings_.byte_level) {
      atomic_.Add(piece, static_cast<TokenId>(i));
      continue;
    }
    if (piece.empty() || !PieceBytes(piece, bytes)) continue;
    if (!settings_.ignore_merges) {
      SymbolsOfBytes(bytes, symbols);
      MergeAll(symbols);
      if (symbols.size() != 1 || symbols[0].id != i) continue;
    }
    atomic_.Add(bytes, static_cast<TokenId>(i));
  }
}

void Bpe::SymbolsOfBytes(std::string_view word, std::vector<Symbol>& symbols) const {
  symbols.clear();
  for (uint32_t i = 0; i < word.size(); ++i) {
    const unsigned char byte = static_cast<unsigned char>(word[i]);
    uint32_t id = i + 1 == word.size() ? byte_end_ids_[byte] : byte_ids_[byte];
    if (id == kNone) {
      if (unk_id_ < 0) continue;
      id = static_cast<uint32_t>(unk_id_);
      if (settings_.fuse_unk && !symbols.empty() && symbols.back().id == id) {
        symbols.back().end = i + 1;
        continue;
      }
    }
    symbols.push_back({id, i, i + 1});
  }
}

void Bpe::SymbolsOfChars(std::span<const SourceChar> word, std::vector<Symbol>& symbols) const {
  symbols.clear();
  std::string piece;
  bool last_unknown = false;
  for (uint32_t i = 0; i < word.size(); ++i) {
    piece.clear();
    if (i > 0) piece += settings_.continuing_prefix;
    AppendUtf8(piece, word[i].c);
    if (i + 1 == word.size()) piece += settings_.end_suffix;
    const TokenId id = pieces_.Find(piece);
    if (id >= 0) {
      symbols.push_back({static_cast<uint32_t>(id), i, i + 1});
      last_unknown = false;
      continue;
    }
    if (settings_.byte_fallback && has_fallback_ &&
        std::all_of(piece.begin(), piece.end(), [this](char byte) {
          return fallback_ids_[static_cast<unsigned char>(byte)] != kNone;
        })) {
      for (const char byte : piece) {
        symbols.push_back({fallback_ids_[static_cast<unsigned char>(byte)], i, i + 1});
      }
      last_unknown = false;
      continue;
    }
    if (unk_id_ < 0) continue;
    if (last_unknown && settings_.fuse_unk) {
      symbols.back().end = i + 1;
    } else {
      symbols.push_back({static_cast<uint32_t>(unk_id_), i, i + 1});
    }
    last_unknown = true;
  }
}

void Bpe::MergeAll(std::vector<Symbol>& symbols) const {
  if (symbols.size() < 2) return;
  if (symbols.size() <= kShortWord) {
    MergeShort(symbols);
  } else {
    MergeLong(symbols);
  }
}

void Bpe::MergeShort(std::vector<Symbol>& symbols) const {
  uint32_t ranks[kShortWord];  // of the pair (i, i + 1)
  uint32_t ids[kShortWord];    // what it merges to
  size_t count = symbols.size();
  const auto look_up = [&](size_t i) {
    const Merge* merge = FindMerge(symbols[i].id, symbols[i + 1].id);
    ranks[i] = merge != nullptr ? merge->rank : kNone;
    ids[i] = merge != nullptr ? merge->id : 0;
  };
  for (size_t i = 0; i + 1 < count; ++i) look_up(i);
  while (count > 1) {
    const size_t best = static_cast<size_t>(std::min_element(ranks, ranks + count - 1) - ranks);
    if (ranks[best] == kNone) break;
    symbols[best].id = ids[best];
    symbols[best].end = symbols[best + 1].end;
    --count;
    for (size_t i = best + 1; i < count; ++i) symbols[i] = symbols[i + 1];
    for (size_t i = best + 1; i + 1 < count; ++i) {
      ranks[i] = ranks[i + 1];
      ids[i] = ids[i + 1];
    }
    if (best > 0) look_up(best - 1);
    if (best + 1 < count) look_up(best);
  }
  symbols.resize(count);
}

void Bpe::MergeLong(std::vector<Symbol>& symbols) const {
  struct Candidate {
    uint32_t rank;
    uint32_t position;
    uint32_t left, right;  // ids when it was found: the pair may be gone since
    uint32_t id;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  const uint32_t count = static_cast<uint32_t>(symbols.size());
  std::vector<uint32_t> next(count), previous(count);
  for (uint32_t i = 0; i < count; ++i) {
    next[i] = i + 1 < count ? i + 1 : kNone;
    previous[i] = i > 0 ? i - 1 : kNone;
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto look_up = [&](uint32_t left) {
    const uint32_t right = next[left];
    if (right == kNone) return;
    if (const Merge* merge = FindMerge(symbols[left].id, symbols[right].id)) {
      queue.push({merge->rank, left, symbols[left].id, symbols[right].id, merge->id});
    }
  };
  for (uint32_t i = 0; i + 1 < count; ++i) look_up(i);
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    const uint32_t left = top.position;
    if (symbols[left].id != top.left) continue;
    const uint32_t right = next[left];
    if (right == kNone || symbols[right].id != top.right) continue;
    symbols[left].id = top.id;
    symbols[left].end = symbols[right].end;
    symbols[right].id = kNone;
    next[left] = next[right];
    if (next[right] != kNone) previous[next[right]] = left;
    if (previous[left] != kNone) look_up(previous[left]);
    look_up(left);
  }
  std::erase_if(symbols, [](const Symbol& symbol) { return symbol.id == kNone; });
}

void Bpe::Tokenize(std::span<const SourceChar> word, std::vector<Token>& out) const {
  std::vector<Symbol> symbols;
  if (settings_.byte_level) {
    std::string bytes;
    std::vector<SourceChar> sources;
    for (const SourceChar& source : word) {
      // Only characters of the alphabet come out of the ByteLevel pre-tokenizer.
      if (const auto byte = CharToByte(source.c)) {
        bytes += static_cast<char>(*byte);
        sources.push_back(source);
      }
    }
    if (bytes.empty()) return;
    if (const TokenId id = atomic_.Find(bytes); id >= 0) {
      out.push_back({id, sources.front().begin, sources.back().end});
      return;
    }
    SymbolsOfBytes(bytes, symbols);
    MergeAll(symbols);
    for (const Symbol& symbol : symbols) {
      out.push_back({static_cast<TokenId>(symbol.id), sources[symbol.begin].begin,
                     sources[symbol.end - 1].end});
    }
    return;
  }

  if (settings_.ignore_merges) {
    const TokenId id = atomic_.Find(ToUtf8(word.data(), word.data() + word.size()));
    if (id >= 0) {
      out.push_back({id, word.front().begin, word.back().end});
      return;
    }
  }
  SymbolsOfChars(word, symbols);
  MergeAll(symbols);
  const auto unknown = [&](const Symbol& symbol) {
    // A character that no piece of its own stands for.
    const SourceChar& source = word[symbol.begin];
    std::string bytes;
    AppendUtf8(bytes, source.c);
    if (settings_.byte_fallback && has_fallback_) {
      for (const char byte : bytes) {
        const uint32_t id = fallback_ids_[static_cast<unsigned char>(byte)];
        if (id != kNone) out.push_back({static_cast<TokenId>(id), source.begin, source.end});
      }
    } else if (unk_id_ >= 0) {
      out.push_back({static_cast<TokenId>(unk_id_), source.begin, source.end});
    }
  };
  for (const Symbol& symbol : symbols) {
    if (symbol.id >= virtual_begin_) {
      unknown(symbol);
      continue;
    }
    out.push_back(
        {static_cast<TokenId>(symbol.id), word[symbol.begin].begin, word[symbol.end - 1].end});
  }
}

void Bpe::TokenizeBytes(std::string_view word, uint32_t base, std::vector<Token>& out) const {
  if (const TokenId id = atomic_.Find(word); id >= 0) {
    out.push_back({id, base, base + static_cast<uint32_t>(word.size())});
    return;
  }
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  SymbolsOfBytes(word, symbols);
  MergeAll(symbols);
  const auto inside = [&](uint32_t position) {
    return position < word.size() && (static_cast<unsigned char>(word[position]) & 0xC0) == 0x80;
  };
  for (const Symbol& symbol : symbols) {
    // A piece that holds a part of a character gets the whole character's range.
    uint32_t begin = symbol.begin;
    uint32_t end = symbol.end;
    while (begin > 0 && inside(begin)) --begin;
    while (inside(end)) ++end;
    out.push_back({static_cast<TokenId>(symbol.id), base + begin, base + end});
  }
}

}  // namespace rag
