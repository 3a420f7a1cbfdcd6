// The sockets: HTTP/1.1 over TCP and a Unix domain socket. All that knows Boost is behind this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "apps/common/log.h"
#include "apps/ragd/metrics.h"
#include "apps/ragd/router.h"
#include "lib/base/status.h"

namespace rag {

struct ServerOptions {
  std::string listen;         // as ParseHostPort takes it; "" for no TCP
  std::string socket;         // path of a Unix domain socket; "" for none
  bool allow_remote = false;  // an address that is not loopback may be listened on
  size_t max_header_bytes = size_t{16} << 10;
  size_t max_body_bytes = size_t{32} << 20;
  size_t max_connections = 256;
  double read_timeout_seconds = 30;   // of one whole request, from its first byte
  double write_timeout_seconds = 30;  // of one write of at most 64 KiB
  double idle_timeout_seconds = 75;   // between two requests
  double drain_seconds = 20;
  size_t workers = 4;
  size_t generate_workers = 2;  // of requests that may run the decoder
  size_t queue = 64;            // of requests that wait for one of the workers
  size_t generate_queue = 64;   // and for one of those of the decoder
};

// One thread does all socket work; handlers run on worker threads.
class Server {
 public:
  // The references outlive the server.
  static Result<std::unique_ptr<Server>> Create(const ServerOptions& options, const Router& router,
                                                Metrics& metrics, AppLog& log);
  virtual ~Server() = default;

  // Binds and listens, on the sockets systemd gives (LISTEN_FDS) instead of `listen` and `socket`
  // when there are any. Errors: those of listener.h; permission_denied for an address that is not
  // loopback without allow_remote.
  virtual Status Listen() = 0;
  // "127.0.0.1:43017 unix:/run/rag.sock": the port is the real one.
  virtual std::string addresses() const = 0;
  // Requests waiting for a worker.
  virtual size_t queue_length() const = 0;
  // Serves until SIGTERM or SIGINT, then drains: nothing new is accepted, requests in flight get
  // drain_seconds, then they are cancelled. A second signal ends the process at once, with 1.
  // Every handler has returned when this does.
  virtual void Run() = 0;
};

}  // namespace rag
