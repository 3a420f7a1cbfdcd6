// A vocabulary: pieces by id, and ids by piece.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// Maps byte strings to non-negative ids. The keys live in one buffer; open addressing, at most half
// full. Immutable once built, then usable from any thread.
class PieceMap {
 public:
  // FNV-1a over bytes, so that the hashes of all prefixes of a word come from one pass.
  static constexpr uint64_t kHashSeed = 0xCBF29CE484222325;
  static uint64_t HashByte(uint64_t hash, unsigned char byte) {
    return (hash ^ byte) * 0x100000001B3;
  }
  static uint64_t Hash(std::string_view key) {
    uint64_t hash = kHashSeed;
    for (const char byte : key) hash = HashByte(hash, static_cast<unsigned char>(byte));
    return hash;
  }

  // Makes room for so many keys at once.
  void Reserve(size_t keys);
  // The first id given to a key stays; returns whether the key was new.
  bool Add(std::string_view key, TokenId id);
  // -1 when absent.
  TokenId Find(std::string_view key) const { return FindHashed(key, Hash(key)); }
  TokenId FindHashed(std::string_view key, uint64_t hash) const {
    if (slots_.empty()) return -1;
    for (size_t i = Slot(hash);; i = (i + 1) & mask_) {
      const Entry& entry = slots_[i];
      if (entry.id < 0) return -1;
      if (entry.hash == static_cast<uint32_t>(hash) && entry.length == key.size() &&
          std::string_view(keys_.data() + entry.offset, entry.length) == key) {
        return entry.id;
      }
    }
  }
  size_t size() const { return size_; }
  size_t max_key_bytes() const { return max_key_bytes_; }

 private:
  struct Entry {
    uint32_t hash = 0;
    uint32_t offset = 0;
    uint32_t length = 0;
    TokenId id = -1;
  };
  // The multiplication leaves the low bits poor; the high ones are mixed in.
  size_t Slot(uint64_t hash) const { return (hash ^ hash >> 29) & mask_; }
  void Resize(size_t slots);

  std::vector<Entry> slots_;
  std::string keys_;
  size_t mask_ = 0;
  size_t size_ = 0;
  size_t max_key_bytes_ = 0;
};

class Vocabulary {
 public:
  // Largest vocabulary that is read; the largest published ones have under 300,000 pieces.
  static constexpr TokenId kMaxSize = 1 << 22;
  // Longest piece; published ones have up to 512 bytes (runs of spaces).
  static constexpr size_t kMaxPieceBytes = 2048;

  // Errors: invalid_argument for an id below 0 or too large, a second piece of the same id, or a
  // piece that is too long.
  Status Add(std::string_view piece, TokenId id);
  // Makes room for so many pieces at once.
  void Reserve(size_t pieces);
  // Names an id again, as added tokens may do.
  Status Replace(std::string_view piece, TokenId id);

  std::optional<TokenId> Find(std::string_view piece) const {
    const TokenId id = map_.Find(piece);
    return id < 0 ? std::nullopt : std::optional<TokenId>(id);
  }
  // Empty when out of range or not used.
  std::string_view Piece(TokenId id) const {
    return id >= 0 && static_cast<size_t>(id) < pieces_.size() ? pieces_[static_cast<size_t>(id)]
                                                               : std::string_view();
  }
  // All pieces with their ids.
  const PieceMap& map() const { return map_; }
  // One more than the largest id.
  size_t size() const { return pieces_.size(); }

 private:
  std::vector<std::string> pieces_;
  std::vector<bool> used_;
  PieceMap map_;
};

}  // namespace rag
