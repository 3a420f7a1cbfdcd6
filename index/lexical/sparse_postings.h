// Postings of learned sparse vectors: which chunks have a weight for a token, and the k largest
// products with a query's vector.
//
// Chunk ids are cut into segments of 4,096 and these into runs of 64. The store holds one value for
// each token and segment: a bitmap of its runs, each one's largest weight and where it ends, and
// then the places and weights. A search adds up the largest weights of every run first, looks into
// the runs that may hold the most, and passes over those whose sum cannot reach the k-th best
// (block-max pruning: Ding & Suel 2011, "Faster Top-k Document Retrieval Using Block-Max Indexes";
// Mallia et al. 2024, "Faster Learned Sparse Retrieval with Block-Max Pruning", over ranges of
// chunks instead of one list after another): what it finds is exact.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "index/store/database.h"
#include "index/vector_index.h"
#include "lib/base/status.h"
#include "lib/tensor/sparse_vector.h"

namespace rag {

inline constexpr uint64_t kRunChunks = 64;
inline constexpr uint64_t kSegmentChunks = 64 * kRunChunks;

// A weight is kept as the upper 16 of a float's 31 bits behind the sign, rounded to the nearest: 8
// bits of exponent and 8 of the fraction, so that it differs by at most one part in 512.
uint16_t EncodeWeight(float weight);  // finite, > 0
float DecodeWeight(uint16_t code);

// What a chunk's 's' record says: its vector, with weights as they are kept.
std::string EncodeSparseVector(const SparseVector& vector);
// False when the bytes are none, or hold none of the tokens.
bool DecodeSparseVector(std::string_view bytes, SparseVector& vector);

// One token's weights in one segment.
struct SparseSegment {
  struct Entry {
    uint16_t place = 0;  // of the chunk in the segment
    uint16_t code = 0;   // of the weight
  };
  std::vector<Entry> entries;  // ascending by place

  std::string Encode() const;  // not of an empty one
  // False when the bytes are no segment, or its largest weights are not those of its runs.
  bool Decode(std::string_view bytes);
};

// Collects the changes of one group of writes and puts them into its batch.
class SparseChanges {
 public:
  // Chunks from `first_new` on have no postings yet.
  SparseChanges(const Database& database, uint32_t collection, uint64_t first_new)
      : database_(database), collection_(collection), first_new_(first_new) {}

  // Chunks are added in ascending order. Errors: those of reading; data_loss.
  Status Add(uint64_t chunk, const SparseVector& vector);
  Status Remove(uint64_t chunk, const SparseVector& vector);
  void AppendTo(Batch& batch) const;

 private:
  Result<SparseSegment*> Load(uint32_t token, uint64_t chunk);

  const Database& database_;
  const uint32_t collection_;
  const uint64_t first_new_;
  std::map<std::pair<uint32_t, uint64_t>, SparseSegment> segments_;  // by token and segment
};

// How much of the postings a search looked into.
struct SparseSearchWork {
  uint64_t runs = 0;           // of 64 chunks, with any of the query's tokens
  uint64_t runs_scored = 0;    // of which so many were looked into
  uint64_t posting_bytes = 0;  // read from the store
};

// The k chunks with the largest products, best first, ties by lower id; chunks that share no token
// with the query have none. The sums are taken in f32 in order of the tokens. `allowed` and `work`
// may be null. Errors: those of reading; data_loss.
Result<std::vector<Neighbor>> SearchSparsePostings(const Database& database, uint32_t collection,
                                                   const SparseVector& query, size_t k,
                                                   const IdFilter* allowed,
                                                   SparseSearchWork* work = nullptr);

}  // namespace rag
