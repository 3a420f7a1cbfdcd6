// Files: read whole with a bound, mapped read-only, written atomically.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "lib/base/status.h"

namespace rag {

// The whole file. Errors name the path: not_found, permission_denied, io_error, and
// resource_exhausted when it is larger than max_bytes (nothing is read then).
Result<std::string> ReadFile(const std::string& path, size_t max_bytes);

// Writes to a temporary file beside `path`, fsyncs it, renames it over `path` and fsyncs the
// folder: after a crash the file has its old content or its new one.
Status WriteFileAtomic(const std::string& path, std::string_view content);

// A file mapped read-only. Movable; unmapped by the destructor. The bytes stay valid while the
// object lives; a file that is truncated meanwhile by another process raises SIGBUS on access, as
// with any mapping.
class MappedFile {
 public:
  MappedFile() = default;
  static Result<MappedFile> Open(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }
  // Lets go of the memory that holds these bytes of it; whoever reads them again reads the file.
  // Nothing where they are not of this file.
  void Forget(std::span<const std::byte> bytes) const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::string path_;
};

}  // namespace rag
