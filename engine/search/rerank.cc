#include "engine/search/rerank.h"

#include <algorithm>
#include <span>
#include <utility>

#include "embed/late_interaction.h"
#include "engine/record.h"

namespace rag {

std::string RerankText(const Hit& hit) {
  return ContextualText(hit.title, hit.headings, hit.text, kMaxContextBytes);
}

namespace {

// The fingerprint of the late interaction model whose token vectors the chunks' attachments are;
// "": they have none.
Result<std::string> TokenVectorsOf(const CollectionConfig& config) {
  if (!config.attachments) return std::string();
  RAG_ASSIGN_OR_RETURN(const CollectionProperties properties, UnpackProperties(config));
  return properties.token_fingerprint;
}

// By the token vectors of the hits' chunks, all of which are there. False: not all are.
Result<bool> ScoreKept(const LateInteraction& model, const Collection& collection,
                       std::string_view query, std::span<const Hit> hits,
                       std::vector<float>& scores, const CancelToken* cancel) {
  const auto read = [&](size_t i) -> Result<Matrix> {
    RAG_ASSIGN_OR_RETURN(const std::string bytes, collection.GetAttachment(hits[i].chunk_id));
    Matrix vectors;
    if (UnpackTokenVectors(bytes, vectors)) return vectors;
    return DataLossError("collection '", collection.config().name, "': the token vectors of chunk ",
                         hits[i].chunk_id, " are damaged");
  };
  Result<std::vector<float>> scored = model.ScoreVectors(query, hits.size(), read, cancel);
  if (scored.status().code() == StatusCode::kNotFound) return false;
  RAG_ASSIGN_OR_RETURN(scores, std::move(scored));
  return true;
}

Status ScoreHits(const Reranker& reranker, const Collection& collection, std::string_view query,
                 std::span<const Hit> hits, std::vector<float>& scores, const CancelToken* cancel) {
  const auto* late = dynamic_cast<const LateInteraction*>(&reranker);
  if (late != nullptr) {
    RAG_ASSIGN_OR_RETURN(const std::string kept, TokenVectorsOf(collection.config()));
    if (kept == late->info().fingerprint) {
      RAG_ASSIGN_OR_RETURN(const bool scored,
                           ScoreKept(*late, collection, query, hits, scores, cancel));
      if (scored) return OkStatus();
    }
  }
  std::vector<std::string> texts;
  texts.reserve(hits.size());
  for (const Hit& hit : hits) texts.push_back(RerankText(hit));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  RAG_ASSIGN_OR_RETURN(RerankScores scored, reranker.Score(query, views, cancel));
  scores = std::move(scored.scores);
  return OkStatus();
}

}  // namespace

Status RerankHits(const Reranker& reranker, const Collection& collection, std::string_view query,
                  std::vector<Hit>& hits, const CancelToken* cancel) {
  std::vector<float> scores;
  RAG_RETURN_IF_ERROR(ScoreHits(reranker, collection, query, hits, scores, cancel));
  for (size_t i = 0; i < hits.size(); ++i) hits[i].score = scores[i];
  std::stable_sort(hits.begin(), hits.end(),
                   [](const Hit& a, const Hit& b) { return a.score > b.score; });
  for (size_t i = 0; i < hits.size(); ++i) hits[i].rank = i + 1;
  return OkStatus();
}

}  // namespace rag
