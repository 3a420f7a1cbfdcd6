#include "engine/search/fuse.h"

#include <algorithm>
#include <unordered_map>

namespace rag {

std::vector<RankedChunk> FuseReciprocalRanks(std::span<const RankedList> lists, size_t rrf_k,
                                             size_t k) {
  std::unordered_map<uint64_t, double> scores;
  for (const RankedList& list : lists) {
    for (size_t i = 0; i < list.neighbors.size(); ++i) {
      scores[list.neighbors[i].id] += list.weight / static_cast<double>(rrf_k + i + 1);
    }
  }
  std::vector<RankedChunk> fused;
  fused.reserve(scores.size());
  for (const auto& [id, score] : scores) fused.push_back({id, score});
  const auto better = [](const RankedChunk& a, const RankedChunk& b) {
    return a.score != b.score ? a.score > b.score : a.id < b.id;
  };
  const size_t kept = std::min(k, fused.size());
  std::partial_sort(fused.begin(), fused.begin() + static_cast<ptrdiff_t>(kept), fused.end(),
                    better);
  fused.resize(kept);
  return fused;
}

}  // namespace rag
