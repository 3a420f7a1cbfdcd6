// Runs judged queries against a collection and measures what it finds.
#pragma once

#include <span>

#include "embed/encoder.h"
#include "engine/evaluate.h"
#include "engine/evaluate/beir.h"
#include "index/store.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

// A document ranks where its best chunk does. `mode` is an effective mode (EffectiveMode); encoder
// is needed unless it is kLexical. Fills metrics, queries and search_seconds. Errors:
// invalid_argument naming a cutoff that is not 1 to 1,000; cancelled.
Status MeasureCollection(std::span<const BeirQuery> queries, const Collection& collection,
                         const Encoder* encoder, const EvaluateRequest& request, SearchMode mode,
                         EvaluateReport& report, const CancelToken* cancel);

}  // namespace rag
