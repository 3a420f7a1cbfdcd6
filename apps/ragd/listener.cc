#include "apps/ragd/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "apps/ragd/auth.h"

namespace rag {
namespace {

constexpr int kBacklog = 512;
constexpr int kFirstSystemdFd = 3;  // SD_LISTEN_FDS_START

Status SystemError(std::string_view what, int error) {
  const std::string message = StrCat(what, ": ", std::strerror(error));
  switch (error) {
    case EADDRINUSE:
      return UnavailableError(message);
    case EACCES:
    case EPERM:
      return PermissionDeniedError(message);
    default:
      return IoError(message);
  }
}

Result<sockaddr_un> UnixAddress(const std::string& path) {
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return InvalidArgumentError("socket path '", path, "' is not between 1 and ",
                                sizeof(address.sun_path) - 1, " bytes long");
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// Removes what a killed daemon left. The look and the removal are two steps: two daemons started at
// the same instant on one path could both get through, and the later one wins.
Status RemoveStaleSocket(const std::string& path, const sockaddr_un& address) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? OkStatus() : SystemError(path, errno);
  }
  if (!S_ISSOCK(info.st_mode)) {
    return AlreadyExistsError(path, " exists and is not a socket");
  }
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return SystemError("socket", errno);
  const int connected =
      ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int error = connected == 0 ? 0 : errno;
  ::close(probe);
  if (error == 0 || error == EAGAIN || error == EINPROGRESS) {
    return UnavailableError(path, " is in use: another process answers there");
  }
  if (error != ECONNREFUSED) return SystemError(path, error);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return SystemError(path, errno);
  return OkStatus();
}

}  // namespace

Result<HostPort> ParseHostPort(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) {
    return InvalidArgumentError("address '", text, "' is not HOST:PORT");
  }
  HostPort result;
  result.host = text.substr(0, colon);
  if (result.host.starts_with('[') && result.host.ends_with(']')) {
    result.host = result.host.substr(1, result.host.size() - 2);
  } else if (result.host.find_first_of("[]:") != std::string::npos) {
    return InvalidArgumentError("address '", text, "': an IPv6 address is written [ADDRESS]:PORT");
  }
  const char* begin = text.data() + colon + 1;
  const char* end = text.data() + text.size();
  const auto [parsed, error] = std::from_chars(begin, end, result.port);
  if (error != std::errc() || parsed != end) {
    return InvalidArgumentError("address '", text, "': the port is not between 0 and 65535");
  }
  return result;
}

Listener::Listener(Listener&& other) noexcept { *this = std::move(other); }

Listener& Listener::operator=(Listener&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(family_, other.family_);
  std::swap(is_loopback_, other.is_loopback_);
  std::swap(address_, other.address_);
  std::swap(file_, other.file_);
  std::swap(file_inode_, other.file_inode_);
  return *this;
}

Listener::~Listener() {
  if (!file_.empty()) {
    struct stat info {};
    if (::lstat(file_.c_str(), &info) == 0 && info.st_ino == file_inode_) ::unlink(file_.c_str());
  }
  if (fd_ >= 0) ::close(fd_);
}

int Listener::Release() { return std::exchange(fd_, -1); }

bool Listener::is_unix() const { return family_ == AF_UNIX; }

Status Listener::Describe() {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    return SystemError("getsockname", errno);
  }
  family_ = storage.ss_family;
  char text[INET6_ADDRSTRLEN] = "";
  if (family_ == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(storage);
    ::inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
    address_ = StrCat(text, ":", ntohs(in.sin_port));
    is_loopback_ = IsLoopbackAddress(text);
  } else if (family_ == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(storage);
    ::inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof(text));
    address_ = StrCat("[", text, "]:", ntohs(in.sin6_port));
    is_loopback_ = IsLoopbackAddress(text);
  } else if (family_ == AF_UNIX) {
    const auto& un = reinterpret_cast<const sockaddr_un&>(storage);
    const size_t length = size - offsetof(sockaddr_un, sun_path);
    address_ = StrCat("unix:", std::string_view(un.sun_path, ::strnlen(un.sun_path, length)));
  } else {
    return InvalidArgumentError("socket of family ", family_, " is not TCP or a Unix socket");
  }
  return OkStatus();
}

