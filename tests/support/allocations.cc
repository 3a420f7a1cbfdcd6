// Replaces the program's operator new, so this is linked into the programs that count alone.
#include "tests/support/allocations.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace rag::test {
namespace {

std::atomic<size_t> live_bytes = 0;
std::atomic<size_t> peak_bytes = 0;

}  // namespace

size_t StartCountingBytes() {
  const size_t live = live_bytes;
  peak_bytes = live;
  return live;
}

size_t PeakBytes() { return peak_bytes; }

}  // namespace rag::test

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {

void* Count(void* memory) {
  using rag::test::live_bytes;
  using rag::test::peak_bytes;
  if (memory == nullptr) throw std::bad_alloc();
  const size_t bytes = ::malloc_usable_size(memory);
  const size_t live = live_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  size_t peak = peak_bytes.load(std::memory_order_relaxed);
  while (live > peak && !peak_bytes.compare_exchange_weak(peak, live)) {
  }
  return memory;
}

void Release(void* memory) {
  if (memory == nullptr) return;
  rag::test::live_bytes.fetch_sub(::malloc_usable_size(memory), std::memory_order_relaxed);
  std::free(memory);
}

void* Aligned(size_t bytes, std::align_val_t alignment) {
  const size_t unit = static_cast<size_t>(alignment);
  return Count(std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit));
}

}  // namespace

void* operator new(size_t bytes) { return Count(std::malloc(bytes)); }
void* operator new[](size_t bytes) { return Count(std::malloc(bytes)); }
void* operator new(size_t bytes, std::align_val_t alignment) { return Aligned(bytes, alignment); }
void* operator new[](size_t bytes, std::align_val_t alignment) { return Aligned(bytes, alignment); }
void operator delete(void* memory) noexcept { Release(memory); }
void operator delete[](void* memory) noexcept { Release(memory); }
void operator delete(void* memory, size_t) noexcept { Release(memory); }
void operator delete[](void* memory, size_t) noexcept { Release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { Release(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { Release(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { Release(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { Release(memory); }

#endif
