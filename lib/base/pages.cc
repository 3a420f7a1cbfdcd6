#include "lib/base/pages.h"

#include <sys/mman.h>

#include <cstdint>
#include <utility>

namespace rag {
namespace {

size_t RoundUp(size_t value) { return (value + kHugePage - 1) / kHugePage * kHugePage; }

}  // namespace

Result<std::byte*> MapPages(size_t bytes, bool huge) {
  // Aligned to a huge page by mapping one more and giving the ends back.
  void* mapped = ::mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED)
    return ResourceExhaustedError("no memory for another ", bytes, " bytes");
  std::byte* const begin = static_cast<std::byte*>(mapped);
  const auto address = reinterpret_cast<uintptr_t>(begin);
  const size_t skip = RoundUp(address) - address;
  if (skip > 0) ::munmap(begin, skip);
  if (skip < kHugePage) ::munmap(begin + skip + bytes, kHugePage - skip);
  if (huge) ::madvise(begin + skip, bytes, MADV_HUGEPAGE);
  return begin + skip;
}

Result<PageBuffer> PageBuffer::Allocate(size_t bytes) {
  PageBuffer buffer;
  if (bytes == 0) return buffer;
  // Small ones in small pages, so that they take what they need and not 2 MiB.
  RAG_ASSIGN_OR_RETURN(buffer.data_, MapPages(RoundUp(bytes), bytes >= kHugePage));
  buffer.size_ = bytes;
  return buffer;
}

PageBuffer::~PageBuffer() {
  if (data_ != nullptr) ::munmap(data_, RoundUp(size_));
}

PageBuffer::PageBuffer(PageBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

PageBuffer& PageBuffer::operator=(PageBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace rag
