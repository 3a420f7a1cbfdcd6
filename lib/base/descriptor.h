// File descriptors, owned, and what the system says of a failure.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/status.h"

namespace rag {

// Closed at the end of its life; -1 is none.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  void Reset(int fd) {
    Close();
    fd_ = fd;
  }
  void Close();
  int get() const { return fd_; }

 private:
  int fd_;
};

// "WHAT 'PATH': …" from errno: not_found, permission_denied, resource_exhausted when a disk is full
// or a quota reached, else io_error.
Status ErrnoError(std::string_view what, const std::string& path);

// Errors: as ErrnoError, naming `path`; some of the bytes may be written then.
Status WriteAll(const Descriptor& file, std::span<const std::byte> bytes, const std::string& path);

// Whether `path` names this very file, and no link to it.
bool IsAt(const Descriptor& file, const std::string& path);

// So that what was renamed into the folder stays there after a loss of power. Errors: as
// ErrnoError.
Status SyncFolder(const std::string& folder);

}  // namespace rag
