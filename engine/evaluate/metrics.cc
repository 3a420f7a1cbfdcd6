#include "engine/evaluate/metrics.h"

#include <algorithm>
#include <cmath>

#include "lib/base/status.h"

namespace rag {

QueryMetrics MeasureQuery(std::span<const std::string> ranked, const Judgements& judgements,
                          size_t cutoff) {
  std::vector<int> ideal;
  for (const auto& [document, relevance] : judgements) {
    if (relevance > 0) ideal.push_back(relevance);
  }
  QueryMetrics metrics;
  if (ideal.empty()) return metrics;
  std::sort(ideal.begin(), ideal.end(), std::greater<>());
  double ideal_gain = 0;
  for (size_t i = 0; i < std::min(cutoff, ideal.size()); ++i) {
    ideal_gain += ideal[i] / std::log2(static_cast<double>(i) + 2);
  }
  double gain = 0;
  size_t found = 0;
  for (size_t i = 0; i < std::min(cutoff, ranked.size()); ++i) {
    const auto judged = judgements.find(ranked[i]);
    if (judged == judgements.end() || judged->second <= 0) continue;
    gain += judged->second / std::log2(static_cast<double>(i) + 2);
    if (found == 0) metrics.reciprocal_rank = 1.0 / static_cast<double>(i + 1);
    ++found;
  }
  metrics.ndcg = gain / ideal_gain;
  metrics.recall = static_cast<double>(found) / static_cast<double>(ideal.size());
  return metrics;
}

void MetricMeans::Add(std::span<const std::string> ranked, const Judgements& judgements) {
  ++queries_;
  for (const size_t cutoff : cutoffs_) {
    const QueryMetrics metrics = MeasureQuery(ranked, judgements, cutoff);
    sums_[StrCat("ndcg@", cutoff)] += metrics.ndcg;
    sums_[StrCat("recall@", cutoff)] += metrics.recall;
    sums_[StrCat("mrr@", cutoff)] += metrics.reciprocal_rank;
  }
}

std::map<std::string, double> MetricMeans::Means() const {
  std::map<std::string, double> means = sums_;
  for (auto& [name, value] : means) value /= static_cast<double>(std::max<size_t>(queries_, 1));
  return means;
}

}  // namespace rag
