#include "lib/base/process_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <span>
#include <string>
#include <thread>

namespace rag {

namespace {

constexpr int kTries = 64;
constexpr std::chrono::seconds kMostWait(60);
constexpr std::chrono::milliseconds kPause(20);
constexpr std::string_view kRecovers = " recovers";  // behind the process's number

}  // namespace

Result<ProcessLock> ProcessLock::Take(const std::filesystem::path& folder, std::string_view what,
                                      Holder holder) {
  const std::string path = (folder / kFileName).string();
  const auto end = std::chrono::steady_clock::now() + kMostWait;
  for (int i = 0; i < kTries;) {
    ProcessLock lock;
    lock.file_.Reset(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (lock.file_.get() < 0) return ErrnoError("cannot open", path);
    if (::flock(lock.file_.get(), LOCK_EX | LOCK_NB) != 0) {
      char text[32] = {};
      const ssize_t got = ::pread(lock.file_.get(), text, sizeof(text) - 1, 0);
      const std::string owner(text, got > 0 ? static_cast<size_t>(got) : 0);
      if (holder == Holder::kWorks && owner.find(kRecovers) != std::string::npos &&
          std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(kPause);
        continue;
      }
      return UnavailableError(
          what, " is in use by pid ",
          owner.empty() ? "unknown" : owner.substr(0, owner.find_first_of(" \n")));
    }
    // Who had it may have removed or moved the file since it was opened: then the lock is on
    // nothing that others see.
    if (!IsAt(lock.file_, path)) {
      ++i;
      continue;
    }
    const std::string text = StrCat(static_cast<long long>(::getpid()),
                                    holder == Holder::kRecovers ? kRecovers : "", "\n");
    if (::ftruncate(lock.file_.get(), 0) != 0) return ErrnoError("cannot write", path);
    RAG_RETURN_IF_ERROR(WriteAll(lock.file_, std::as_bytes(std::span(text)), path));
    return lock;
  }
  return UnavailableError(what, " is taken by others again and again");
}

}  // namespace rag
