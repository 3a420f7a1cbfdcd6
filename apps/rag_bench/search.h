// rag-bench search: builds the systems, lets them take turns, reports.
#pragma once

#include "apps/rag_bench/options.h"
#include "lib/base/cancel.h"

namespace rag::bench {

// Returns the exit code; errors are printed.
int RunSearch(const SearchBenchOptions& options, const CancelToken& cancel);

}  // namespace rag::bench
