// IndexSpec: one index to be measured, as --index names it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "index/tune.h"
#include "index/vector_index.h"

namespace rag::bench {

struct IndexSpec {
  std::string name;              // as written, "hnsw:m=32"
  VectorIndexOptions options;    // kind and what the keys say; dim and metric are the data's
  std::vector<size_t> widths;    // sweep=10/16/24; empty: the kind's own
  std::optional<TuneGoal> goal;  // "auto:…": the options follow from this and the data
};

// "flat,hnsw:m=16,ef_construction=200,ivf": specs of ParseIndexSpec (index/index_spec.h) one after
// another; a part that begins with no kind's name belongs to the spec before it. The key sweep is
// this program's. What is not said is as in base. "auto:recall=0.95" is a goal (index/tune.h).
// Errors: invalid_argument naming the part, also when a name stands twice.
Result<std::vector<IndexSpec>> ParseIndexSpecs(std::string_view text,
                                               const VectorIndexOptions& base = {});

// "10,16,24" or "10/16/24": numbers of 0 .. 65,535.
Result<std::vector<size_t>> ParseWidths(std::string_view text);

// The widths that are searched when nothing else is said. {0}: the kind has none.
std::vector<size_t> DefaultWidths(IndexKind kind);
// What the kind calls a width: "ef", "probes"; empty: the kind has none.
std::string_view WidthName(IndexKind kind);

}  // namespace rag::bench
