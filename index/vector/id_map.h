// IdMap: the caller's ids -> slots. Open addressing with linear probing and backward-shift deletion
// (Knuth, The Art of Computer Programming 3, 6.4, algorithm R), so that removals leave nothing
// behind. Not thread-safe.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace rag {

class IdMap {
 public:
  static constexpr uint32_t kNone = 0xFFFFFFFF;

  size_t size() const { return size_; }
  size_t memory_bytes() const { return entries_.capacity() * sizeof(Entry); }

  // The slot of `id`, or kNone.
  uint32_t Find(uint64_t id) const {
    if (entries_.empty()) return kNone;
    for (size_t at = Home(id);; at = (at + 1) & mask_) {
      if (entries_[at].slot == kNone) return kNone;
      if (entries_[at].id == id) return entries_[at].slot;
    }
  }

  // Sets the slot of `id` and returns the one it had, or kNone.
  uint32_t Put(uint64_t id, uint32_t slot) {
    if ((size_ + 1) * 4 > entries_.size() * 3) Grow(entries_.empty() ? 16 : entries_.size() * 2);
    for (size_t at = Home(id);; at = (at + 1) & mask_) {
      Entry& entry = entries_[at];
      if (entry.slot == kNone) {
        entry = {id, slot};
        ++size_;
        return kNone;
      }
      if (entry.id == id) {
        const uint32_t old = entry.slot;
        entry.slot = slot;
        return old;
      }
    }
  }

  // Removes `id` and returns its slot, or kNone.
  uint32_t Erase(uint64_t id) {
    if (entries_.empty()) return kNone;
    size_t hole = Home(id);
    for (;; hole = (hole + 1) & mask_) {
      if (entries_[hole].slot == kNone) return kNone;
      if (entries_[hole].id == id) break;
    }
    const uint32_t slot = entries_[hole].slot;
    for (size_t at = (hole + 1) & mask_; entries_[at].slot != kNone; at = (at + 1) & mask_) {
      // An entry may move back to the hole unless its home lies between the two.
      const size_t home = Home(entries_[at].id);
      if (((at - home) & mask_) >= ((at - hole) & mask_)) {
        entries_[hole] = entries_[at];
        hole = at;
      }
    }
    entries_[hole].slot = kNone;
    --size_;
    return slot;
  }

  void Reserve(size_t count) {
    const size_t wanted = std::bit_ceil(count + count / 2 + 16);
    if (wanted > entries_.size()) Grow(wanted);
  }

  template <class F>
  void ForEach(F f) const {
    for (const Entry& entry : entries_) {
      if (entry.slot != kNone) f(entry.id, entry.slot);
    }
  }

 private:
  struct Entry {
    uint64_t id = 0;
    uint32_t slot = kNone;
  };

  // Fibonacci hashing: ids are often consecutive or multiples of a power of two.
  size_t Home(uint64_t id) const { return (id * 0x9E3779B97F4A7C15u) >> shift_; }

  void Grow(size_t capacity) {
    std::vector<Entry> old(capacity);
    old.swap(entries_);
    mask_ = capacity - 1;
    shift_ = 64 - std::countr_zero(capacity);
    for (const Entry& entry : old) {
      if (entry.slot == kNone) continue;
      size_t at = Home(entry.id);
      while (entries_[at].slot != kNone) at = (at + 1) & mask_;
      entries_[at] = entry;
    }
  }

  std::vector<Entry> entries_;  // a power of two of them, or none
  size_t mask_ = 0;
  int shift_ = 63;
  size_t size_ = 0;
};

}  // namespace rag
