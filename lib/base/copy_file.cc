#include "lib/base/copy_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "lib/base/descriptor.h"
#include "lib/base/folder.h"

namespace rag {

namespace fs = std::filesystem;

namespace {

Status ReadBlocks(const Descriptor& file, const std::string& path, size_t block_bytes,
                  const TakeBlock& take) {
  std::vector<std::byte> block(block_bytes);
  for (bool ended = false; !ended;) {
    size_t filled = 0;
    while (filled < block.size()) {
      const ssize_t got = ::read(file.get(), block.data() + filled, block.size() - filled);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoError("cannot read", path);
      if (got == 0) {
        ended = true;
        break;
      }
      filled += static_cast<size_t>(got);
    }
    RAG_RETURN_IF_ERROR(take(std::span(block).first(filled)));
  }
  return OkStatus();
}

}  // namespace

Status ReadBlocks(const std::string& path, size_t block_bytes, const TakeBlock& take) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return ErrnoError("cannot read", path);
  return ReadBlocks(file, path, block_bytes, take);
}

Status CopyFile(const std::string& from, const std::string& to, size_t block_bytes,
                const TakeBlock& take) {
  const Descriptor in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info;
  if (in.get() < 0 || ::fstat(in.get(), &info) != 0) return ErrnoError("cannot read", from);
  const Descriptor out(
      ::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, info.st_mode & 0777));
  if (out.get() < 0) return ErrnoError("cannot create", to);
  RAG_RETURN_IF_ERROR(
      ReadBlocks(in, from, block_bytes, [&](std::span<const std::byte> block) -> Status {
        RAG_RETURN_IF_ERROR(take(block));
        return WriteAll(out, block, to);
      }));
  return ::fsync(out.get()) == 0 ? OkStatus() : ErrnoError("cannot sync", to);
}

Status CopyFile(const std::string& from, const std::string& to) {
  return CopyFile(from, to, kCopyBlockBytes, [](std::span<const std::byte>) { return OkStatus(); });
}

Status CopyFolder(const fs::path& from, const fs::path& to) {
  if (IsBelow(to, from)) {
    return InvalidArgumentError("'", to.string(), "' is in the folder '", from.string(),
                                "' that is copied");
  }
  std::error_code error;
  fs::create_directories(to, error);
  if (error) return IoError("cannot make '", to.string(), "': ", error.message());
  RAG_ASSIGN_OR_RETURN(const std::vector<fs::path> paths, ListFolder(from));
  for (const fs::path& path : paths) {
    std::error_code unknown;
    const fs::file_status status = fs::status(path, unknown);
    if (fs::is_directory(status)) {
      RAG_RETURN_IF_ERROR(CopyFolder(path, to / path.filename()));
    } else if (fs::is_regular_file(status)) {
      RAG_RETURN_IF_ERROR(CopyFile(path.string(), (to / path.filename()).string()));
    } else {
      return InvalidArgumentError("'", path.string(), "' is neither a file nor a folder");
    }
  }
  return OkStatus();
}

}  // namespace rag
