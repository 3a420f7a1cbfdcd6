#include "engine/parse/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "lib/base/descriptor.h"

namespace rag {
namespace {

constexpr size_t kMaxErrorText = 4'096;
constexpr int kPollMs = 50;

using Clock = std::chrono::steady_clock;

Status SystemError(std::string_view what) { return IoError(what, ": ", std::strerror(errno)); }

Status WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return SystemError("cannot write a temporary file");
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  if (::lseek(fd, 0, SEEK_SET) < 0) return SystemError("cannot rewind a temporary file");
  return OkStatus();
}

struct Pipe {
  Descriptor read;
  Descriptor write;
  Status Open() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return SystemError("cannot make a pipe");
    read.Reset(ends[0]);
    write.Reset(ends[1]);
    return OkStatus();
  }
};

// Kills and reaps the child unless it was waited for.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // False while it runs.
  bool TryWait(int* status) {
    const pid_t got = ::waitpid(pid_, status, WNOHANG);
    if (got == 0 || (got < 0 && errno == EINTR)) return false;
    if (got < 0) *status = 0;
    pid_ = -1;
    return true;
  }

  // posix_spawn has no step for limits; they are laid on from outside at once, while the child is
  // still being loaded.
  void Limit(const ChildLimits& limits) const {
    const auto seconds = static_cast<rlim_t>(limits.timeout_ms / 1'000 + 1);
    Set(RLIMIT_AS, limits.max_memory_bytes);
    Set(RLIMIT_CPU, seconds);
    Set(RLIMIT_FSIZE, 0);
    Set(RLIMIT_CORE, 0);
  }

 private:
  void Set(__rlimit_resource resource, rlim_t value) const {
    struct rlimit limit;
    limit.rlim_cur = value;
    limit.rlim_max = value;
    // A child that has ended already needs none.
    ::prlimit(pid_, resource, &limit, nullptr);
  }

  pid_t pid_;
};

Result<pid_t> Spawn(const std::vector<std::string>& arguments, int input, int output, int error) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const char* path = std::getenv("PATH");
  std::string path_entry = StrCat("PATH=", path == nullptr ? "/usr/bin:/bin" : path);
  std::string locale = "LC_ALL=C.UTF-8";
  char* environment[] = {path_entry.data(), locale.data(), nullptr};

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, error, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // Ctrl-C is for this program: it decides what becomes of the child. And no signal that some
  // thread here blocks may stay blocked there.
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  pid_t pid = -1;
  const int failed = ::posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed == ENOENT)
    return FailedPreconditionError("the program '", argv[0], "' is not installed");
  if (failed != 0) return IoError("cannot run '", argv[0], "': ", std::strerror(failed));
  return pid;
}

// Reads what is there; false at the end of the pipe.
bool ReadSome(int fd, std::string& out) {
  char buffer[64 << 10];
  const ssize_t got = ::read(fd, buffer, sizeof(buffer));
  if (got > 0) out.append(buffer, static_cast<size_t>(got));
  return got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN));
}

Status CheckTime(Clock::time_point deadline, const ChildLimits& limits, const CancelToken* cancel) {
  if (cancel != nullptr && cancel->cancelled()) return CancelledError("cancelled");
  if (Clock::now() > deadline) {
    return DeadlineExceededError("it took longer than ", limits.timeout_ms, " ms");
  }
  return OkStatus();
}

}  // namespace

Result<ChildOutput> RunChild(const std::vector<std::string>& arguments, std::string_view input,
                             const ChildLimits& limits, const CancelToken* cancel) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(limits.timeout_ms);
  Descriptor file(::memfd_create("rag-input", MFD_CLOEXEC));
  if (file.get() < 0) return SystemError("cannot make a file in memory");
  RAG_RETURN_IF_ERROR(WriteAll(file.get(), input));
  Pipe output;
  Pipe error;
  RAG_RETURN_IF_ERROR(output.Open());
  RAG_RETURN_IF_ERROR(error.Open());
  RAG_ASSIGN_OR_RETURN(const pid_t pid,
                       Spawn(arguments, file.get(), output.write.get(), error.write.get()));
  Child child(pid);
  child.Limit(limits);
  output.write.Close();
  error.write.Close();

  ChildOutput result;
  bool output_open = true;
  bool error_open = true;
  while (output_open || error_open) {
    RAG_RETURN_IF_ERROR(CheckTime(deadline, limits, cancel));
    pollfd waits[2] = {{output_open ? output.read.get() : -1, POLLIN, 0},
                       {error_open ? error.read.get() : -1, POLLIN, 0}};
    if (::poll(waits, 2, kPollMs) <= 0) continue;
    if (waits[0].revents != 0) output_open = ReadSome(output.read.get(), result.output);
    if (waits[1].revents != 0) error_open = ReadSome(error.read.get(), result.error_text);
    result.error_text.resize(std::min(result.error_text.size(), kMaxErrorText));
    if (result.output.size() > limits.max_output_bytes) {
      return ResourceExhaustedError("its text is over the limit of ", limits.max_output_bytes,
                                    " bytes");
    }
  }
  int status = 0;
  while (!child.TryWait(&status)) {
    RAG_RETURN_IF_ERROR(CheckTime(deadline, limits, cancel));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU) {
    return DeadlineExceededError("it took longer than ", limits.timeout_ms, " ms");
  }
  return result;
}

}  // namespace rag
