// ProcessLock: a folder that one process alone works in.
#pragma once

#include <filesystem>
#include <string_view>
#include <utility>

#include "lib/base/status.h"

namespace rag {

// The kernel frees the lock when the process ends, however it ends, so that there is no stale one;
// the file's content only says who has it.
class ProcessLock {
 public:
  static constexpr const char* kFileName = "rag.lock";

  // Errors: unavailable "`what` is in use by pid N"; permission_denied, io_error.
  static Result<ProcessLock> Take(const std::filesystem::path& folder, std::string_view what);

  ProcessLock() = default;
  ProcessLock(ProcessLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ProcessLock& operator=(ProcessLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~ProcessLock();

 private:
  int fd_ = -1;
};

}  // namespace rag
