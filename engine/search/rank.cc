#include "engine/search/rank.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "engine/check_text.h"
#include "engine/record.h"
#include "engine/search/rerank.h"
#include "lib/image/image.h"

namespace rag {
namespace {

// How deep each list is read before they are fused: a chunk that stands below this in both cannot
// reach the first places, and below it the ranks say little.
constexpr size_t kMinFusionDepth = 100;
constexpr size_t kFusionDepthFactor = 4;
constexpr size_t kMaxRrfK = 1'000'000;
// By how much more is ranked when a limit on documents left too few.
constexpr size_t kGroupingFactor = 4;

double MillisecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

std::vector<RankedChunk> AsRanked(const std::vector<Neighbor>& neighbors) {
  std::vector<RankedChunk> ranked;
  ranked.reserve(neighbors.size());
  for (const Neighbor& neighbor : neighbors) ranked.push_back({neighbor.id, neighbor.score});
  return ranked;
}

Status CheckWeight(std::string_view name, double weight) {
  if (std::isfinite(weight) && weight >= 0) return OkStatus();
  return InvalidArgumentError(name, " ", weight, " is not a number of at least 0");
}

}  // namespace

Result<SearchPlan> PlanSearch(const CollectionConfig& config, const HasModels& has,
                              SearchMode mode) {
  const bool dense = config.vectors.dim != 0 && has.encoder;
  const bool sparse = config.sparse_dim != 0 && has.sparse;
  switch (mode) {
    case SearchMode::kLexical:
      return SearchPlan{.lexical = true};
    case SearchMode::kHybrid:
      return SearchPlan{.dense = dense, .lexical = true, .sparse = sparse};
    case SearchMode::kDense:
      if (dense) return SearchPlan{.dense = true};
      return FailedPreconditionError(
          "dense search needs vectors, but ",
          config.vectors.dim != 0
              ? "this engine was opened without an encoder (encoder 'none')"
              : StrCat("collection '", config.name, "' was made without an encoder"));
    case SearchMode::kSparse:
      if (sparse) return SearchPlan{.sparse = true};
      return FailedPreconditionError(
          "sparse search needs sparse vectors, but ",
          config.sparse_dim != 0
              ? "this engine was opened without a sparse encoder"
              : StrCat("collection '", config.name, "' was made without a sparse encoder"));
  }
  return SearchPlan{};
}

Status CheckSearchRequest(const SearchRequest& request) {
  if (request.k == 0 || request.k > kMaxSearchK) {
    return InvalidArgumentError("k ", request.k, " is not between 1 and ", kMaxSearchK);
  }
  RAG_RETURN_IF_ERROR(CheckSearchOptions(request));
  const bool has_query = !IsBlank(request.query);
  if (request.image.empty()) {
    return has_query ? CheckUtf8("the query", request.query)
                     : InvalidArgumentError("the query is empty");
  }
  if (has_query) {
    return InvalidArgumentError("the query is a text or an image, and both are given");
  }
  if (request.mode == SearchMode::kLexical || request.mode == SearchMode::kSparse) {
    return InvalidArgumentError("an image has no words for mode '", SearchModeName(request.mode),
                                "'");
  }
  if (request.rerank_top != 0) {
    return InvalidArgumentError("a reranker reads texts: rerank_top is ", request.rerank_top,
                                " and the query is an image");
  }
  return OkStatus();
}

Status CheckSearchOptions(const SearchRequest& request) {
  if (request.rrf_k > kMaxRrfK) {
    return InvalidArgumentError("rrf_k ", request.rrf_k, " is over ", kMaxRrfK);
  }
  if (request.rerank_top > kMaxRerankTop) {
    return InvalidArgumentError("rerank_top ", request.rerank_top, " is over ", kMaxRerankTop);
  }
  if (request.rerank_top != 0 && request.k > kMaxRerankTop) {
    return InvalidArgumentError("k ", request.k, " is over ", kMaxRerankTop,
                                ", the most that is reranked");
  }
  RAG_RETURN_IF_ERROR(CheckWeight("dense_weight", request.dense_weight));
  RAG_RETURN_IF_ERROR(CheckWeight("lexical_weight", request.lexical_weight));
  RAG_RETURN_IF_ERROR(CheckWeight("sparse_weight", request.sparse_weight));
  // A score is at most their sum.
  const double sum = request.dense_weight + request.lexical_weight + request.sparse_weight;
  if (std::isfinite(sum)) return OkStatus();
  return InvalidArgumentError("dense_weight ", request.dense_weight, ", lexical_weight ",
                              request.lexical_weight, " and sparse_weight ", request.sparse_weight,
                              " are too large to be added up");
}

Result<std::vector<RankedChunk>> RankChunks(const Collection& collection,
                                            const SearchRequest& request, const SearchPlan& plan,
                                            const QueryVectors& query, const Filter* filter) {
  const bool fused = plan.dense + plan.lexical + plan.sparse > 1;
  const size_t depth =
      fused ? std::max(kMinFusionDepth, request.k * kFusionDepthFactor) : request.k;
  std::vector<Neighbor> found[3];
  std::vector<RankedList> lists;
  const auto add = [&](Result<std::vector<Neighbor>> result, double weight) -> Status {
    RAG_RETURN_IF_ERROR(result.status());
    std::vector<Neighbor>& kept = found[lists.size()];
    kept = std::move(result).value();
    lists.push_back({kept, weight});
    return OkStatus();
  };
  if (plan.dense) {
    RAG_RETURN_IF_ERROR(
        add(collection.SearchVectors(query.dense, depth, filter, request.ef_search, request.exact),
            request.dense_weight));
  }
  if (plan.lexical) {
    RAG_RETURN_IF_ERROR(
        add(collection.SearchLexical(request.query, depth, filter), request.lexical_weight));
  }
  if (plan.sparse) {
    RAG_RETURN_IF_ERROR(
        add(collection.SearchSparse(*query.sparse, depth, filter), request.sparse_weight));
  }
  if (!fused) return AsRanked(found[0]);
  return FuseReciprocalRanks(lists, request.rrf_k, request.k);
}

namespace {

Result<Embeddings> EncodeQuery(const Encoder& encoder, const SearchRequest& request,
                               const CancelToken* cancel) {
  if (request.image.empty()) {
    const std::string_view query = request.query;
    return encoder.Encode({&query, 1}, TextRole::kQuery, cancel);
  }
  RAG_ASSIGN_OR_RETURN(const Image image, DecodeImage(request.image, "the query's image"));
  return encoder.EncodeImages({&image, 1}, cancel);
}

// The first k of the ranked chunks that are there, as the limit on a document allows.
Result<std::vector<Hit>> TakeHits(const Collection& collection, const SearchRequest& request,
                                  std::span<const RankedChunk> ranked) {
  std::vector<Hit> hits;
  std::map<std::string, size_t> taken;  // of a document
  for (const RankedChunk& chunk : ranked) {
    if (hits.size() == request.k) break;
    Result<ChunkRecord> record = collection.GetChunk(chunk.id);
    if (!record.ok()) {
      // Removed by another caller since it was found.
      if (record.status().code() == StatusCode::kNotFound) continue;
      return record.status();
    }
    if (request.per_document != 0 && ++taken[record->document_key] > request.per_document) continue;
    RAG_ASSIGN_OR_RETURN(Hit hit, UnpackHit(std::move(record).value()));
    hit.rank = hits.size() + 1;
    hit.score = chunk.score;
    hits.push_back(std::move(hit));
  }
  return hits;
}

}  // namespace

Result<SearchResponse> SearchCollection(const Collection& collection, const SearchModels& models,
                                        const SearchRequest& wanted, const SearchPlan& plan,
                                        const CancelToken* cancel) {
  const auto start = std::chrono::steady_clock::now();
  RAG_RETURN_IF_ERROR(CheckSearchRequest(wanted));
  SearchRequest request = wanted;
  request.k = std::max(wanted.k, wanted.rerank_top);
  std::optional<Filter> filter;
  if (!request.filter.empty()) {
    RAG_ASSIGN_OR_RETURN(Filter parsed, Filter::Parse(request.filter));
    filter.emplace(std::move(parsed));
  }
  SearchResponse response;
  Embeddings embeddings;
  SparseEmbeddings sparse;
  QueryVectors query;
  if (plan.dense) {
    RAG_ASSIGN_OR_RETURN(embeddings, EncodeQuery(*models.encoder, request, cancel));
    query.dense = embeddings.vectors.row(0);
  }
  if (plan.sparse) {
    const std::string_view text = request.query;
    RAG_ASSIGN_OR_RETURN(sparse, models.sparse->Encode({&text, 1}, TextRole::kQuery, cancel));
    query.sparse = &sparse.vectors.front();
  }
  if (plan.dense || plan.sparse) response.encode_ms = MillisecondsSince(start);
  // With a limit a document's further passages make room for others: more are ranked until there
  // are enough.
  SearchRequest deeper = request;
  for (;; deeper.k = std::min(deeper.k * kGroupingFactor, kMaxSearchK)) {
    RAG_ASSIGN_OR_RETURN(
        const std::vector<RankedChunk> ranked,
        RankChunks(collection, deeper, plan, query, filter.has_value() ? &*filter : nullptr));
    RAG_ASSIGN_OR_RETURN(response.hits, TakeHits(collection, request, ranked));
    const bool more = request.per_document != 0 && ranked.size() == deeper.k &&
                      response.hits.size() < request.k && deeper.k < kMaxSearchK;
    if (!more) break;
  }
  if (wanted.rerank_top != 0) {
    const auto rerank_start = std::chrono::steady_clock::now();
    RAG_RETURN_IF_ERROR(
        RerankHits(*models.reranker, collection, request.query, response.hits, cancel));
    if (response.hits.size() > wanted.k) response.hits.resize(wanted.k);
    response.rerank_ms = MillisecondsSince(rerank_start);
  }
  if (response.hits.empty() && filter.has_value()) {
    RAG_ASSIGN_OR_RETURN(response.note, collection.ExplainFilter(*filter));
  }
  response.took_ms = MillisecondsSince(start);
  return response;
}

}  // namespace rag
