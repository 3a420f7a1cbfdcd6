#include "index/recall.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

namespace rag {
namespace {

constexpr double kScoreSlack = 1e-6;  // of the score

}  // namespace

std::vector<uint64_t> DrawIds(std::vector<uint64_t> ids, size_t count, uint64_t seed) {
  std::sort(ids.begin(), ids.end());
  count = std::min(count, ids.size());
  std::mt19937_64 random(seed);
  for (size_t i = 0; i < count; ++i) std::swap(ids[i], ids[i + random() % (ids.size() - i)]);
  ids.resize(count);
  return ids;
}

double RecallBound(double last) { return last - kScoreSlack * std::max(1.0, std::fabs(last)); }

void DropSelf(std::vector<Neighbor>& found, uint64_t self, size_t k) {
  std::erase_if(found, [&](const Neighbor& neighbor) { return neighbor.id == self; });
  if (found.size() > k) found.resize(k);
}

size_t CountFound(const std::vector<Neighbor>& found, const std::vector<Neighbor>& exact) {
  if (exact.empty()) return 0;
  const double bound = RecallBound(exact.back().score);
  const auto good = std::count_if(found.begin(), found.end(), [&](const Neighbor& neighbor) {
    return neighbor.score >= bound;
  });
  return std::min(static_cast<size_t>(good), exact.size());
}

}  // namespace rag
