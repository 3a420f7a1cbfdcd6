// hnswlib behind a wall: its functions are not inline and its instruction set is the compiler's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "apps/rag_bench/measure/judge.h"

namespace rag::bench {

class PeerHnswlib {
 public:
  struct Options {
    size_t dim = 0;
    size_t capacity = 0;
    size_t m = 16;
    size_t ef_construction = 200;
    bool inner_product = false;  // else squared distance
    bool replace_deleted = false;
  };
  // Since 0.7: filters in a search, and new points in the place of deleted ones.
  static bool HasFilters();

  // Errors: resource_exhausted when there is no memory.
  static Result<std::unique_ptr<PeerHnswlib>> Create(const Options& options);
  ~PeerHnswlib();

  Status Add(const float* vector, Row row);
  Status Remove(Row row);
  void SetWidth(size_t ef);  // not during searches
  // The k nearest, worst first, at most k into out. filter may be null.
  Status Search(const float* query, size_t k, const AllowedRows* filter, Row* out) const;

 private:
  struct Impl;
  explicit PeerHnswlib(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace rag::bench
