// Found passages in the order of a cross-encoder.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "embed/reranker.h"
#include "engine/search.h"
#include "index/store.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

inline constexpr size_t kMaxRerankTop = 1'000;

// What the reranker reads of a hit: title and heading path before the passage, as in the indexes.
std::string RerankText(const Hit& hit);

// Scores every hit anew and sorts them by it, best first, equal ones in the order they had; ranks
// are set again. Errors: those of Reranker::Score, which leave the hits as they were.
// Token vectors that the collection keeps by this reranker are read instead of the passages.
Status RerankHits(const Reranker& reranker, const Collection& collection, std::string_view query,
                  std::vector<Hit>& hits, const CancelToken* cancel);

}  // namespace rag
