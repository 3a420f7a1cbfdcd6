#include "apps/rag_bench/peers/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

extern char** environ;

namespace rag::bench {
namespace {

constexpr size_t kMaxAnswerBytes = size_t{1} << 20;
constexpr int kPollMs = 100;

}  // namespace

Result<std::unique_ptr<Child>> Child::Start(const std::vector<std::string>& command) {
  int to[2];
  int from[2];
  if (::pipe2(to, O_CLOEXEC) != 0) return IoError("cannot make a pipe: ", std::strerror(errno));
  if (::pipe2(from, O_CLOEXEC) != 0) {
    ::close(to[0]);
    ::close(to[1]);
    return IoError("cannot make a pipe: ", std::strerror(errno));
  }
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, to[0], STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, words[0], &actions, &attributes, words.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(to[0]);
  ::close(from[1]);
  if (error != 0) {
    ::close(to[1]);
    ::close(from[0]);
    return IoError("cannot start '", command[0], "': ", std::strerror(error));
  }
  return std::unique_ptr<Child>(new Child(pid, to[1], from[0]));
}

Child::~Child() {
  ::close(to_);
  ::close(from_);
  Kill();
}

void Child::Kill() {
  if (pid_ < 0) return;
  ::kill(-pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

Result<bool> Child::Read(const CancelToken& cancel) {
  for (;;) {
    if (cancel.cancelled()) {
      Kill();
      return CancelledError("stopped");
    }
    if (buffer_.size() > kMaxAnswerBytes) {
      return ResourceExhaustedError("the peers' process answered with over ", kMaxAnswerBytes,
                                    " bytes");
    }
    pollfd poll_fd{from_, POLLIN, 0};
    if (::poll(&poll_fd, 1, kPollMs) <= 0) continue;
    char chunk[4096];
    const ssize_t count = ::read(from_, chunk, sizeof(chunk));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    buffer_.append(chunk, static_cast<size_t>(count));
    return true;
  }
}

Result<std::string> Child::ReadToEnd(const CancelToken& cancel) {
  for (bool more = true; more;) {
    RAG_ASSIGN_OR_RETURN(more, Read(cancel));
  }
  int status = 0;
  // It may live on after it closed its output.
  for (pid_t ended = 0; ended != pid_;) {
    if (cancel.cancelled()) {
      Kill();
      return CancelledError("stopped");
    }
    ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended < 0 && errno != EINTR) break;
    if (ended == 0) ::poll(nullptr, 0, kPollMs / 10);
  }
  pid_ = -1;
  if (WIFSIGNALED(status)) return UnavailableError("was ended by signal ", WTERMSIG(status));
  if (WEXITSTATUS(status) != 0) return UnavailableError("ended with ", WEXITSTATUS(status));
  return std::move(buffer_);
}

Result<Value> Child::Ask(const Value::Object& request, const CancelToken& cancel) {
  if (pid_ < 0) return UnavailableError("the peers' process was ended");
  const std::string line = ToJson(Value(request)) + "\n";
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t count = ::write(to_, line.data() + sent, line.size() - sent);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return UnavailableError("the peers' process has ended");
    sent += static_cast<size_t>(count);
  }
  size_t end = 0;
  while ((end = buffer_.find('\n')) == std::string::npos) {
    RAG_ASSIGN_OR_RETURN(const bool more, Read(cancel));
    if (more) continue;
    Kill();
    return UnavailableError("the peers' process has ended; standard error says why");
  }
  const std::string answer = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  RAG_ASSIGN_OR_RETURN(Value value, ParseJson(answer));
  if (!value.is_object()) return UnavailableError("the peers' process answered '", answer, "'");
  if (const Value* const error = value.Find("error"); error != nullptr && error->is_string()) {
    return InternalError(error->as_string());
  }
  return value;
}

}  // namespace rag::bench
