// Evaluation on data in BEIR's layout: corpus.jsonl, queries.jsonl, qrels (…/test.tsv or
// qrels.tsv).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/search.h"
#include "lib/base/status.h"

namespace rag {

struct EvaluateRequest {
  std::string folder;
  std::vector<size_t> cutoffs = {10, 100};
  SearchRequest search;  // how each query is searched; its query and k are not used
};

struct EvaluateReport {
  // "ndcg@10", "recall@10", "mrr@10", …: means over the judged queries (trec_eval's definitions).
  std::map<std::string, double> metrics;
  uint64_t queries = 0;
  uint64_t documents = 0;
  double index_seconds = 0;
  double search_seconds = 0;
  double seconds = 0;
};

}  // namespace rag
