#include "lib/base/process_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <span>
#include <string>

namespace rag {

namespace {

constexpr int kTries = 64;

}  // namespace

Result<ProcessLock> ProcessLock::Take(const std::filesystem::path& folder, std::string_view what) {
  const std::string path = (folder / kFileName).string();
  for (int i = 0; i < kTries; ++i) {
    ProcessLock lock;
    lock.file_.Reset(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (lock.file_.get() < 0) return ErrnoError("cannot open", path);
    if (::flock(lock.file_.get(), LOCK_EX | LOCK_NB) != 0) {
      char text[32] = {};
      const ssize_t got = ::pread(lock.file_.get(), text, sizeof(text) - 1, 0);
      const std::string owner(text, got > 0 ? static_cast<size_t>(got) : 0);
      return UnavailableError(what, " is in use by pid ",
                              owner.empty() ? "unknown" : owner.substr(0, owner.find('\n')));
    }
    // Who had it may have removed or moved the file since it was opened: then the lock is on
    // nothing that others see.
    if (!IsAt(lock.file_, path)) continue;
    const std::string pid = StrCat(static_cast<long long>(::getpid()), "\n");
    if (::ftruncate(lock.file_.get(), 0) != 0) return ErrnoError("cannot write", path);
    RAG_RETURN_IF_ERROR(WriteAll(lock.file_, std::as_bytes(std::span(pid)), path));
    return lock;
  }
  return UnavailableError(what, " is taken by others again and again");
}

}  // namespace rag
