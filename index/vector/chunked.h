// Chunked: an array that grows while others read it. Elements never move.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>

namespace rag {

inline constexpr size_t kMaxChunks = 8'192;

template <class T>
class Chunked {
 public:
  // Chunks of 2^shift elements.
  explicit Chunked(unsigned shift)
      : shift_(shift), chunks_(std::make_unique<std::atomic<T*>[]>(kMaxChunks)) {}
  ~Chunked() {
    for (size_t i = 0; i < kMaxChunks; ++i) delete[] chunks_[i].load(std::memory_order_relaxed);
  }
  Chunked(const Chunked&) = delete;
  Chunked& operator=(const Chunked&) = delete;

  T& operator[](size_t i) { return *At(i); }
  const T& operator[](size_t i) const { return *At(i); }

  bool Has(size_t i) const {
    return chunks_[i >> shift_].load(std::memory_order_acquire) != nullptr;
  }

  // Makes the chunk of element i, which is below kMaxChunks << shift.
  void Ensure(size_t i) {
    std::atomic<T*>& chunk = chunks_[i >> shift_];
    if (chunk.load(std::memory_order_acquire) != nullptr) return;
    std::lock_guard lock(grow_mutex_);
    if (chunk.load(std::memory_order_relaxed) != nullptr) return;
    chunk.store(new T[size_t{1} << shift_], std::memory_order_release);
  }

 private:
  T* At(size_t i) const {
    return chunks_[i >> shift_].load(std::memory_order_acquire) + (i & ((size_t{1} << shift_) - 1));
  }

  const unsigned shift_;
  std::mutex grow_mutex_;  // guards the making of chunks
  std::unique_ptr<std::atomic<T*>[]> chunks_;
};

}  // namespace rag
