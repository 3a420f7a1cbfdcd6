// Postings of learned sparse vectors as the store holds them: which chunks have a weight for a
// token.
//
// Chunk ids are cut into segments of 4,096 and these into runs of 64. The store holds one value for
// each token and segment: a bitmap of its runs, each one's largest weight and where it ends, and
// then the places and weights. index/lexical/sparse_search.h searches them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "index/store/database.h"
#include "lib/base/status.h"
#include "lib/kernels/weight_codes.h"
#include "lib/tensor/sparse_vector.h"

namespace rag {

inline constexpr uint64_t kRunChunks = kWeightRun;
inline constexpr uint64_t kSegmentChunks = 64 * kRunChunks;

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

  // What AppendTo writes, by token and segment; an empty one goes.
  const std::map<std::pair<uint32_t, uint64_t>, SparseSegment>& segments() const {
    return segments_;
  }

 private:
  Result<SparseSegment*> Load(uint32_t token, uint64_t chunk);

  const Database& database_;
  const uint32_t collection_;
  const uint64_t first_new_;
  std::map<std::pair<uint32_t, uint64_t>, SparseSegment> segments_;
};

}  // namespace rag
