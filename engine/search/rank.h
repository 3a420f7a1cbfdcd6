// From a question to ranked chunks, and from those to hits.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "embed/encoder.h"
#include "embed/reranker.h"
#include "embed/sparse_encoder.h"
#include "engine/search.h"
#include "engine/search/fuse.h"
#include "index/store.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

inline constexpr size_t kMaxSearchK = 10'000;

// The models that an engine was opened with, loaded or not.
struct HasModels {
  bool encoder = false;
  bool sparse = false;
};

// The lists that a search ranks by: one, or those that are fused.
struct SearchPlan {
  bool dense = false;
  bool lexical = false;
  bool sparse = false;
};

// What a search of this collection ranks by: hybrid is lexical, and what else the collection has
// vectors and the engine a model for. Errors: failed_precondition for a mode that lacks either.
Result<SearchPlan> PlanSearch(const CollectionConfig& config, const HasModels& has,
                              SearchMode mode);

// Bounds of every number in the request, and a query that is not empty. Errors: invalid_argument.
Status CheckSearchRequest(const SearchRequest& request);
// The same without query and k.
Status CheckSearchOptions(const SearchRequest& request);

// The query as the plan's lists need it.
struct QueryVectors {
  std::span<const float> dense;  // [dim]
  const SparseVector* sparse = nullptr;
};

// The request's best chunks, at most request.k, best first. A single list's scores are its own;
// filter may be null.
Result<std::vector<RankedChunk>> RankChunks(const Collection& collection,
                                            const SearchRequest& request, const SearchPlan& plan,
                                            const QueryVectors& query, const Filter* filter);

// What a search computes with; borrowed.
struct SearchModels {
  const Encoder* encoder = nullptr;       // needed for a dense plan
  const SparseEncoder* sparse = nullptr;  // needed for a sparse plan
  const Reranker* reranker = nullptr;     // needed when request.rerank_top is not 0
};

// The whole of a search. `cancel` ends the encoding and the reranking; may be null.
Result<SearchResponse> SearchCollection(const Collection& collection, const SearchModels& models,
                                        const SearchRequest& request, const SearchPlan& plan,
                                        const CancelToken* cancel);

}  // namespace rag
