// WalkScratch: what a walk through the graph needs, kept between walks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "index/vector/hnsw_index.h"

namespace rag {

// The nodes of a walk that were seen. A node's tag equals the walk's number when it was, so that a
// new walk clears nothing but for every 255th.
class VisitedSet {
 public:
  void Begin(size_t slots) {
    if (tags_.size() < slots) tags_.resize(slots + slots / 4 + 64, 0);
    if (++walk_ == 0) {
      std::fill(tags_.begin(), tags_.end(), 0);
      walk_ = 1;
    }
  }
  // True the first time. A slot made since Begin counts as visited: the walk can do without it.
  bool Visit(uint32_t slot) {
    if (slot >= tags_.size() || tags_[slot] == walk_) return false;
    tags_[slot] = walk_;
    return true;
  }
  bool Visited(uint32_t slot) const { return slot >= tags_.size() || tags_[slot] == walk_; }

 private:
  std::vector<uint8_t> tags_;
  uint8_t walk_ = 0;
};

// The nearest nodes found, sorted, each expanded or not yet. Insertion moves the tail: at the
// widths that walks have (up to some hundreds) that is faster than two heaps.
class CandidatePool {
 public:
  // Keeps `capacity` nodes, of which the nearest `width` are expanded.
  void Begin(size_t width, size_t capacity) {
    items_.resize(capacity + 1);
    width_ = width;
    capacity_ = capacity;
    size_ = 0;
    next_ = 0;
  }
  bool Admits(float distance) const {
    return size_ < capacity_ || distance < items_[size_ - 1].distance;
  }
  void Insert(float distance, uint32_t slot) {
    if (!Admits(distance)) return;
    size_t low = 0, high = size_;
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (items_[middle].distance <= distance) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (size_ < capacity_) ++size_;
    std::memmove(&items_[low + 1], &items_[low], (size_ - 1 - low) * sizeof(Candidate));
    items_[low] = {distance, slot};
    if (low < next_) next_ = low;
  }
  // The nearest one that is not expanded, now expanded; kNoSlot when there is none.
  uint32_t Next() {
    if (Peek() == kNoSlot) return kNoSlot;
    const uint32_t slot = items_[next_].slot;
    items_[next_++].slot |= kExpanded;
    return slot;
  }
  // What Next will return if nothing is inserted before.
  uint32_t Peek() {
    const size_t end = size_ < width_ ? size_ : width_;
    while (next_ < end && (items_[next_].slot & kExpanded) != 0) ++next_;
    return next_ < end ? items_[next_].slot : kNoSlot;
  }
  size_t size() const { return size_; }
  Candidate at(size_t i) const { return {items_[i].distance, items_[i].slot & ~kExpanded}; }

 private:
  // Slots are below kMaxChunks << 14 = 2^27.
  static constexpr uint32_t kExpanded = uint32_t{1} << 31;
  std::vector<Candidate> items_;
  size_t width_ = 0;
  size_t capacity_ = 0;
  size_t size_ = 0;
  size_t next_ = 0;  // everything before it is expanded
};

class WalkScratch {
 public:
  VisitedSet visited;
  VisitedSet refused;  // asked about and not allowed
  CandidatePool pool;
  std::vector<uint32_t> fresh;  // a node's neighbours that were not visited
  std::vector<float> distances;
  std::vector<Candidate> candidates;
  Origin origin;
};

struct HnswIndex::ScratchHandle {
  explicit ScratchHandle(const HnswIndex& owner) : index(owner) {
    std::lock_guard lock(index.scratch_mutex_);
    if (index.scratch_.empty()) {
      scratch = std::make_unique<WalkScratch>();
    } else {
      scratch = std::move(index.scratch_.back());
      index.scratch_.pop_back();
    }
  }
  ~ScratchHandle() {
    std::lock_guard lock(index.scratch_mutex_);
    index.scratch_.push_back(std::move(scratch));
  }
  ScratchHandle(const ScratchHandle&) = delete;
  ScratchHandle& operator=(const ScratchHandle&) = delete;

  const HnswIndex& index;
  std::unique_ptr<WalkScratch> scratch;
};

}  // namespace rag
