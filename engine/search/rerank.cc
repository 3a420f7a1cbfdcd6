#include "engine/search/rerank.h"

#include <algorithm>

#include "engine/record.h"

namespace rag {

std::string RerankText(const Hit& hit) {
  return ContextualText(hit.title, hit.headings, hit.text, kMaxContextBytes);
}

Status RerankHits(const Reranker& reranker, std::string_view query, std::vector<Hit>& hits,
                  const CancelToken* cancel) {
  std::vector<std::string> texts;
  texts.reserve(hits.size());
  for (const Hit& hit : hits) texts.push_back(RerankText(hit));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  RAG_ASSIGN_OR_RETURN(const RerankScores scored, reranker.Score(query, views, cancel));
  for (size_t i = 0; i < hits.size(); ++i) hits[i].score = scored.scores[i];
  std::stable_sort(hits.begin(), hits.end(),
                   [](const Hit& a, const Hit& b) { return a.score > b.score; });
  for (size_t i = 0; i < hits.size(); ++i) hits[i].rank = i + 1;
  return OkStatus();
}

}  // namespace rag
