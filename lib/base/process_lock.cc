#include "lib/base/process_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace rag {

Result<ProcessLock> ProcessLock::Take(const std::filesystem::path& folder, std::string_view what) {
  const std::string path = (folder / kFileName).string();
  ProcessLock lock;
  lock.fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock.fd_ < 0)
    return PermissionDeniedError("cannot open '", path, "': ", std::strerror(errno));
  if (::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
    char text[32] = {};
    const ssize_t got = ::pread(lock.fd_, text, sizeof(text) - 1, 0);
    const std::string owner(text, got > 0 ? static_cast<size_t>(got) : 0);
    return UnavailableError(what, " is in use by pid ",
                            owner.empty() ? "unknown" : owner.substr(0, owner.find('\n')));
  }
  const std::string pid = StrCat(static_cast<long long>(::getpid()), "\n");
  if (::ftruncate(lock.fd_, 0) != 0 ||
      ::pwrite(lock.fd_, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return IoError("cannot write '", path, "': ", std::strerror(errno));
  }
  return lock;
}

ProcessLock::~ProcessLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace rag
