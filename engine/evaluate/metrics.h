// Retrieval metrics as trec_eval defines them.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace rag {

// Document -> graded relevance; 0 and less: judged, not relevant.
using Judgements = std::unordered_map<std::string, int>;

// Of one query; `ranked` are document keys, best first, each once.
struct QueryMetrics {
  double ndcg = 0;             // ndcg_cut: gain = relevance, discount log2(rank + 1)
  double recall = 0;           // recall_k: relevant documents in the first k / all relevant
  double reciprocal_rank = 0;  // of the first relevant document in the first k; 0: none there
};
QueryMetrics MeasureQuery(std::span<const std::string> ranked, const Judgements& judgements,
                          size_t cutoff);

// Means over queries of "ndcg@k", "recall@k" and "mrr@k" for every cutoff.
class MetricMeans {
 public:
  explicit MetricMeans(std::vector<size_t> cutoffs) : cutoffs_(std::move(cutoffs)) {}
  void Add(std::span<const std::string> ranked, const Judgements& judgements);
  std::map<std::string, double> Means() const;
  size_t queries() const { return queries_; }

 private:
  std::vector<size_t> cutoffs_;
  std::map<std::string, double> sums_;
  size_t queries_ = 0;
};

}  // namespace rag
