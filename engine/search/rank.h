// From a question to ranked chunks, and from those to hits.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "embed/encoder.h"
#include "embed/reranker.h"
#include "engine/search.h"
#include "engine/search/fuse.h"
#include "index/store.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

inline constexpr size_t kMaxSearchK = 10'000;

// The mode that a search of this collection really runs in: hybrid becomes lexical when the
// collection has no vectors or the engine no encoder. Errors: failed_precondition for dense then.
Result<SearchMode> EffectiveMode(const CollectionConfig& config, bool has_encoder, SearchMode mode);

// Bounds of every number in the request, and a query that is not empty. Errors: invalid_argument.
Status CheckSearchRequest(const SearchRequest& request);
// The same without query and k.
Status CheckSearchOptions(const SearchRequest& request);

// The request's best chunks, at most request.k, best first. `mode` is an effective mode;
// `query_vector` [dim] is read unless it is kLexical; filter may be null.
Result<std::vector<RankedChunk>> RankChunks(const Collection& collection,
                                            const SearchRequest& request, SearchMode mode,
                                            std::span<const float> query_vector,
                                            const Filter* filter);

// What a search computes with; borrowed.
struct SearchModels {
  const Encoder* encoder = nullptr;    // needed unless the mode is kLexical
  const Reranker* reranker = nullptr;  // needed when request.rerank_top is not 0
};

// The whole of a search. `cancel` ends the encoding and the reranking; may be null.
Result<SearchResponse> SearchCollection(const Collection& collection, const SearchModels& models,
                                        const SearchRequest& request, SearchMode mode,
                                        const CancelToken* cancel);

}  // namespace rag
