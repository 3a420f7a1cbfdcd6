// TopK: the k best of a stream, ties to the lower id.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "index/vector/slots.h"

namespace rag {

class TopK {
 public:
  explicit TopK(size_t k = 1) : k_(k) {}

  // The largest distance that can still get in.
  float bound() const {
    return heap_.size() < k_ ? std::numeric_limits<float>::infinity() : heap_.front().distance;
  }
  void Offer(float distance, uint64_t id) {
    const Item item{distance, id};
    if (heap_.size() < k_) {
      heap_.push_back(item);
      std::push_heap(heap_.begin(), heap_.end());
    } else if (item < heap_.front()) {
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.back() = item;
      std::push_heap(heap_.begin(), heap_.end());
    }
  }
  void Merge(const TopK& other) {
    for (const Item& item : other.heap_) Offer(item.distance, item.id);
  }
  // Best first; leaves the object empty.
  std::vector<Neighbor> Take() {
    std::sort_heap(heap_.begin(), heap_.end());
    std::vector<Neighbor> out;
    out.reserve(heap_.size());
    for (const Item& item : heap_) out.push_back({item.id, Slots::Score(item.distance)});
    heap_.clear();
    return out;
  }

 private:
  struct Item {
    float distance;
    uint64_t id;
    bool operator<(const Item& other) const {
      return distance < other.distance || (distance == other.distance && id < other.id);
    }
  };
  size_t k_;
  std::vector<Item> heap_;  // a max-heap: the worst first
};

}  // namespace rag
