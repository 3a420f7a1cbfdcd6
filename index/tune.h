// TuneIndex: which kind of index, codes and search width find enough within a memory, by measuring
// them on a sample.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "index/vector_index.h"
#include "lib/base/cancel.h"
#include "lib/base/progress.h"
#include "lib/base/status.h"
#include "lib/tensor/tensor.h"

namespace rag {

struct TuneGoal {
  double recall = 0.95;     // of the k nearest, 0.5 .. 0.999
  size_t memory_bytes = 0;  // that the index may take; 0: any
  size_t k = 10;            // 1 .. 100
  bool operator==(const TuneGoal&) const = default;
};

// "auto" or "auto:recall=0.95,memory=512mb,k=10"; nullopt when the text names another kind.
// Errors: invalid_argument naming the part.
Result<std::optional<TuneGoal>> ParseTuneGoal(std::string_view text);
std::string FormatTuneGoal(const TuneGoal& goal);

// One way to index the vectors, with the least width that was enough, or the most that was tried.
struct TuneTrial {
  std::string spec;            // as ParseIndexSpec takes it, the width included
  VectorIndexOptions options;  // the same
  bool measured = false;       // else it was left out, since its vectors alone are over the memory
  double recall = 0;
  double queries_per_second = 0;  // one query at a time, reckoned from the sample's for all rows
  double build_seconds = 0;       // of the sample
  size_t memory_bytes = 0;        // reckoned from the sample's for all rows
  size_t disk_bytes = 0;          // of vectors on disk, likewise
  bool finds_enough = false;
  bool fits = false;
};

struct TuneReport {
  TuneGoal goal;
  size_t rows = 0;         // that the index is for
  size_t sample_rows = 0;  // that the trials held
  size_t queries = 0;      // rows held out
  std::vector<TuneTrial> trials;
  size_t picked = 0;  // of trials: the fastest that finds enough and fits
};

struct TuneOptions {
  TuneGoal goal;
  // Dimension, metric, element type and folder; the rest is what is looked for.
  VectorIndexOptions base;
  size_t rows = 0;  // the index will hold so many; 0: as many as the sample
};

// The least rows of a sample: what fewer say of recall is mostly chance.
inline constexpr size_t kLeastTuneRows = 1'000;

// sample [n, dim], rows in no order; the last tenth of them, 200 at most, are the queries and in no
// trial. Recall is against exact search; speed falls with the rows as each kind's does (flat by
// their number, lists by its root, graphs by its logarithm); memory grows with them. Vectors on
// disk are tried where they do not fit, and read from the system's cache then.
// Errors: invalid_argument; failed_precondition when the sample is too small, and when no trial
// both finds enough and fits, naming those that come nearest; cancelled.
Result<TuneReport> TuneIndex(MatrixView sample, const TuneOptions& options, const Runtime& runtime,
                             CareProgress* progress = nullptr, const CancelToken* cancel = nullptr);

// The widths to try for an index of this kind, the narrowest first. Their k is set.
std::vector<SearchOptions> TuneWidths(const VectorIndexOptions& options, size_t k);
// A width as the index's default.
void SetWidth(const SearchOptions& width, VectorIndexOptions& options);
// What a search of k with the defaults is given: a graph's walk is at least 2k wide, as the index
// does where none is given.
SearchOptions WidthOf(const VectorIndexOptions& options, size_t k);

}  // namespace rag
