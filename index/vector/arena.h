// Arena: records of one size in blocks that never move, so that they are read while others are
// made. Blocks are anonymous mappings in huge pages where the system gives them: random access over
// small pages spends much of its time in address translation.
//
// The first blocks may be borrowed: their records are asked of a source until somebody writes to
// the block, which copies it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "index/vector/chunked.h"
#include "lib/base/status.h"

namespace rag {

class Arena {
 public:
  // Records that lie somewhere else. Threads: all methods may be called at once.
  class Source {
   public:
    virtual ~Source() = default;
    virtual size_t records() const = 0;
    // Record i, i < records().
    virtual const std::byte* Record(uint32_t i) = 0;
    // Records [first, first + count) to `out`; those that were erased as zeros.
    virtual void Copy(uint32_t first, size_t count, std::byte* out) = 0;
    // Where those records lie one behind the other; null when one of them cannot be read.
    virtual const std::byte* All(uint32_t first, size_t count) = 0;
    virtual bool Holds(const std::byte* record) const = 0;
    // Record i is not read again.
    virtual void Erase(uint32_t i) = 0;
  };

  // A record begins at a multiple of its size; a size that is a multiple of 64 begins at a line.
  explicit Arena(size_t record_bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Makes room for record i, zeroed unless it is borrowed. Threads: may be called at once. Errors:
  // resource_exhausted.
  Status Ensure(uint32_t i);
  // A record that there is room for. What is borrowed is for reading only; see Own.
  std::byte* Record(uint32_t i) const {
    std::byte* const block = blocks_[i >> shift_].load(std::memory_order_acquire);
    if (block == nullptr) [[unlikely]]
      return Borrowed(i);
    return block + (i & mask_) * record_bytes_;
  }

  // Borrows the source's records. Only on an empty arena, before others use it.
  void Borrow(std::unique_ptr<Source> source);
  bool borrows() const { return source_ != nullptr; }
  // Looks at all records of the borrowed blocks now.
  void ReadBorrowed() const;
  // Copies the block of record i if it is borrowed, so that the record may be written to. Pointers
  // to the borrowed records stay valid. Threads: may be called at once. Errors: resource_exhausted.
  Status Own(uint32_t i);
  // Overwrites record i with zeros; a borrowed one is not read again.
  void Erase(uint32_t i);
  // Copies every borrowed block. Errors: resource_exhausted.
  Status OwnAll();
  // Lets go of the source, all of whose blocks are copied and whose records nobody reads any more.
  void EndBorrowing() { source_.reset(); }
  // Frees every block, which nobody reads any more.
  void Clear();

  size_t record_bytes() const { return record_bytes_; }
  size_t block_records() const { return size_t{mask_} + 1; }
  // Whether record i lies directly behind i - 1.
  bool FollowsLast(uint32_t i) const {
    return (i & mask_) != 0 && blocks_[i >> shift_].load(std::memory_order_acquire) != nullptr;
  }
  size_t max_records() const { return kMaxChunks << shift_; }
  // The first `records` of a block.
  std::span<std::byte> Block(size_t block, size_t records) const {
    return {blocks_[block].load(std::memory_order_acquire), records * record_bytes_};
  }

 private:
  size_t BlockBytes() const;
  // Whether the block's records are the caller's to write to.
  bool Owns(size_t block) const {
    const std::byte* const begin = blocks_[block].load(std::memory_order_acquire);
    return begin != nullptr && (source_ == nullptr || !source_->Holds(begin));
  }
  std::byte* Borrowed(uint32_t i) const;
  void Settle(size_t block) const;
  Result<std::byte*> MapBlock(size_t block) const;
  Status OwnLocked(size_t block);  // needs mutex_

  const size_t record_bytes_;
  const unsigned shift_;  // 2^shift_ records a block
  const uint32_t mask_;
  mutable std::mutex mutex_;  // guards changes of blocks_
  // kMaxChunks. Null: not made, or borrowed and not all read yet.
  std::unique_ptr<std::atomic<std::byte*>[]> blocks_;
  std::unique_ptr<Source> source_;
  size_t borrowed_ = 0;  // records; stays when the source goes, whose blocks are all made then
  std::unique_ptr<std::atomic<uint32_t>[]> asked_;  // of each borrowed block: how often
};

}  // namespace rag
