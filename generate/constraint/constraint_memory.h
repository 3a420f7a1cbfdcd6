// ConstraintMemory: what the compiled constraints of one generator take, together.
#pragma once

#include <atomic>
#include <cstddef>

namespace rag {

// Thread-safe. Counted are, by about what the allocator gives for them: the vocabulary's table, the
// automatons and runs of what was compiled, and of each answer the frames, sets and masks that it
// keeps, with its vectors for one call. Who takes bytes looks at the limits.
class ConstraintMemory {
 public:
  explicit ConstraintMemory(size_t limit) : limit_(limit) {}
  ConstraintMemory(const ConstraintMemory&) = delete;
  ConstraintMemory& operator=(const ConstraintMemory&) = delete;

  void Add(size_t bytes) { used_.fetch_add(bytes, std::memory_order_relaxed); }
  void Remove(size_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }

  size_t used() const { return used_.load(std::memory_order_relaxed); }
  size_t limit() const { return limit_; }
  // What can be found again is given back.
  bool tight() const { return used() > limit_ / 2; }
  // Only constraints that take less than share() may take more, so that a large one is not the end
  // of the small ones.
  bool full() const { return used() > limit_; }
  size_t share() const { return limit_ / 256; }

 private:
  const size_t limit_;
  std::atomic<size_t> used_{0};
};

}  // namespace rag
