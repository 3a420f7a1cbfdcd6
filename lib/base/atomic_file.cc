#include "lib/base/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>

namespace rag {
namespace {

constexpr std::string_view kTemporary = ".tmp.";
constexpr int kTries = 64;
constexpr uint64_t kNumberStep = uint64_t{1} << 32;  // beyond every process's number

std::string FolderOf(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// Whoever writes a temporary file holds a lock on it, which ends with the process: what can be
// locked was left.
bool Lock(const Descriptor& file) { return ::flock(file.get(), LOCK_EX | LOCK_NB) == 0; }

void RemoveLeftovers(const std::string& path) {
  const std::string beginning = StrCat(std::filesystem::path(path).filename().string(), kTemporary);
  std::error_code error;
  for (std::filesystem::directory_iterator it(FolderOf(path), error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(beginning) ||
        name.find_first_not_of("0123456789", beginning.size()) != std::string::npos) {
      continue;
    }
    const Descriptor file(
        ::open(it->path().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
    // The name may have become another file's while this one was opened.
    if (file.get() >= 0 && Lock(file) && IsAt(file, it->path().string())) {
      ::unlink(it->path().c_str());
    }
  }
}

bool HasName(const Descriptor& file) {
  struct stat info;
  return ::fstat(file.get(), &info) == 0 && info.st_nlink > 0;
}

}  // namespace

Result<std::unique_ptr<AtomicFile>> AtomicFile::Create(const std::string& path, unsigned mode) {
  RemoveLeftovers(path);
  // Names that are taken belong to threads, or to processes of other containers, that write now.
  uint64_t number = static_cast<uint64_t>(::getpid());
  for (int i = 0; i < kTries; ++i, number += kNumberStep) {
    std::unique_ptr<AtomicFile> created(new AtomicFile(path, StrCat(path, kTemporary, number)));
    created->file_.Reset(::open(created->temporary_.c_str(),
                                O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                                static_cast<mode_t>(mode)));
    if (created->file_.get() < 0) {
      const int error = errno;
      const Status status = ErrnoError("cannot create", created->temporary_);
      if (error == EEXIST) continue;
      return status;
    }
    // Between the two calls another process may have taken it for a leftover.
    if (Lock(created->file_) && HasName(created->file_)) return created;
    if (errno == EOPNOTSUPP || errno == ENOLCK) return created;  // then nobody takes it for one
    created->temporary_.clear();
  }
  return UnavailableError("'", path, "' is being written by ", kTries, " others");
}

AtomicFile::~AtomicFile() {
  if (file_.get() >= 0 && !temporary_.empty()) ::unlink(temporary_.c_str());
}

Status AtomicFile::Write(std::span<const std::byte> bytes) {
  return WriteAll(file_, bytes, temporary_);
}

Status AtomicFile::WriteAt(size_t position, std::span<const std::byte> bytes) {
  if (::lseek(file_.get(), static_cast<off_t>(position), SEEK_SET) < 0) {
    return ErrnoError("cannot write", temporary_);
  }
  return Write(bytes);
}

Status AtomicFile::Commit() {
  if (::fsync(file_.get()) != 0) return ErrnoError("cannot sync", temporary_);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return ErrnoError("cannot rename to", path_);
  }
  temporary_.clear();
  return SyncFolder(FolderOf(path_));
}

}  // namespace rag
