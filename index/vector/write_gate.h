// WriteGate: many Adds together, or one Remove or Save alone. Searches do not pass through it.
#pragma once

#include <mutex>
#include <shared_mutex>

namespace rag {

class WriteGate {
 public:
  // Both take the turn first: a reader-preferring shared mutex alone would let a long row of Adds
  // keep a Remove waiting for ever.
  std::shared_lock<std::shared_mutex> Shared() {
    std::lock_guard turn(turn_);
    return std::shared_lock(mutex_);
  }
  std::unique_lock<std::shared_mutex> Exclusive() {
    std::lock_guard turn(turn_);
    return std::unique_lock(mutex_);
  }

 private:
  std::mutex turn_;  // guards the wait for mutex_
  std::shared_mutex mutex_;
};

}  // namespace rag
