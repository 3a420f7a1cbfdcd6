// CancelToken: how a caller (a signal handler, a closed connection, a deadline) stops long work.
#pragma once

#include <atomic>

namespace rag {

// Cancel() may be called from any thread and from a signal handler. Work that takes a token looks
// at it at least every 100 ms and returns kCancelled, with everything acknowledged before kept.
class CancelToken {
 public:
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> cancelled_{false};
};

}  // namespace rag