Result<Listener> Listener::Tcp(const HostPort& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string port = StrCat(address.port);
  const int failed = ::getaddrinfo(address.host.empty() ? nullptr : address.host.c_str(),
                                   port.c_str(), &hints, &found);
  if (failed != 0) {
    return InvalidArgumentError("address '", address.host, "': ", ::gai_strerror(failed));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  const std::string name = StrCat(address.host, ":", address.port);
  Status last = IoError("no address for ", name);
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    Listener listener;
    listener.fd_ = ::socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener.fd_ < 0) {
      last = SystemError(name, errno);
      continue;
    }
    const int on = 1;
    ::setsockopt(listener.fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (::bind(listener.fd_, info->ai_addr, info->ai_addrlen) != 0) {
      last = SystemError(name, errno);
      continue;
    }
    RAG_RETURN_IF_ERROR(listener.Describe());
    return listener;
  }
  return last;
}

Result<Listener> Listener::Unix(const std::string& path) {
  RAG_ASSIGN_OR_RETURN(const sockaddr_un address, UnixAddress(path));
  RAG_RETURN_IF_ERROR(RemoveStaleSocket(path, address));
  Listener listener;
  listener.fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener.fd_ < 0) return SystemError("socket", errno);
  // Linux gives the file the mode of the unbound socket (unix(7), "Pathname socket ownership and
  // permissions"): the file is never seen with another one, and the process's mask is left alone.
  if (::fchmod(listener.fd_, S_IRUSR | S_IWUSR) != 0) return SystemError("fchmod", errno);
  const int bound =
      ::bind(listener.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int error = errno;
  if (bound != 0) return SystemError(path, error);
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    listener.file_ = path;
    listener.file_inode_ = info.st_ino;
  }
  RAG_RETURN_IF_ERROR(listener.Describe());
  return listener;
}

Result<std::vector<Listener>> Listener::FromSystemd() {
  std::vector<Listener> listeners;
  const char* pid = std::getenv("LISTEN_PID");
  const char* count_text = std::getenv("LISTEN_FDS");
  if (pid == nullptr || count_text == nullptr) return listeners;
  if (std::strtol(pid, nullptr, 10) != static_cast<long>(::getpid())) return listeners;
  const long count = std::strtol(count_text, nullptr, 10);
  if (count < 0 || count > 64) {
    return InvalidArgumentError("LISTEN_FDS '", count_text, "' is not between 0 and 64");
  }
  for (int i = 0; i < count; ++i) {
    Listener listener;
    listener.fd_ = kFirstSystemdFd + i;
    int type = 0;
    int listening = 0;
    socklen_t size = sizeof(int);
    if (::getsockopt(listener.fd_, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM ||
        ::getsockopt(listener.fd_, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 ||
        listening == 0) {
      return InvalidArgumentError("LISTEN_FDS: descriptor ", listener.fd_,
                                  " is not a listening stream socket");
    }
    ::fcntl(listener.fd_, F_SETFD, FD_CLOEXEC);
    ::fcntl(listener.fd_, F_SETFL, ::fcntl(listener.fd_, F_GETFL) | O_NONBLOCK);
    RAG_RETURN_IF_ERROR(listener.Describe());
    listeners.push_back(std::move(listener));
  }
  return listeners;
}

Status Listener::Listen() {
  if (::listen(fd_, kBacklog) != 0) return SystemError(address_, errno);
  return OkStatus();
}

void NotifySystemd(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  sockaddr_un address{};
  const size_t length = std::strlen(path);
  if (length >= sizeof(address.sun_path)) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // the abstract namespace
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  // Nobody to tell if this fails: systemd then reports the start as timed out.
  (void)!::sendto(fd, state.data(), state.size(), MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&address), size);
  ::close(fd);
}

}  // namespace rag
