// AtomicFile: a file that is written in pieces and becomes what others see at once.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "lib/base/descriptor.h"
#include "lib/base/status.h"

namespace rag {

// A temporary file beside `path`, which Commit syncs and renames: after a crash `path` has its old
// content or its new one. Without Commit nothing changes.
class AtomicFile {
 public:
  // mode: of the file, less the process's umask. What processes that are gone have left of theirs
  // is removed. Errors: as ErrnoError; unavailable when many write the same file now.
  static Result<std::unique_ptr<AtomicFile>> Create(const std::string& path, unsigned mode);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  Status Write(std::span<const std::byte> bytes);  // behind what was written last
  Status WriteAt(size_t position, std::span<const std::byte> bytes);
  Status Commit();

 private:
  AtomicFile(const std::string& path, std::string temporary)
      : path_(path), temporary_(std::move(temporary)) {}

  const std::string path_;
  std::string temporary_;  // empty once it is renamed
  Descriptor file_;
};

}  // namespace rag
