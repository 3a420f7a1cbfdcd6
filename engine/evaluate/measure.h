// Runs judged queries against a collection and measures what it finds.
#pragma once

#include <span>

#include "engine/evaluate.h"
#include "engine/evaluate/beir.h"
#include "engine/search/rank.h"
#include "index/store.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

// Errors: invalid_argument naming a cutoff that is not 1 to 1,000, an option or the filter's place.
Status CheckEvaluation(const EvaluateRequest& request);

// Of a request that CheckEvaluation takes. A document ranks where its best chunk does. Of a query's
// chunks the first search.rerank_top are reranked and stay before the others. Fills metrics,
// queries and search_seconds. Errors: cancelled.
Status MeasureCollection(std::span<const BeirQuery> queries, const Collection& collection,
                         const SearchModels& models, const EvaluateRequest& request,
                         const SearchPlan& plan, EvaluateReport& report, const CancelToken* cancel);

}  // namespace rag
