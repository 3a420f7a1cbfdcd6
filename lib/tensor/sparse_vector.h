// Sparse vectors over a vocabulary: a weight for some of its tokens.
#pragma once

#include <cstdint>
#include <vector>

namespace rag {

struct SparseVector {
  struct Entry {
    uint32_t token = 0;
    float weight = 0;  // finite, > 0
  };
  std::vector<Entry> entries;  // in order of their tokens, each once
};

// The sum of the products of what two vectors share.
float DotProduct(const SparseVector& a, const SparseVector& b);

}  // namespace rag
