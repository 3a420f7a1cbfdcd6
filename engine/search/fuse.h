// Reciprocal-rank fusion of ranked lists.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "index/vector_index.h"

namespace rag {

struct RankedChunk {
  uint64_t id = 0;
  double score = 0;
  bool operator==(const RankedChunk&) const = default;
};

struct RankedList {
  std::span<const Neighbor> neighbors;  // best first
  double weight = 1.0;
};

// Cormack, Clarke & Büttcher 2009 (SIGIR), with weights: score(d) = sum over the lists that hold d
// of weight / (rrf_k + rank), ranks from 1. At most k, best first, ties by lower id.
std::vector<RankedChunk> FuseReciprocalRanks(std::span<const RankedList> lists, size_t rrf_k,
                                             size_t k);

}  // namespace rag
