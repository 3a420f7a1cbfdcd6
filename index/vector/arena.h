// Arena: records of one size in blocks that never move, so that they are read while others are
// made. Blocks are anonymous mappings in huge pages where the system gives them: random access over
// small pages spends much of its time in address translation.
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
  // A record begins at a multiple of its size; a size that is a multiple of 64 begins at a line.
  explicit Arena(size_t record_bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Makes room for record i, zeroed. Threads: may be called at once. Errors: resource_exhausted.
  Status Ensure(uint32_t i);
  std::byte* Record(uint32_t i) const {
    return blocks_[i >> shift_].load(std::memory_order_acquire) + (i & mask_) * record_bytes_;
  }
  size_t record_bytes() const { return record_bytes_; }
  size_t block_records() const { return size_t{mask_} + 1; }
  // Whether i is the first of a block: it does not lie behind i - 1.
  bool BeginsBlock(uint32_t i) const { return (i & mask_) == 0; }
  size_t max_records() const { return kMaxChunks << shift_; }
  // The first `records` of a block.
  std::span<std::byte> Block(size_t block, size_t records) const {
    return {blocks_[block].load(std::memory_order_acquire), records * record_bytes_};
  }

 private:
  size_t BlockBytes() const;

  const size_t record_bytes_;
  const unsigned shift_;  // 2^shift_ records a block
  const uint32_t mask_;
  std::mutex mutex_;                                   // guards the making of blocks
  std::unique_ptr<std::atomic<std::byte*>[]> blocks_;  // kMaxChunks
};

}  // namespace rag
