// Postings of learned sparse vectors as searches read them, and what is kept of them in memory.
//
// Truth is the store's records. A token's list is made of them when a search first needs it, and
// every write replaces what it changed of the lists that are there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "index/lexical/sparse_postings.h"
#include "lib/kernels/weight_codes.h"
#include "lib/tensor/sparse_vector.h"

namespace rag {

// One token's weights in one segment; immutable. A run with many is an array of 64 codes, 0 where
// there is none, which a kernel adds up at once; the others' postings lie one after another.
class SparseBlock {
 public:
  explicit SparseBlock(const SparseSegment& segment);  // not of an empty one

  // The runs that are there, and of these the ones that are arrays.
  uint64_t runs() const { return runs_; }
  // bounds[run] += factor * the run's largest weight, for the runs that are there.
  void AddLargest(const WeightCodeKernels& kernels, float factor, float* bounds /* [64] */) const;
  // sums[place] += factor * weight, for places in the wanted runs, and perhaps in others.
  void AddWeights(const WeightCodeKernels& kernels, uint64_t wanted, float factor,
                  float* sums /* [kSegmentChunks] */) const;
  // Asks the processor for the first of the bytes that AddWeights reads.
  void Prefetch() const;
  size_t bytes() const;

 private:
  uint64_t runs_ = 0;
  uint64_t arrays_ = 0;
  uint16_t largest_ = 0;   // how many largest weights: of the runs that are there, or of all 64
  uint16_t postings_ = 0;  // of runs that are no arrays
  uint32_t arrays_at_ = 0;
  // Largest weights; places in the segment, codes and each run's end of the postings; arrays.
  std::vector<uint16_t> values_;
};

// One token's weights; immutable.
struct SparseList {
  std::vector<std::pair<uint64_t, std::shared_ptr<const SparseBlock>>> blocks;  // by segment

  size_t bytes() const;
};

// The lists that a store's collections keep in memory, up to a limit of bytes; those that were not
// used for the longest time go first. Thread-safe.
//
// A collection's lists change at one moment for all that a write touched, when it ends. A search
// that finds all that it needs here so sees the records as they were before a write or after it;
// what it must read from the store fits to the rest when no write has begun in between (`version`).
class SparseListCache {
 public:
  using List = std::shared_ptr<const SparseList>;

  explicit SparseListCache(size_t limit_bytes) : limit_bytes_(limit_bytes) {}

  struct Found {
    std::vector<List> lists;  // of the tokens; null: not here
    bool whole = true;        // none is null
    // Of the records that the lists are made of; none while they are being written.
    std::optional<uint64_t> version;
  };
  Found Find(uint32_t collection, std::span<const SparseVector::Entry> tokens);
  bool IsAt(uint32_t collection, uint64_t version) const;
  // Takes lists that were read at `version`; none of them when it has passed.
  void Insert(uint32_t collection, uint64_t version,
              std::span<const std::pair<uint32_t, List>> lists);

  // Around the writing of the records; one write of a collection at a time.
  void BeginWrite(uint32_t collection);
  void EndWrite(uint32_t collection, const SparseChanges& changes);
  // Nothing is kept of the collection, and no write is under way: after one that failed, and at
  // the collection's end.
  void Forget(uint32_t collection);

  size_t bytes(uint32_t collection) const;

 private:
  struct Entry {
    uint32_t collection = 0;
    uint32_t token = 0;
    List list;
    size_t bytes = 0;
  };
  struct Shelf {                                                       // of a collection
    std::unordered_map<uint32_t, std::list<Entry>::iterator> entries;  // by token
    size_t bytes = 0;
    uint64_t version = 0;
    bool writing = false;
  };

  // All need mutex_. What they drop goes to `dropped`, whose bytes are given back without it.
  void Keep(Shelf& shelf, Entry entry, std::vector<List>& dropped);
  void Drop(std::list<Entry>::iterator entry, std::vector<List>& dropped);
  void DropOldest(std::vector<List>& dropped);

  const size_t limit_bytes_;
  mutable std::mutex mutex_;                     // guards everything below
  std::unordered_map<uint32_t, Shelf> shelves_;  // by collection
  std::list<Entry> entries_;                     // the last used first
  size_t bytes_ = 0;
};

}  // namespace rag
