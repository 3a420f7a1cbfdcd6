// The server with handlers made for the test: what a client's closing, slow reading and a handler's
// failure do.
#include "apps/ragd/server.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <thread>

#include "tests/support/support.h"

namespace rag {
namespace {

using std::chrono::milliseconds;

bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 3000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(milliseconds(10));
  }
  return false;
}

class Client {
 public:
  explicit Client(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~Client() { Close(); }
  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void Get(const std::string& path, const std::string& extra = "") {
    const std::string request = "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + extra + "\r\n";
    REQUIRE(::send(fd_, request.data(), request.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(request.size()));
  }
  std::string ReadAll() {
    std::string all;
    char bytes[65536];
    for (ssize_t n; (n = ::recv(fd_, bytes, sizeof(bytes), 0)) > 0;) {
      all.append(bytes, static_cast<size_t>(n));
    }
    return all;
  }
  std::string ReadSome() {
    char bytes[4096];
    const ssize_t n = ::recv(fd_, bytes, sizeof(bytes), 0);
    return std::string(bytes, static_cast<size_t>(n > 0 ? n : 0));
  }

 private:
  int fd_;
};

// A server over a Unix domain socket, stopped by the signal that stops the daemon.
class Running {
 public:
  explicit Running(const std::function<void(Router&)>& add, ServerOptions options = {})
      : router_(Gatekeeper("", false)) {
    add(router_);
    options.socket = folder_.file("s");
    Result<std::unique_ptr<AppLog>> log = AppLog::Create("error", "text");
    REQUIRE_OK(log);
    log_ = std::move(*log);
    Result<std::unique_ptr<Server>> server = Server::Create(options, router_, metrics_, *log_);
    REQUIRE_OK(server);
    server_ = std::move(*server);
    REQUIRE_OK(server_->Listen());
    thread_ = std::thread([this] { server_->Run(); });
  }
  ~Running() { Stop(); }
  void Stop() {
    if (!thread_.joinable()) return;
    ::kill(::getpid(), SIGTERM);
    thread_.join();
  }
  std::string path() const { return folder_.file("s"); }
  Metrics& metrics() { return metrics_; }

 private:
  test::TemporaryFolder folder_;
  Router router_;
  Metrics metrics_;
  std::unique_ptr<AppLog> log_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

Route Get(const std::string& path, Lane lane, std::function<void(ResponseWriter&)> handler) {
  return {"GET", path, lane, false,
          [handler = std::move(handler)](const HttpRequest&, const std::string&,
                                         ResponseWriter& out) { handler(out); }};
}

// The body of an answer in chunks, put together.
std::string Unchunk(const std::string& answer) {
  std::string body;
  size_t at = answer.find("\r\n\r\n") + 4;
  while (at < answer.size()) {
    const size_t line = answer.find("\r\n", at);
    if (line == std::string::npos) break;
    const size_t size = std::stoul(answer.substr(at, line - at), nullptr, 16);
    body += answer.substr(line + 2, size);
    at = line + 2 + size + 2;
  }
  return body;
}

}  // namespace

TEST_CASE("a client that closes cancels the handler that works for it") {
  std::atomic<bool> began{false};
  std::atomic<bool> cancelled{false};
  Running server([&](Router& router) {
    router.Add(Get("/wait", Lane::kGenerate, [&](ResponseWriter& out) {
      began = true;
      cancelled = Eventually([&] { return out.cancel().cancelled(); });
    }));
  });
  Client client(server.path());
  client.Get("/wait");
  REQUIRE(Eventually([&] { return began.load(); }));
  CHECK_FALSE(cancelled);
  client.Close();
  CHECK(Eventually([&] { return cancelled.load(); }));
}

TEST_CASE("what a client sends ahead does not hide that it closed") {
  std::atomic<bool> began{false};
  std::atomic<bool> cancelled{false};
  Running server([&](Router& router) {
    router.Add(Get("/wait", Lane::kGenerate, [&](ResponseWriter& out) {
      began = true;
      cancelled = Eventually([&] { return out.cancel().cancelled(); });
    }));
  });
  Client client(server.path());
  client.Get("/wait");
  client.Get("/wait");
  REQUIRE(Eventually([&] { return began.load(); }));
  client.Close();
  CHECK(Eventually([&] { return cancelled.load(); }));
}

TEST_CASE("a stream waits for a slow reader and loses nothing") {
  constexpr size_t kPieces = 512;
  constexpr size_t kPieceBytes = size_t{64} << 10;
  std::atomic<size_t> written{0};
  Running server([&](Router& router) {
    router.Add(Get("/stream", Lane::kGenerate, [&](ResponseWriter& out) {
      out.Start({});
      for (size_t i = 0; i < kPieces; ++i) {
        if (!out.Write(std::string(kPieceBytes, static_cast<char>('a' + i % 26)))) return;
        written += kPieceBytes;
      }
    }));
  });
  Client client(server.path());
  client.Get("/stream", "Connection: close\r\n");
  REQUIRE(Eventually([&] { return written > 0; }));
  // It comes to rest well before the whole of its 32 MiB is in memory.
  size_t before = 0;
  REQUIRE(Eventually([&] {
    const size_t now = written;
    const bool rests = now == before;
    before = now;
    std::this_thread::sleep_for(milliseconds(200));
    return rests;
  }));
  CHECK(written < (size_t{4} << 20));
  const std::string body = Unchunk(client.ReadAll());
  REQUIRE(body.size() == kPieces * kPieceBytes);
  for (size_t i = 0; i < kPieces; ++i) {
    REQUIRE(body[i * kPieceBytes] == static_cast<char>('a' + i % 26));
  }
}

TEST_CASE("a stream whose client closes is told") {
  std::atomic<bool> told{false};
  Running server([&](Router& router) {
    router.Add(Get("/stream", Lane::kGenerate, [&](ResponseWriter& out) {
      out.Start({});
      while (out.Write("data: x\n\n")) std::this_thread::sleep_for(milliseconds(1));
      told = true;
    }));
  });
  Client client(server.path());
  client.Get("/stream");
  CHECK(client.ReadSome().find("HTTP/1.1 200") == 0);
  client.Close();
  CHECK(Eventually([&] { return told.load(); }));
  CHECK(Eventually([&] { return server.metrics().connections == 0; }));
}

TEST_CASE("a handler that throws or says nothing gives a 500, and the server goes on") {
  Running server([&](Router& router) {
    router.Add(Get("/throw", Lane::kWork, [](ResponseWriter&) { throw std::bad_alloc(); }));
    router.Add(Get("/nothing", Lane::kWork, [](ResponseWriter&) {}));
    router.Add(Get("/fine", Lane::kWork, [](ResponseWriter& out) { out.Send({}); }));
  });
  Client client(server.path());
  for (const auto& [path, status] :
       {std::pair("/throw", "500"), std::pair("/nothing", "500"), std::pair("/fine", "200")}) {
    client.Get(path);
    CHECK(client.ReadSome().find(std::string("HTTP/1.1 ") + status) == 0);
  }
}

TEST_CASE("long answers keep neither searches nor health checks waiting") {
  std::atomic<bool> release{false};
  std::atomic<int> began{0};
  ServerOptions options;
  options.workers = 2;
  options.generate_workers = 1;
  options.queue = 0;
  options.generate_queue = 0;
  Running server(
      [&](Router& router) {
        router.Add(Get("/long", Lane::kGenerate, [&](ResponseWriter& out) {
          ++began;
          Eventually([&] { return release.load(); });
          out.Send({});
        }));
        router.Add(Get("/search", Lane::kWork, [](ResponseWriter& out) { out.Send({}); }));
        router.Add(Get("/health", Lane::kControl, [](ResponseWriter& out) { out.Send({}); }));
      },
      options);
  Client first(server.path());
  first.Get("/long", "Connection: close\r\n");
  REQUIRE(Eventually([&] { return began == 1; }));
  Client second(server.path());
  second.Get("/long", "Connection: close\r\n");
  CHECK(second.ReadAll().find("HTTP/1.1 503") == 0);
  Client other(server.path());
  other.Get("/search");
  CHECK(other.ReadSome().find("HTTP/1.1 200") == 0);
  other.Get("/health");
  CHECK(other.ReadSome().find("HTTP/1.1 200") == 0);
  release = true;
  CHECK(first.ReadAll().find("HTTP/1.1 200") == 0);
}

TEST_CASE("stopping waits for an answer, and cancels it when the time is over") {
  for (const bool finishes : {true, false}) {
    std::atomic<bool> began{false};
    ServerOptions options;
    options.drain_seconds = finishes ? 60 : 0.05;
    Running server(
        [&](Router& router) {
          router.Add(Get("/slow", Lane::kGenerate, [&](ResponseWriter& out) {
            began = true;
            if (finishes) {
              std::this_thread::sleep_for(milliseconds(300));
            } else {
              Eventually([&] { return out.cancel().cancelled(); });
            }
            out.Send({});
          }));
        },
        options);
    Client client(server.path());
    client.Get("/slow");
    REQUIRE(Eventually([&] { return began.load(); }));
    server.Stop();
    const std::string answer = client.ReadAll();
    CHECK((answer.find("HTTP/1.1 200") == 0) == finishes);
  }
}

}  // namespace rag
