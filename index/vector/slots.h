// Slots: where the vectors of an index lie, and what all kinds of index do alike: input checks,
// ids, life and death of a vector, exact search.
//
// A slot is visible from one version of the index to another; a replacement ends the old vector and
// begins the new one at the same version. A search looks at one version throughout, so that it
// never sees an id twice nor misses one that was being replaced.
//
// A slot has a row (index/vector/rows.h) and `link_words` 32-bit words of a graph, or none. Both
// lie in arenas and never move, so that searches need no lock: they enter readers(), and what was
// removed is overwritten only after those that may see it have left. Rows can also lie on disk
// (index/vector/disk_rows.h), or in the file that the index was opened from (saved_rows.h); reading
// them may fail then, and CheckRows() tells.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <vector>

#include "index/vector/arena.h"
#include "index/vector/chunked.h"
#include "index/vector/disk_rows.h"
#include "index/vector/id_map.h"
#include "index/vector/readers.h"
#include "index/vector/row_failure.h"
#include "index/vector/rows.h"
#include "index/vector/saved_rows.h"
#include "index/vector_index.h"
#include "lib/kernels/kernels.h"

namespace rag {

inline constexpr uint32_t kNoSlot = IdMap::kNone;
// What an index keeps of a slot lies in Chunked arrays of this shift.
inline constexpr unsigned kSlotShift = 13;
inline constexpr uint32_t kMaxSlots = kMaxChunks << kSlotShift;

class Slots {
 public:
  Slots(size_t dim, Metric metric, ElementType element, size_t link_words, const Runtime& runtime);
  Slots(const Slots&) = delete;
  Slots& operator=(const Slots&) = delete;

  // --- input ---
  // Add's conditions on its arguments. Errors: invalid_argument naming the row.
  Status CheckAdd(std::span<const uint64_t> ids, MatrixView vectors) const;
  // Checks k and the queries, and copies them in the form that Distance takes.
  Result<Matrix> PrepareQueries(MatrixView queries, size_t k) const;

  // --- a vector's life ---
  // A hidden slot with the vector's row and links that are all kNoSlot.
  // Errors: resource_exhausted.
  Result<uint32_t> Allocate(uint64_t id, std::span<const float> vector);
  // Makes the slot findable under its id; returns the slot that had the id, now dead, or kNoSlot.
  uint32_t Publish(uint32_t slot);
  // The slots of the ids that are there, now dead; they stay allocated until Free.
  std::vector<uint32_t> Take(std::span<const uint64_t> ids);
  // Waits for readers, overwrites the vectors and makes the slots allocatable again.
  void Free(std::span<const uint32_t> slots);

  // --- reading ---
  Readers& readers() const { return readers_; }
  bool Contains(uint64_t id) const;
  // The slots of those ids that are there at `version`, which is set to the latest.
  std::vector<uint32_t> Find(std::span<const uint64_t> ids, uint64_t& version) const;
  Status GetVector(uint64_t id, std::span<float> out) const;
  std::vector<uint64_t> Ids() const;
  size_t size() const { return live_.load(std::memory_order_relaxed); }
  // One past the largest slot ever allocated.
  uint32_t end() const { return end_.load(std::memory_order_acquire); }
  size_t memory_bytes() const;
  // Ids and states against each other; no Add or Remove may run. Errors: data_loss.
  Status Verify() const;

  // The version that a search begun now looks at; it has entered readers() before.
  uint64_t version() const { return version_.load(std::memory_order_acquire); }
  bool Visible(uint32_t slot, uint64_t version) const {
    const Info& info = info_[slot];
    return info.born.load(std::memory_order_acquire) <= version &&
           version < info.died.load(std::memory_order_acquire);
  }
  // Neither hidden nor removed. Only where no Add or Remove runs.
  bool IsLive(uint32_t slot) const {
    return info_[slot].born.load(std::memory_order_relaxed) != kNever &&
           info_[slot].died.load(std::memory_order_relaxed) == kNever;
  }
  bool IsFree(uint32_t slot) const {
    return info_[slot].died.load(std::memory_order_relaxed) == kFree;
  }
  uint64_t id(uint32_t slot) const { return info_[slot].id; }
  uint32_t* links(uint32_t slot) const { return reinterpret_cast<uint32_t*>(links_->Record(slot)); }
  const Rows& rows() const { return rows_; }
  // Only while the rows are not on disk; see RowBatch.
  const std::byte* row(uint32_t slot) const { return vectors_.Record(slot); }
  bool rows_on_disk() const { return disk_.load(std::memory_order_acquire) != nullptr; }
  // Errors: data_loss or io_error when a row could not be read since the index was made or opened;
  // what was found meanwhile may be wrong.
  Status CheckRows() const { return failure_.status(); }
  // Reads those rows that nobody has read since the index was opened. Errors: as CheckRows.
  Status ReadRows() const;
  // query as PrepareQueries or Rows::AsQuery gives it. Smaller is better, and the score is its
  // negative. Never NaN for vectors that passed the checks.
  float Distance(const float* query, uint32_t slot) const {
    return rows_.Distance(query, row(slot));
  }
  static float Score(float distance) { return 0.0f - distance; }

