#include "index/vector/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>

namespace rag {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
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

Arena::~Arena() {
  for (size_t i = 0; i < kMaxChunks; ++i) {
    if (std::byte* block = blocks_[i].load(std::memory_order_relaxed)) {
      ::munmap(block, BlockBytes());
    }
  }
}

size_t Arena::BlockBytes() const { return RoundUp(record_bytes_ << shift_, kHugePage); }

Status Arena::Ensure(uint32_t i) {
  const size_t block = i >> shift_;
  if (block >= kMaxChunks) {
    return ResourceExhaustedError("there is room for ", max_records(), " records of ",
                                  record_bytes_, " bytes");
  }
  if (blocks_[block].load(std::memory_order_acquire) != nullptr) return OkStatus();
  std::lock_guard lock(mutex_);
  if (blocks_[block].load(std::memory_order_relaxed) != nullptr) return OkStatus();
  // Aligned to a huge page by mapping one more and giving the ends back.
  const size_t bytes = BlockBytes();
  void* mapped = ::mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    return ResourceExhaustedError("no memory for another ", bytes, " bytes of vectors");
  }
  std::byte* const begin = static_cast<std::byte*>(mapped);
  const size_t skip =
      RoundUp(reinterpret_cast<uintptr_t>(begin), kHugePage) - reinterpret_cast<uintptr_t>(begin);
  if (skip > 0) ::munmap(begin, skip);
  if (skip < kHugePage) ::munmap(begin + skip + bytes, kHugePage - skip);
  // The first block is left alone, so that a small collection takes what it needs and not 2 MiB.
  if (block > 0) ::madvise(begin + skip, bytes, MADV_HUGEPAGE);
  blocks_[block].store(begin + skip, std::memory_order_release);
  return OkStatus();
}

}  // namespace rag
