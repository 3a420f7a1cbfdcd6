#include "generate/kv_pool.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace rag {
namespace {

constexpr size_t kAlignment = 64;

}  // namespace

void KvPool::Free::operator()(std::byte* data) const { std::free(data); }

// ReadDecoderConfig bounds the factors: 2^10 layers, 2^12 heads of 2^12 elements; with 2^5 tokens
// of 2^3 bytes it stays below 2^42.
size_t KvPool::BlockBytes(const KvShape& shape) {
  return 2 * shape.layers * shape.heads * KvBlockBytes(shape.type, shape.head_dim);
}

KvPool::KvPool(const KvShape& shape)
    : shape_(shape),
      head_bytes_(KvBlockBytes(shape.type, shape.head_dim)),
      block_bytes_(BlockBytes(shape)) {}

Result<std::unique_ptr<KvPool>> KvPool::Create(const KvShape& shape, size_t max_bytes) {
  std::unique_ptr<KvPool> pool(new KvPool(shape));
  pool->capacity_ =
      std::min<size_t>(max_bytes / pool->block_bytes_, std::numeric_limits<BlockId>::max());
  if (pool->capacity_ == 0) {
    return ResourceExhaustedError("a cache of ", max_bytes, " bytes is less than the ",
                                  pool->block_bytes_, " of one block of ", kBlockTokens, " tokens");
  }
  return pool;
}

std::optional<KvPool::BlockId> KvPool::Take() {
  CollectLent();
  if (!free_.empty()) {
    const BlockId id = free_.back();
    free_.pop_back();
    blocks_[id].shares = 1;
    return id;
  }
  if (blocks_.size() == capacity_) return std::nullopt;
  Block block;
  block.data.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, block_bytes_)));
  if (block.data == nullptr) return std::nullopt;
  // Whole registers are loaded, also of slots that hold no token yet.
  std::memset(block.data.get(), 0, block_bytes_);
  block.shares = 1;
  blocks_.push_back(std::move(block));
  return static_cast<BlockId>(blocks_.size() - 1);
}

void KvPool::Release(BlockId id) {
  if (--blocks_[id].shares != 0) return;
  if (blocks_[id].lent == 0) {
    free_.push_back(id);
  } else {
    ++owed_;
  }
}

void KvPool::ReserveReturn() {
  std::lock_guard lock(returned_mutex_);
  returned_.reserve(std::bit_ceil(lent_ + 1));
}

void KvPool::Lend(BlockId id) {
  ReserveReturn();
  ++blocks_[id].lent;
  ++lent_;
}

std::optional<KvPool::BlockId> KvPool::LendCopy(BlockId id) {
  ReserveReturn();  // before there is a copy to lose
  const std::optional<BlockId> copy = Take();
  if (!copy) return std::nullopt;
  Copy(id, *copy);
  Lend(*copy);
  Release(*copy);
  return copy;
}

void KvPool::GiveBack(BlockId id) noexcept {
  {
    std::lock_guard lock(returned_mutex_);
    returned_.push_back(id);
  }
  is_returned_.notify_one();
}

void KvPool::CollectLent() {
  if (lent_ == 0) return;
  std::lock_guard lock(returned_mutex_);
  lent_ -= returned_.size();
  for (const BlockId id : returned_) {
    if (--blocks_[id].lent != 0 || blocks_[id].shares != 0) continue;
    --owed_;
    free_.push_back(id);
  }
  returned_.clear();  // its memory is for the loans that are still out
}

bool KvPool::AwaitLent() {
  if (owed_ == 0) return false;
  {
    std::unique_lock lock(returned_mutex_);
    is_returned_.wait(lock, [this] { return !returned_.empty(); });
  }
  CollectLent();
  return true;
}

void KvPool::Copy(BlockId from, BlockId to) {
  std::memcpy(blocks_[to].data.get(), blocks_[from].data.get(), block_bytes_);
}

}  // namespace rag
