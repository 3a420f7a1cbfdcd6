// hnswlib behind a wall: its functions are not inline and its instruction set is the compiler's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace rag::bench {

class PeerHnswlib {
 public:
  PeerHnswlib(size_t dim, size_t capacity, size_t m, size_t ef_construction);
  ~PeerHnswlib();
  void Add(const float* vector, size_t label);
  // Labels of the k nearest by squared distance, in no order.
  void Search(const float* query, size_t k, size_t ef, std::vector<size_t>& labels);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rag::bench
