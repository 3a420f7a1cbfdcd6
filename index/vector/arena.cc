#include "index/vector/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "lib/base/pages.h"

namespace rag {
namespace {

constexpr size_t kBlockBytes = size_t{16} << 20;
constexpr unsigned kMaxShift = 14;

size_t RoundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

unsigned BlockShift(size_t record_bytes) {
  const size_t records = std::max<size_t>(1, kBlockBytes / record_bytes);
  return std::min(kMaxShift, static_cast<unsigned>(std::bit_width(records)) - 1);
}

}  // namespace

Arena::Arena(size_t record_bytes)
    : record_bytes_(record_bytes),
      shift_(BlockShift(record_bytes)),
      mask_((uint32_t{1} << shift_) - 1),
      blocks_(std::make_unique<std::atomic<std::byte*>[]>(kMaxChunks)) {}

Arena::~Arena() { Clear(); }

void Arena::Clear() {
  for (size_t i = 0; i < kMaxChunks; ++i) {
    if (Owns(i)) ::munmap(blocks_[i].load(std::memory_order_relaxed), BlockBytes());
    blocks_[i].store(nullptr, std::memory_order_relaxed);
  }
  source_.reset();
  borrowed_ = 0;
}

size_t Arena::BlockBytes() const { return RoundUp(record_bytes_ << shift_, kHugePage); }

Result<std::byte*> Arena::MapBlock(size_t block) const {
  // The first block is left alone, so that a small collection takes what it needs and not 2 MiB.
  return MapPages(BlockBytes(), block > 0);
}

Status Arena::Ensure(uint32_t i) {
  const size_t block = i >> shift_;
  if (block >= kMaxChunks) {
    return ResourceExhaustedError("there is room for ", max_records(), " records of ",
                                  record_bytes_, " bytes");
  }
  return i < borrowed_ ? OkStatus() : Own(i);
}

void Arena::Borrow(std::unique_ptr<Source> source) {
  source_ = std::move(source);
  borrowed_ = source_->records();
  const size_t blocks = (borrowed_ + block_records() - 1) / block_records();
  asked_ = std::make_unique<std::atomic<uint32_t>[]>(blocks);
}

// A block that is asked for again and again is read to its end, and needs no asking then.
std::byte* Arena::Borrowed(uint32_t i) const {
  constexpr size_t kShare = 4;
  const size_t block = i >> shift_;
  if (asked_[block].fetch_add(1, std::memory_order_relaxed) == block_records() / kShare) {
    Settle(block);
  }
  return const_cast<std::byte*>(source_->Record(i));
}

void Arena::Settle(size_t block) const {
  const size_t first = block << shift_;
  const size_t count = std::min(block_records(), borrowed_ - first);
  const std::byte* const all = source_->All(static_cast<uint32_t>(first), count);
  if (all == nullptr) return;
  std::lock_guard lock(mutex_);
  if (blocks_[block].load(std::memory_order_relaxed) != nullptr) return;
  blocks_[block].store(const_cast<std::byte*>(all), std::memory_order_release);
}

void Arena::ReadBorrowed() const {
  for (size_t first = 0; first < borrowed_; first += block_records()) {
    if (blocks_[first >> shift_].load(std::memory_order_acquire) == nullptr) {
      Settle(first >> shift_);
    }
  }
}

Status Arena::Own(uint32_t i) {
  const size_t block = i >> shift_;
  if (Owns(block)) return OkStatus();
  std::lock_guard lock(mutex_);
  return OwnLocked(block);
}

Status Arena::OwnLocked(size_t block) {
  if (Owns(block)) return OkStatus();
  RAG_ASSIGN_OR_RETURN(std::byte* const made, MapBlock(block));
  const size_t first = block << shift_;
  if (first < borrowed_) {
    source_->Copy(static_cast<uint32_t>(first), std::min(block_records(), borrowed_ - first), made);
  }
  blocks_[block].store(made, std::memory_order_release);
  return OkStatus();
}

Status Arena::OwnAll() {
  std::lock_guard lock(mutex_);
  for (size_t first = 0; first < borrowed_; first += block_records()) {
    RAG_RETURN_IF_ERROR(OwnLocked(first >> shift_));
  }
  return OkStatus();
}

void Arena::Erase(uint32_t i) {
  if (!Owns(i >> shift_)) {
    std::lock_guard lock(mutex_);  // nobody copies the block meanwhile
    if (!Owns(i >> shift_)) {
      source_->Erase(i);
      return;
    }
  }
  std::memset(Record(i), 0, record_bytes_);
}

}  // namespace rag
