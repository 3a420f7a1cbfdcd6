// The memory of keys and values: blocks of kKvBlockTokens tokens of every layer and head, shared by
// count, within a limit of bytes.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "lib/base/status.h"
#include "lib/kernels/kv_block.h"

namespace rag {

struct KvShape {
  size_t layers = 0;
  size_t heads = 0;
  size_t head_dim = 0;
  DType type = DType::kF32;  // IsKvType
};

// Used by one thread at a time, but for GiveBack.
class KvPool {
 public:
  using BlockId = uint32_t;
  static constexpr size_t kBlockTokens = kKvBlockTokens;
  // Blocks that hold `tokens`.
  static constexpr size_t BlocksFor(size_t tokens) {
    return (tokens + kBlockTokens - 1) / kBlockTokens;
  }
  static size_t BlockBytes(const KvShape& shape);

  // A block's memory is taken from the system when it is first needed, and kept. Errors:
  // resource_exhausted when max_bytes holds no block.
  static Result<std::unique_ptr<KvPool>> Create(const KvShape& shape, size_t max_bytes);

  // A block with one share; nullopt when the limit is reached or the system refuses.
  std::optional<BlockId> Take();
  void Share(BlockId id) { ++blocks_[id].shares; }
  void Release(BlockId id);
  void Copy(BlockId from, BlockId to);
  // Whether anybody has a share besides the one who asks.
  bool shared(BlockId id) const { return blocks_[id].shares > 1; }

  // A block that is not written to any more may be lent to a reader on another thread: its bytes
  // stay until it is given back, whatever becomes of its shares. What is lent counts as used.
  void Lend(BlockId id);
  // A copy that has no shares, lent; nullopt as for Take.
  std::optional<BlockId> LendCopy(BlockId id);
  void GiveBack(BlockId id) noexcept;  // by any thread
  // Blocks without shares that are lent, as far as the pool has looked.
  size_t owed() const { return owed_; }
  // Where some are owed, waits until one more block is given back; else false.
  bool AwaitLent();

  // KvBlockBytes each.
  std::byte* keys(BlockId id, size_t layer, size_t head) { return At(id, layer, 2 * head); }
  std::byte* values(BlockId id, size_t layer, size_t head) { return At(id, layer, 2 * head + 1); }

  // All of a block.
  std::span<std::byte> bytes(BlockId id) { return {blocks_[id].data.get(), block_bytes_}; }

  const KvShape& shape() const { return shape_; }
  size_t block_bytes() const { return block_bytes_; }
  size_t capacity() const { return capacity_; }
  size_t used() {
    CollectLent();
    return blocks_.size() - free_.size();
  }
  size_t allocated_bytes() const { return blocks_.size() * block_bytes_; }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  struct Block {
    std::unique_ptr<std::byte, Free> data;
    uint32_t shares = 0;
    uint32_t lent = 0;  // times
  };

  explicit KvPool(const KvShape& shape);
  void CollectLent();
  void ReserveReturn();  // of one loan more
  std::byte* At(BlockId id, size_t layer, size_t part) {
    return blocks_[id].data.get() + (layer * 2 * shape_.heads + part) * head_bytes_;
  }

  const KvShape shape_;
  const size_t head_bytes_;
  const size_t block_bytes_;
  size_t capacity_ = 0;
  std::vector<Block> blocks_;
  std::vector<BlockId> free_;
  size_t lent_ = 0;  // loans that have not been collected
  size_t owed_ = 0;

  std::mutex returned_mutex_;      // guards the next
  std::vector<BlockId> returned_;  // has room for all that are lent
  std::condition_variable is_returned_;
};

}  // namespace rag
