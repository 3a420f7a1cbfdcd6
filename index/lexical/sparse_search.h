// Search by learned sparse vectors: the k largest products with a query's vector.
//
// The products of a segment of 4,096 chunks are added up token by token. Runs of 64 whose largest
// weights cannot add up to the k-th best score are passed over (block-max pruning: Ding & Suel
// 2011, "Faster Top-k Document Retrieval Using Block-Max Indexes"; Mallia et al. 2024, "Faster
// Learned Sparse Retrieval with Block-Max Pruning", over ranges of chunks instead of one list after
// another): what is found is exact.
#pragma once

#include <cstdint>
#include <vector>

#include "index/lexical/sparse_lists.h"
#include "index/lexical/sparse_postings.h"
#include "index/store/database.h"
#include "index/vector_index.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/sparse_vector.h"

namespace rag {

// How much of the postings a search looked into.
struct SparseSearchWork {
  uint64_t runs = 0;           // of 64 chunks, with any of the query's tokens
  uint64_t runs_scored = 0;    // of which so many were looked into
  uint64_t posting_bytes = 0;  // read from the store
};

// Of one collection. Thread-safe.
class SparseSearcher {
 public:
  SparseSearcher(const Database& database, SparseListCache& cache, uint32_t collection,
                 const Runtime& runtime);

  // The k chunks with the largest products, best first, ties by lower id; those whose product is 0
  // are none. The sums are taken in f32 in order of the tokens. The records are those before a
  // write or after it, whole. `allowed` and `work` may be null. Errors: those of reading;
  // data_loss.
  Result<std::vector<Neighbor>> Search(const SparseVector& query, size_t k, const IdFilter* allowed,
                                       SparseSearchWork* work = nullptr) const;

 private:
  // Of the query's tokens. Adds to posting_bytes.
  Result<std::vector<SparseListCache::List>> Lists(const SparseVector& query,
                                                   uint64_t& posting_bytes) const;

  const Database& database_;
  SparseListCache& cache_;
  const uint32_t collection_;
  const WeightCodeKernels& kernels_;
};

}  // namespace rag
