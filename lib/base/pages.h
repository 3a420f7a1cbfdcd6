// Memory in pages of the system's own, asked for as huge pages: large arrays that are read at the
// memory's speed lose a third of it to look-ups of small ones.
#pragma once

#include <cstddef>
#include <span>

#include "lib/base/status.h"

namespace rag {

inline constexpr size_t kHugePage = size_t{2} << 20;

// Zeros, aligned to a huge page; bytes is a multiple of one. `huge`: huge pages are asked for, and
// memory is taken by them. To be given back with munmap. Errors: resource_exhausted.
Result<std::byte*> MapPages(size_t bytes, bool huge);

// Such memory, owned; zeros.
class PageBuffer {
 public:
  PageBuffer() = default;
  // Any number of bytes. Errors: resource_exhausted.
  static Result<PageBuffer> Allocate(size_t bytes);
  ~PageBuffer();
  PageBuffer(PageBuffer&& other) noexcept;
  PageBuffer& operator=(PageBuffer&& other) noexcept;

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace rag
