// RowFailure: that a row could not be read. Rows are read deep inside of walks, which go on with
// zeros; whoever has used rows looks here before giving out what was found with them.
#pragma once

#include <atomic>
#include <mutex>
#include <utility>

#include "lib/base/status.h"

namespace rag {

class RowFailure {
 public:
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  // The first is kept.
  void Set(Status status) {
    std::lock_guard lock(mutex_);
    if (status_.ok()) status_ = std::move(status);
    failed_.store(true, std::memory_order_release);
  }
  Status status() const {
    if (!failed()) return OkStatus();
    std::lock_guard lock(mutex_);
    return status_;
  }

 private:
  std::atomic<bool> failed_{false};
  mutable std::mutex mutex_;  // guards status_
  Status status_;
};

}  // namespace rag