  // --- exact search ---
  // queries as PrepareQueries gives them. The filter's listed ids are scanned alone; without a list
  // every live vector is asked about.
  std::vector<std::vector<Neighbor>> Exact(const Matrix& queries, size_t k,
                                           const IdFilter* filter) const;

  // --- rows elsewhere ---
  // Moves the rows from memory to files in `folder`. The caller keeps Adds and Removes away and has
  // not entered readers(). Errors: as DiskRows::Create and Write; the rows stay in memory then.
  Status MoveRowsToDisk(const std::string& folder);
  size_t disk_bytes() const { return rows_on_disk() ? end() * rows_.bytes() : 0; }

  // --- snapshots (index/vector/snapshot.h) ---
  const Arena& link_records() const { return *links_; }
  const Arena& vectors() const { return vectors_; }
  const DiskRows* disk() const { return disk_.load(std::memory_order_acquire); }
  // Makes slots with the ids and states (0: free, 1: live) given; the caller fills in the blocks of
  // the links. Rows are those given. Only on an empty object.
  // Errors: data_loss for an id that comes twice; resource_exhausted.
  Status Restore(std::span<const uint64_t> ids, std::span<const uint8_t> live,
                 std::unique_ptr<SavedRows> saved);
  Status Restore(std::span<const uint64_t> ids, std::span<const uint8_t> live,
                 std::unique_ptr<DiskRows> rows);
  RowFailure& row_failure() { return failure_; }
  // Copies what lies in the file that the index was opened from into memory, and lets go of it.
  // The caller keeps Adds and Removes away and has not entered readers(). Errors: data_loss,
  // resource_exhausted.
  Status TakeRows();
  // The index has been saved: its rows lie at `offset` of `path`.
  void Saved(const std::string& path, uint64_t offset);

  size_t dim() const { return rows_.dim(); }

 private:
  struct Info {
    uint64_t id = 0;  // written before the slot is linked or visible
    // Visible to versions in [born, died). Hidden: born is kNever. Free: died is kFree.
    std::atomic<uint64_t> born{kNever};
    std::atomic<uint64_t> died{kFree};
  };
  static constexpr uint64_t kNever = ~uint64_t{0};
  static constexpr uint64_t kFree = 0;

  Status Ensure(uint32_t slot);
  Status WriteRow(uint32_t slot, std::span<const float> vector);
  void EraseRow(uint32_t slot);
  Status RestoreSlots(std::span<const uint64_t> ids, std::span<const uint8_t> live);
  void ScanItems(const Matrix& queries, size_t first_query, size_t last_query, size_t first,
                 size_t last, const std::vector<uint32_t>* list, const IdFilter* filter,
                 uint64_t version, std::span<class TopK> tops) const;

  const Rows rows_;
  const Runtime& runtime_;

  mutable Readers readers_;
  RowFailure failure_;
  Arena vectors_;  // rows, unless they are on disk
  std::unique_ptr<DiskRows> owned_disk_;
  std::atomic<DiskRows*> disk_{nullptr};
  std::optional<Arena> links_;
  Chunked<Info> info_{kSlotShift};
  std::atomic<uint32_t> end_{0};
  std::atomic<size_t> live_{0};       // map_.size(), readable without its lock
  std::atomic<uint64_t> version_{1};  // changes under map_mutex_

  std::mutex free_mutex_;  // guards free_ and the growth of end_
  std::vector<uint32_t> free_;

  mutable std::shared_mutex map_mutex_;  // guards map_ and what is visible
  IdMap map_;
};

// The rows of some slots, wherever they lie.
class RowBatch {
 public:
  // The pointers stay until the next call. The caller has entered readers() or keeps Adds and
  // Removes away.
  void Read(const Slots& slots, std::span<const uint32_t> wanted);
  const std::byte* row(size_t i) const { return rows_[i]; }

 private:
  std::vector<const std::byte*> rows_;
  Matrix held_;  // aligned
};

}  // namespace rag
