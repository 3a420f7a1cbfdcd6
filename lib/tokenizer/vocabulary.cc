#include "lib/tokenizer/vocabulary.h"

#include <algorithm>
#include <bit>

namespace rag {

bool PieceMap::Add(std::string_view key, TokenId id) {
  if (2 * (size_ + 1) > slots_.size()) Resize(std::max<size_t>(64, slots_.size() * 2));
  const uint64_t hash = Hash(key);
  size_t i = Slot(hash);
  for (; slots_[i].id >= 0; i = (i + 1) & mask_) {
    const Entry& entry = slots_[i];
    if (entry.hash == static_cast<uint32_t>(hash) &&
        std::string_view(keys_.data() + entry.offset, entry.length) == key) {
      return false;
    }
  }
  slots_[i] = {static_cast<uint32_t>(hash), static_cast<uint32_t>(keys_.size()),
               static_cast<uint32_t>(key.size()), id};
  keys_ += key;
  max_key_bytes_ = std::max(max_key_bytes_, key.size());
  ++size_;
  return true;
}

void PieceMap::Reserve(size_t keys) {
  const size_t slots = std::bit_ceil(2 * keys);
  if (slots > slots_.size()) Resize(slots);
}

void PieceMap::Resize(size_t slots) {
  std::vector<Entry> old = std::move(slots_);
  slots_.assign(slots, Entry());
  mask_ = slots_.size() - 1;
  for (const Entry& entry : old) {
    if (entry.id < 0) continue;
    const uint64_t hash = Hash(std::string_view(keys_.data() + entry.offset, entry.length));
    size_t i = Slot(hash);
    while (slots_[i].id >= 0) i = (i + 1) & mask_;
    slots_[i] = entry;
  }
}

void Vocabulary::Reserve(size_t pieces) {
  pieces_.reserve(pieces);
  used_.reserve(pieces);
  map_.Reserve(pieces);
}

Status Vocabulary::Add(std::string_view piece, TokenId id) {
  if (id < 0 || id >= kMaxSize) {
    return InvalidArgumentError("id ", id, " of piece '", piece, "' is not between 0 and ",
                                kMaxSize);
  }
  if (piece.size() > kMaxPieceBytes) {
    return InvalidArgumentError("the piece of id ", id, " has ", piece.size(), " bytes, over ",
                                kMaxPieceBytes);
  }
  const size_t index = static_cast<size_t>(id);
  if (index < used_.size() && used_[index]) {
    return InvalidArgumentError("id ", id, " belongs to both '", pieces_[index], "' and '", piece,
                                "'");
  }
  if (index >= pieces_.size()) {
    pieces_.resize(index + 1);
    used_.resize(index + 1);
  }
  pieces_[index] = std::string(piece);
  used_[index] = true;
  map_.Add(piece, id);
  return OkStatus();
}

Status Vocabulary::Replace(std::string_view piece, TokenId id) {
  if (id >= 0 && static_cast<size_t>(id) < used_.size() && used_[static_cast<size_t>(id)]) {
    pieces_[static_cast<size_t>(id)] = std::string(piece);
    map_.Add(piece, id);
    return OkStatus();
  }
  return Add(piece, id);
}

}  // namespace rag
