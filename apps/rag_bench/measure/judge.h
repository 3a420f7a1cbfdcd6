// Ground truth, and recall against it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "apps/rag_bench/data/dataset.h"
#include "lib/runtime/runtime.h"

namespace rag::bench {

// A row number of the base, or none.
using Row = uint32_t;
inline constexpr Row kNoRow = UINT32_MAX;

// Rows that searches may return. Threads: read-only after construction.
class AllowedRows final : public IdFilter {
 public:
  // rows ascending, below row_count.
  AllowedRows(std::vector<Row> rows, size_t row_count);

  bool Contains(uint64_t id) const override {
    return id < row_count_ && (bits_[id / 64] >> (id % 64) & 1) != 0;
  }
  std::span<const uint64_t> Ids() const override { return ids_; }
  size_t Count() const override { return ids_.size(); }

 private:
  const size_t row_count_;
  std::vector<uint64_t> ids_;
  std::vector<uint64_t> bits_;
};

// A filter for each query; queries may share one.
struct FilterCase {
  std::string kind;  // "random", "correlated", "anti-correlated"
  double selectivity = 0;
  std::vector<AllowedRows> sets;
  std::vector<uint32_t> set_of_query;

  const AllowedRows& of(size_t query) const { return sets[set_of_query[query]]; }
};

// random: one random set for all queries. correlated: the share of the rows nearest to the pivot
// (one of 16 random rows) that is nearest to the query; anti-correlated: those farthest from it.
FilterCase MakeFilter(const Dataset& data, const std::string& kind, double selectivity);

// The k nearest of `rows` (empty: all) for each query, by the flat index on all processors; kNoRow
// where there are fewer. Errors: those of the index.
Result<NeighborTable> ExactNeighbors(const Dataset& data, std::span<const Row> rows, size_t k,
                                     const FilterCase* filter);

// recall@k as ann-benchmarks defines it: a returned row counts when it is no farther from the query
// than the k-th true neighbour, so that ties are no errors. A row that is returned twice counts
// once, one that the filter forbids not at all.
class Judge {
 public:
  // truth has at least min(k, what is allowed) ids a query. All outlive the judge.
  Judge(const Dataset& data, const NeighborTable& truth, size_t k, const FilterCase* filter);

  // found [queries, k] of the first `queries` queries, filled with kNoRow.
  double Recall(std::span<const Row> found, size_t queries) const;
  size_t k() const { return k_; }

 private:
  double Score(size_t query, Row row) const;

  const Dataset& data_;
  const size_t k_;
  const FilterCase* const filter_;
  std::vector<double> worst_;     // the score of the last true neighbour
  std::vector<uint32_t> counts_;  // of true neighbours, at most k
};

}  // namespace rag::bench
