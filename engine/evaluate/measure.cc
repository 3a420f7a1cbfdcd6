#include "engine/evaluate/measure.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <unordered_set>
#include <utility>

#include "engine/record.h"
#include "engine/search/rank.h"
#include "engine/search/rerank.h"

namespace rag {
namespace {

constexpr size_t kMaxCutoff = 1'000;
constexpr size_t kQueriesAtOnce = 256;

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

class Measurer {
 public:
  Measurer(const Collection& collection, const EvaluateRequest& request, const SearchPlan& plan,
           size_t depth, const Filter* filter, const Reranker* reranker, const CancelToken* cancel)
      : collection_(collection),
        plan_(plan),
        depth_(depth),
        filter_(filter),
        reranker_(reranker),
        cancel_(cancel),
        search_(request.search) {}

  // The best `depth` documents. Documents of several chunks take several places of the ranking, so
  // it is read deeper until there are enough.
  Result<std::vector<std::string>> Rank(const BeirQuery& query, const QueryVectors& vectors) {
    search_.query = query.text;
    reranked_.clear();
    const size_t candidates = reranker_ == nullptr ? 0 : search_.rerank_top;
    for (size_t k = std::max(depth_ * 2, candidates);; k *= 2) {
      search_.k = std::min(k, kMaxSearchK);
      RAG_ASSIGN_OR_RETURN(std::vector<RankedChunk> ranked,
                           RankChunks(collection_, search_, plan_, vectors, filter_));
      if (reranker_ != nullptr) RAG_RETURN_IF_ERROR(Rerank(query.text, ranked));
      std::vector<std::string> documents;
      std::unordered_set<std::string_view> seen;
      for (const RankedChunk& chunk : ranked) {
        RAG_ASSIGN_OR_RETURN(const std::string* key, DocumentOf(chunk.id));
        if (!seen.insert(*key).second) continue;
        documents.push_back(*key);
        if (documents.size() == depth_) break;
      }
      const bool all_read = ranked.size() < search_.k || search_.k == kMaxSearchK;
      if (documents.size() == depth_ || all_read) return documents;
    }
  }

 private:
  // Reading deeper finds the same first chunks: they are scored once.
  Status Rerank(std::string_view query, std::vector<RankedChunk>& ranked) {
    const size_t count = std::min(search_.rerank_top, ranked.size());
    if (reranked_.empty()) {
      for (size_t i = 0; i < count; ++i) {
        RAG_ASSIGN_OR_RETURN(ChunkRecord record, collection_.GetChunk(ranked[i].id));
        RAG_ASSIGN_OR_RETURN(Hit hit, UnpackHit(std::move(record)));
        reranked_.push_back(std::move(hit));
      }
      RAG_RETURN_IF_ERROR(RerankHits(*reranker_, collection_, query, reranked_, cancel_));
    }
    std::unordered_set<ChunkId> moved;
    std::vector<RankedChunk> reordered;
    for (const Hit& hit : reranked_) {
      reordered.push_back({hit.chunk_id, hit.score});
      moved.insert(hit.chunk_id);
    }
    for (const RankedChunk& chunk : ranked) {
      if (!moved.contains(chunk.id)) reordered.push_back(chunk);
    }
    ranked = std::move(reordered);
    return OkStatus();
  }

  Result<const std::string*> DocumentOf(ChunkId id) {
    const auto known = documents_.find(id);
    if (known != documents_.end()) return &known->second;
    RAG_ASSIGN_OR_RETURN(ChunkRecord record, collection_.GetChunk(id));
    return &documents_.emplace(id, std::move(record.document_key)).first->second;
  }

  const Collection& collection_;
  const SearchPlan plan_;
  const size_t depth_;
  const Filter* const filter_;
  const Reranker* const reranker_;  // null: not reranked
  const CancelToken* const cancel_;
  SearchRequest search_;
  std::vector<Hit> reranked_;  // of the query
  std::unordered_map<ChunkId, std::string> documents_;
};

}  // namespace

Status CheckEvaluation(const EvaluateRequest& request) {
  RAG_RETURN_IF_ERROR(CheckSearchOptions(request.search));
  if (request.cutoffs.empty()) return InvalidArgumentError("no cutoff is given");
  for (const size_t cutoff : request.cutoffs) {
    if (cutoff == 0 || cutoff > kMaxCutoff) {
      return InvalidArgumentError("cutoff ", cutoff, " is not between 1 and ", kMaxCutoff);
    }
  }
  return request.search.filter.empty() ? OkStatus() : Filter::Parse(request.search.filter).status();
}

Status MeasureCollection(std::span<const BeirQuery> queries, const Collection& collection,
                         const SearchModels& models, const EvaluateRequest& request,
                         const SearchPlan& plan, EvaluateReport& report,
                         const CancelToken* cancel) {
  std::optional<Filter> filter;
  if (!request.search.filter.empty()) {
    RAG_ASSIGN_OR_RETURN(Filter parsed, Filter::Parse(request.search.filter));
    filter.emplace(std::move(parsed));
  }
  const auto start = std::chrono::steady_clock::now();
  const size_t depth = *std::max_element(request.cutoffs.begin(), request.cutoffs.end());
  Measurer measurer(collection, request, plan, depth, filter.has_value() ? &*filter : nullptr,
                    request.search.rerank_top == 0 ? nullptr : models.reranker, cancel);
  MetricMeans means(request.cutoffs);
  for (size_t begin = 0; begin < queries.size(); begin += kQueriesAtOnce) {
    const size_t count = std::min(kQueriesAtOnce, queries.size() - begin);
    std::vector<std::string_view> texts;
    for (size_t i = 0; i < count; ++i) texts.push_back(queries[begin + i].text);
    Embeddings embeddings;
    if (plan.dense) {
      RAG_ASSIGN_OR_RETURN(embeddings, models.encoder->Encode(texts, TextRole::kQuery, cancel));
    }
    SparseEmbeddings sparse;
    if (plan.sparse) {
      RAG_ASSIGN_OR_RETURN(sparse, models.sparse->Encode(texts, TextRole::kQuery, cancel));
    }
    for (size_t i = 0; i < count; ++i) {
      if (cancel != nullptr && cancel->cancelled()) return CancelledError("cancelled");
      const BeirQuery& query = queries[begin + i];
      QueryVectors vectors;
      if (plan.dense) vectors.dense = embeddings.vectors.row(i);
      if (plan.sparse) vectors.sparse = &sparse.vectors[i];
      RAG_ASSIGN_OR_RETURN(const std::vector<std::string> ranked, measurer.Rank(query, vectors));
      means.Add(ranked, query.judgements);
    }
  }
  report.metrics = means.Means();
  report.queries = means.queries();
  report.search_seconds = SecondsSince(start);
  return OkStatus();
}

}  // namespace rag
