// Listening sockets, made without Boost: TCP, Unix domain, and those systemd hands over.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"

namespace rag {

struct HostPort {
  std::string host;  // without brackets; "" for every address
  uint16_t port = 0;
};
// "127.0.0.1:7432", "[::1]:7432", "localhost:0", ":7432". Errors: invalid_argument.
Result<HostPort> ParseHostPort(const std::string& text);

// Owns the descriptor, and the file of a Unix socket that it made: both go with it.
class Listener {
 public:
  // Port 0 takes a free one. Errors: unavailable when the address is in use, invalid_argument when
  // the host is not known, permission_denied, io_error.
  static Result<Listener> Tcp(const HostPort& address);
  // Mode 0600. A socket file that nobody answers at (a killed daemon's) is replaced. Errors:
  // unavailable when somebody answers; already_exists when the path is no socket; invalid_argument
  // for a path over the system's bound; permission_denied, io_error.
  static Result<Listener> Unix(const std::string& path);
  // sd_listen_fds(3): none when the variables are absent or meant for another process. Errors:
  // invalid_argument for a descriptor that is no listening stream socket.
  static Result<std::vector<Listener>> FromSystemd();

  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) noexcept;
  ~Listener();

  // Starts to take connections (Tcp only binds, so that the address can be looked at first).
  Status Listen();

  int fd() const { return fd_; }
  int Release();  // the descriptor is the caller's; the file still goes with this
  int family() const { return family_; }
  bool is_loopback() const { return is_loopback_; }  // TCP on 127.0.0.0/8 or ::1
  bool is_unix() const;
  const std::string& address() const { return address_; }  // "127.0.0.1:43017", "unix:/x"

 private:
  Listener() = default;
  Status Describe();

  int fd_ = -1;
  int family_ = 0;
  bool is_loopback_ = false;
  std::string address_;
  std::string file_;  // to unlink, when it is still the one we made
  uint64_t file_inode_ = 0;
};

// "READY=1" and the like to $NOTIFY_SOCKET; nothing when there is none (sd_notify(3)).
void NotifySystemd(std::string_view state);

}  // namespace rag
