// The one file that knows Boost: a Beast translation unit costs half a minute and a gigabyte.
#include "apps/ragd/server.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <list>
#include <optional>
#include <unordered_set>
#include <vector>

#include "apps/ragd/exchange.h"
#include "apps/ragd/listener.h"
#include "apps/ragd/workers.h"

namespace rag {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using Clock = std::chrono::steady_clock;
using Protocol = asio::generic::stream_protocol;
using Socket = Protocol::socket;
using Acceptor = asio::basic_socket_acceptor<Protocol>;
using boost::system::error_code;
template <class T>
using Awaitable = asio::awaitable<T>;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

// Room for a header and what a client sends ahead of its turn.
constexpr size_t kMaxBufferBytes = size_t{128} << 10;
// A client that sends the next requests ahead is read no further than this while one is worked on.
constexpr size_t kMaxAheadBytes = size_t{32} << 10;
constexpr size_t kWriteBytes = size_t{64} << 10;
// After an answer that leaves a body unread: a close at once would reset the connection, and the
// client could lose the answer (RFC 9112, 9.6).
constexpr double kLingerSeconds = 2;
constexpr size_t kLingerBytes = size_t{64} << 20;
// The bodies of all requests being read, together.
constexpr size_t kMinBodyBudgetBytes = size_t{256} << 20;
// From the end of the drain time until cancelled handlers are left to themselves.
constexpr double kCancelGraceSeconds = 2;
constexpr size_t kMaxRefusing = 64;
// Two, so that a look at the collections that takes long does not stop the health checks.
constexpr size_t kControlThreads = 2;
constexpr size_t kControlQueue = 64;

Clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// Whether a Content-Encoding field leaves the body as it is: codings are named without regard to
// case, in one field or several (RFC 9110, 8.4.1 and 5.3).
bool IsIdentity(std::string_view field) {
  const http::opt_token_list codings{boost::beast::string_view(field.data(), field.size())};
  return http::validate_list(codings) &&
         std::all_of(codings.begin(), codings.end(), [](boost::beast::string_view coding) {
           return boost::beast::iequals(coding, "identity");
         });
}

std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[64];
  // The C locale's names are wanted, and no program here sets another one.
  const size_t size = std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return {text, size};
}

class Connection;

class ServerImpl : public Server {
 public:
  ServerImpl(const ServerOptions& options, const Router& router, Metrics& metrics, AppLog& log)
      : options_(options),
        router_(router),
        metrics_(metrics),
        log_(log),
        signals_(io_),
        control_(kControlThreads, kControlQueue),
        work_(options.workers, options.queue),
        generate_(options.generate_workers, options.generate_queue) {}

  Status Listen() override;
  std::string addresses() const override;
  size_t queue_length() const override {
    return control_.waiting() + work_.waiting() + generate_.waiting();
  }
  void Run() override;

 private:
  friend class Connection;

  Status Adopt(Listener listener);
  Awaitable<void> Accept(Acceptor& acceptor, bool is_loopback);
  Awaitable<void> WaitForSignals();
  Awaitable<void> Drain();
  WorkerPool& Pool(Lane lane);
  std::string NextId();

  const ServerOptions options_;
  const Router& router_;
  Metrics& metrics_;
  AppLog& log_;

  asio::io_context io_{1};
  asio::signal_set signals_;
  std::vector<Listener> listeners_;
  std::list<Acceptor> acceptors_;
  // Those that are open; each lives as long as its coroutines.
  std::unordered_set<Connection*> connections_;
  size_t refusing_ = 0;  // connections over the limit that linger over their refusal
  bool draining_ = false;
  size_t body_bytes_ = 0;  // of the bodies being read or worked on, as announced
  uint64_t next_id_ = 0;
  const uint64_t id_base_ = static_cast<uint64_t>(std::time(nullptr)) << 20;
  // Last, so that they stop first: their jobs post to io_.
  WorkerPool control_;
  WorkerPool work_;
  WorkerPool generate_;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(ServerImpl& server, Socket socket, std::string peer, bool is_loopback)
      : server_(server),
        socket_(std::move(socket)),
        peer_(std::move(peer)),
        is_loopback_(is_loopback),
        buffer_(kMaxBufferBytes),
        deadline_(server.io_),
        event_(server.io_) {}

  Awaitable<void> Run();
  Awaitable<void> Refuse();
  // Closes when nothing is in flight.
  void DrainIdle() {
    if (idle_) Close();
  }
  void Abort() {
    if (exchange_) exchange_->Abort();
    gone_ = true;
    Close();
    event_.cancel();
  }

 private:
  using Parser = http::request_parser<http::string_body>;

  struct Record {  // of one request, for the log and the metrics
    Clock::time_point begin;
    std::string route = "unmatched";
    std::string method;
    std::string path;
    std::string id;
    int status = 0;
    size_t bytes = 0;
  };

  Awaitable<bool> ServeOne();
  Awaitable<bool> Reject(HttpResponse response, bool close);
  Awaitable<bool> ReadFailed(error_code error);
  Awaitable<void> Linger();
  Awaitable<void> Dispatch(const Match& match, HttpRequest request);
  Awaitable<void> Answer();
  Awaitable<void> Watch();
  Awaitable<void> StopWatching();
  Awaitable<bool> WriteAll(std::string_view bytes);
  std::string Head(const HttpResponse& response, bool streaming) const;
  std::optional<ApiError> CheckHead(const Parser& parser);
  void FillRequest(const Parser& parser);
  void Finish();

  void Arm(double seconds) {
    timed_out_ = false;
    const uint64_t turn = ++deadline_turn_;
    deadline_.expires_after(Seconds(seconds));
    deadline_.async_wait([self = shared_from_this(), turn](error_code error) {
      // A wait that ended just before it was set anew counts for nothing.
      if (error || turn != self->deadline_turn_) return;
      self->timed_out_ = true;
      error_code ignored;
      self->socket_.cancel(ignored);
    });
  }
  void Disarm() {
    ++deadline_turn_;
    deadline_.cancel();
  }
  void Close() {
    error_code ignored;
    socket_.close(ignored);
  }

  ServerImpl& server_;
  Socket socket_;
  const std::string peer_;
  const bool is_loopback_;
  boost::beast::flat_buffer buffer_;
  asio::steady_timer deadline_;
  uint64_t deadline_turn_ = 0;
  bool timed_out_ = false;
  asio::steady_timer event_;  // never expires: cancelling it wakes who waits for something new
  std::shared_ptr<Exchange> exchange_;
  HttpRequest request_;
  Record record_;
  int http_version_ = 11;
  bool keep_alive_ = true;
  bool idle_ = false;      // waiting for the first byte of a request
  bool gone_ = false;      // the client closed, or writing failed
  bool watching_ = false;  // Watch is reading
  size_t body_reserved_ = 0;
};

// --- one connection ---

Awaitable<void> Connection::Run() {
  const auto self = shared_from_this();
  server_.connections_.insert(this);
  ++server_.metrics_.connections;
  bool first = true;
  while (!gone_ && !server_.draining_) {
    if (buffer_.size() == 0) {
      idle_ = true;
      Arm(first ? server_.options_.read_timeout_seconds : server_.options_.idle_timeout_seconds);
      const auto [error] = co_await socket_.async_wait(Socket::wait_read, kAwait);
      idle_ = false;
      if (error) break;
    }
    first = false;
    ++server_.metrics_.requests_in_flight;
    const bool again = co_await ServeOne();
    Disarm();
    --server_.metrics_.requests_in_flight;
    server_.body_bytes_ -= std::exchange(body_reserved_, 0);
    if (!again) break;
  }
  Disarm();
  Close();
  --server_.metrics_.connections;
  server_.connections_.erase(this);
}

Awaitable<void> Connection::Refuse() {
  const auto self = shared_from_this();
  ++server_.metrics_.connections_refused;
  keep_alive_ = false;
  record_.begin = Clock::now();
  Arm(server_.options_.write_timeout_seconds);
  const HttpResponse response =
      ErrorResponse({503, "too many connections; try again", "too_many_connections", ""});
  const std::string bytes = Head(response, false) + response.body;
  const bool sent = co_await WriteAll(bytes);
  if (sent && server_.refusing_ < kMaxRefusing) {
    ++server_.refusing_;
    co_await Linger();
    --server_.refusing_;
  }
  Disarm();
  Close();
}

// Reads and answers one request. False when the connection is to be closed.
Awaitable<bool> Connection::ServeOne() {
  record_ = Record{};
  record_.begin = Clock::now();
  request_ = HttpRequest{};
  record_.id = server_.NextId();
  request_.id = record_.id;
  request_.peer = peer_;
  request_.is_loopback = is_loopback_;
  http_version_ = 11;
  keep_alive_ = !server_.draining_;

  Arm(server_.options_.read_timeout_seconds);
  Parser parser;
  parser.header_limit(static_cast<uint32_t>(server_.options_.max_header_bytes));
  parser.body_limit(server_.options_.max_body_bytes);
  {
    const auto [error, size] = co_await http::async_read_header(socket_, buffer_, parser, kAwait);
    if (error) co_return co_await ReadFailed(error);
  }
  FillRequest(parser);
  const bool has_body = !parser.is_done();
  const std::optional<ApiError> wrong = CheckHead(parser);
  record_.method = request_.method;
  record_.path = request_.path;
  if (wrong.has_value()) {
    HttpResponse answer = ErrorResponse(*wrong);
    co_return co_await Reject(std::move(answer), true);
  }
  Match match = server_.router_.Find(request_);
  if (match.route == nullptr) co_return co_await Reject(std::move(match.error), has_body);
  record_.route = match.route->pattern;

  if (has_body) {
    // Reserved as announced: many large bodies at one time must not eat the memory.
    const size_t announced = parser.content_length() ? static_cast<size_t>(*parser.content_length())
                                                     : server_.options_.max_body_bytes;
    const size_t budget = std::max(kMinBodyBudgetBytes, 2 * server_.options_.max_body_bytes);
    if (server_.body_bytes_ + announced > budget) {
      HttpResponse answer =
          ErrorResponse({503, "too many large requests at once; try again", "overloaded", ""});
      co_return co_await Reject(std::move(answer), true);
    }
    server_.body_bytes_ += announced;
    body_reserved_ = announced;
    const std::string* expect = request_.Header("expect");
    if (expect != nullptr && http_version_ == 11) {
      if (!boost::beast::iequals(*expect, "100-continue")) {
        HttpResponse answer = ErrorResponse(
            {417, StrCat("Expect '", *expect, "' is not known"), "expectation_failed", ""});
        co_return co_await Reject(std::move(answer), true);
      }
      // Not when the body is on its way already.
      if (buffer_.size() == 0) {
        if (!co_await WriteAll("HTTP/1.1 100 Continue\r\n\r\n")) co_return false;
        Arm(server_.options_.read_timeout_seconds);
      }
    }
    const auto [error, size] = co_await http::async_read(socket_, buffer_, parser, kAwait);
    if (error) co_return co_await ReadFailed(error);
    request_.body = std::move(parser.get().body());
  }
  Disarm();
  co_await Dispatch(match, std::move(request_));
  Finish();
  co_return keep_alive_ && !gone_;
}

void Connection::FillRequest(const Parser& parser) {
  const auto& message = parser.get();
  http_version_ = static_cast<int>(message.version());
  keep_alive_ = keep_alive_ && parser.keep_alive();
  request_.method = std::string(message.method_string());
  for (const auto& field : message) {
    std::string name(field.name_string());
    for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    request_.headers.emplace_back(std::move(name), std::string(field.value()));
  }
  request_.has_body = !parser.is_done();
}

std::optional<ApiError> Connection::CheckHead(const Parser& parser) {
  const std::string target(parser.get().target());
  if (Status parsed = ParseTarget(target, request_); !parsed.ok()) {
    request_.path = "?";
    return ToApiError(parsed);
  }
  const size_t hosts = request_.CountHeader("host");
  if (hosts > 1 || (hosts == 0 && http_version_ == 11)) {
    return ApiError{400, "exactly one Host header is needed", "bad_request", ""};
  }
  // Framing that two parsers could read differently is never guessed at (RFC 9112, 6.1).
  if (request_.CountHeader("transfer-encoding") > 0) {
    if (!parser.chunked()) {
      return ApiError{501, "only the transfer coding 'chunked' is known", "not_implemented", ""};
    }
    if (request_.CountHeader("content-length") > 0 || http_version_ != 11) {
      return ApiError{400, "Transfer-Encoding does not go with Content-Length or HTTP/1.0",
                      "bad_request", ""};
    }
  }
  for (const auto& [name, value] : request_.headers) {
    if (name != "content-encoding" || IsIdentity(value)) continue;
    return ApiError{415, StrCat("Content-Encoding '", value, "' is not known; send it as it is"),
                    "unsupported_content_encoding", ""};
  }
  return std::nullopt;
}

// The answer to a request that could not be read, where one can still be given.
Awaitable<bool> Connection::ReadFailed(error_code error) {
  ApiError answer;
  if (timed_out_) {
    answer = {408, "the request did not arrive in time", "request_timeout", ""};
  } else if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    answer = {431, StrCat("the header is over ", server_.options_.max_header_bytes, " bytes"),
              "header_too_large", ""};
  } else if (error == http::error::body_limit) {
    answer = {413, StrCat("the body is over ", server_.options_.max_body_bytes, " bytes"),
              "body_too_large", ""};
  } else if (error == http::error::bad_version) {
    answer = {505, "only HTTP/1.1 and HTTP/1.0 are served", "bad_version", ""};
  } else if (error.category() == http::make_error_code(http::error::bad_value).category() &&
             error != http::error::end_of_stream && error != http::error::partial_message) {
    answer = {400, StrCat("malformed HTTP: ", error.message()), "bad_request", ""};
  } else {
    co_return false;  // the client closed, or the connection broke
  }
  HttpResponse response = ErrorResponse(answer);
  co_return co_await Reject(std::move(response), true);
}

// An answer without a handler.
Awaitable<bool> Connection::Reject(HttpResponse response, bool close) {
  if (close) keep_alive_ = false;
  record_.status = response.status;
  std::string bytes = Head(response, false);
  if (request_.method != "HEAD") bytes += response.body;
  const bool sent = co_await WriteAll(bytes);
  Finish();
  if (sent && close) co_await Linger();
  co_return sent&& keep_alive_;
}

// Tells the client that nothing more comes, and reads what it still sends for a while.
Awaitable<void> Connection::Linger() {
  error_code error;
  socket_.shutdown(Socket::shutdown_send, error);
  if (error) co_return;
  Arm(kLingerSeconds);
  std::vector<char> sink(kWriteBytes);
  for (size_t total = 0; total < kLingerBytes;) {
    const auto [failed, size] = co_await socket_.async_read_some(asio::buffer(sink), kAwait);
    if (failed) break;
    total += size;
  }
}

Awaitable<void> Connection::Dispatch(const Match& match, HttpRequest request) {
  // The worker may still hold the exchange when this connection is gone.
  exchange_ =
      std::make_shared<Exchange>(std::move(request), [weak = weak_from_this(), &io = server_.io_] {
        asio::post(io, [weak] {
          if (const auto self = weak.lock()) self->event_.cancel();
        });
      });
  const bool taken = server_.Pool(match.route->lane)
                         .Submit([exchange = exchange_, route = match.route, rest = match.rest] {
                           if (!exchange->aborted()) {
                             try {
                               route->handler(exchange->request(), rest, *exchange);
                             } catch (const std::exception& error) {
                               exchange->Send(ErrorResponse(
                                   {500, StrCat("failed: ", error.what()), "internal", ""}));
                             }
                           }
                           exchange->Finish();
                         });
  if (!taken) {
    exchange_->Send(
        ErrorResponse({503, "too many requests are waiting; try again", "overloaded", ""}));
    exchange_->Finish();
  }
  watching_ = true;
  asio::co_spawn(
      server_.io_, [self = shared_from_this()]() { return self->Watch(); }, asio::detached);
  co_await Answer();
  co_await StopWatching();
  exchange_.reset();
}

// Sends what the handler gives until it is done or the client is gone.
Awaitable<void> Connection::Answer() {
  const bool head_only = exchange_->request().method == "HEAD";
  const bool chunked = http_version_ == 11;
  for (;;) {
    Exchange::Output output = exchange_->Take();
    if (gone_) {
      exchange_->Abort();
      // A handler that gave its answer before it noticed is logged with it, another one as 499.
      if (record_.status == 0) record_.status = 499;
      co_return;
    }
    std::string bytes;
    if (output.has_head) {
      record_.status = output.head.status;
      // Without chunks, only the end of the connection ends the body.
      if (output.streaming && !chunked) keep_alive_ = false;
      bytes = Head(output.head, output.streaming);
      if (!output.streaming && !head_only) {
        bytes += output.head.body;
        record_.bytes += output.head.body.size();
      }
    }
    if (!output.pieces.empty()) {
      record_.bytes += output.pieces.size();
      if (chunked) {
        char size[24];
        std::snprintf(size, sizeof(size), "%zx\r\n", output.pieces.size());
        bytes += size;
        bytes += output.pieces;
        bytes += "\r\n";
      } else {
        bytes += output.pieces;
      }
    }
    if (output.finished && output.streaming && chunked) bytes += "0\r\n\r\n";
    if (!bytes.empty() && !co_await WriteAll(bytes)) {
      gone_ = true;
      continue;
    }
    if (output.finished) co_return;
    if (bytes.empty()) {
      event_.expires_at(Clock::time_point::max());
      co_await event_.async_wait(kAwait);
    }
  }
}

// While a handler works: notices that the client closed, and takes in what it sends ahead.
Awaitable<void> Connection::Watch() {
  while (buffer_.size() < kMaxAheadBytes) {
    const auto [error, size] =
        co_await socket_.async_read_some(buffer_.prepare(size_t{4} << 10), kAwait);
    if (error == asio::error::operation_aborted) break;
    if (error == asio::error::eof) {
      // Long work is cancelled, but a client that only closed its sending side may still get the
      // answer of short work.
      keep_alive_ = false;
      exchange_->Cancel();
      break;
    }
    if (error) {
      gone_ = true;
      exchange_->Abort();
      break;
    }
    buffer_.commit(size);
  }
  watching_ = false;
  event_.cancel();
}

Awaitable<void> Connection::StopWatching() {
  while (watching_) {
    error_code ignored;
    socket_.cancel(ignored);
    event_.expires_at(Clock::time_point::max());
    co_await event_.async_wait(kAwait);
  }
}

Awaitable<bool> Connection::WriteAll(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kWriteBytes);
    Arm(server_.options_.write_timeout_seconds);
    const auto [error, size] =
        co_await asio::async_write(socket_, asio::buffer(piece.data(), piece.size()), kAwait);
    Disarm();
    if (error) co_return false;
    bytes.remove_prefix(piece.size());
  }
  co_return true;
}

std::string Connection::Head(const HttpResponse& response, bool streaming) const {
  std::string head =
      StrCat("HTTP/1.1 ", response.status, " ", ReasonPhrase(response.status),
             "\r\nDate: ", HttpDate(), "\r\nServer: ragd\r\nContent-Type: ", response.content_type,
             "\r\nX-Content-Type-Options: nosniff\r\n");
  if (!record_.id.empty()) head += StrCat("X-Request-Id: ", record_.id, "\r\n");
  for (const auto& [name, value] : response.headers) head += StrCat(name, ": ", value, "\r\n");
  if (!streaming) {
    head += StrCat("Content-Length: ", response.body.size(), "\r\n");
  } else if (http_version_ == 11) {
    head += "Transfer-Encoding: chunked\r\n";
  }
  head += keep_alive_ && !server_.draining_ ? "Connection: keep-alive\r\n\r\n"
                                            : "Connection: close\r\n\r\n";
  return head;
}

void Connection::Finish() {
  const double seconds = std::chrono::duration<double>(Clock::now() - record_.begin).count();
  const bool known = record_.route != "unmatched";
  server_.metrics_.CountRequest(record_.route, known ? record_.method : "other", record_.status,
                                seconds);
  server_.log_.Write(LogLevel::kInfo, "request",
                     Value::Object{{"method", record_.method},
                                   {"path", record_.path},
                                   {"status", record_.status},
                                   {"bytes", record_.bytes},
                                   {"ms", static_cast<int64_t>(seconds * 1000)},
                                   {"peer", peer_},
                                   {"id", record_.id}});
}

// --- the server ---

Status ServerImpl::Listen() {
  RAG_ASSIGN_OR_RETURN(std::vector<Listener> listeners, Listener::FromSystemd());
  if (listeners.empty()) {
    if (!options_.listen.empty()) {
      RAG_ASSIGN_OR_RETURN(const HostPort address, ParseHostPort(options_.listen));
      RAG_ASSIGN_OR_RETURN(Listener listener, Listener::Tcp(address));
      listeners.push_back(std::move(listener));
    }
    if (!options_.socket.empty()) {
      RAG_ASSIGN_OR_RETURN(Listener listener, Listener::Unix(options_.socket));
      listeners.push_back(std::move(listener));
    }
  }
  if (listeners.empty()) return InvalidArgumentError("no address and no socket to listen on");
  for (const Listener& listener : listeners) {
    if (listener.is_unix() || listener.is_loopback() || options_.allow_remote) continue;
    return PermissionDeniedError(listener.address(),
                                 " can be reached from other machines: set an API key, or say "
                                 "--insecure-no-auth to serve everybody");
  }
  for (Listener& listener : listeners) RAG_RETURN_IF_ERROR(listener.Listen());
  try {
    for (Listener& listener : listeners) {
      Acceptor& acceptor = acceptors_.emplace_back(io_);
      acceptor.assign(Protocol(listener.family(), 0), listener.fd());
      listener.Release();
    }
    // Now rather than in Run, so that a signal that comes between the two is not lost.
    signals_.add(SIGTERM);
    signals_.add(SIGINT);
  } catch (const boost::system::system_error& error) {
    return IoError(error.what());
  }
  listeners_ = std::move(listeners);
  return OkStatus();
}

std::string ServerImpl::addresses() const {
  std::string all;
  for (const Listener& listener : listeners_) {
    if (!all.empty()) all += ' ';
    all += listener.address();
  }
  return all;
}

WorkerPool& ServerImpl::Pool(Lane lane) {
  switch (lane) {
    case Lane::kControl:
      return control_;
    case Lane::kWork:
      return work_;
    case Lane::kGenerate:
      return generate_;
  }
  return work_;
}

std::string ServerImpl::NextId() {
  char text[32];
  std::snprintf(text, sizeof(text), "req-%llx",
                static_cast<unsigned long long>(id_base_ + next_id_++));
  return text;
}

Awaitable<void> ServerImpl::Accept(Acceptor& acceptor, bool is_loopback) {
  for (;;) {
    Socket socket(io_);
    const auto [error] = co_await acceptor.async_accept(socket, kAwait);
    if (!acceptor.is_open()) co_return;
    if (error) {
      // Out of descriptors, most likely: some will be freed.
      log_.Write(LogLevel::kWarning, "cannot accept a connection",
                 Value::Object{{"error", error.message()}});
      asio::steady_timer pause(io_, Seconds(0.1));
      co_await pause.async_wait(kAwait);
      continue;
    }
    std::string peer = "unix";
    error_code failed;
    const auto remote = socket.remote_endpoint(failed);
    if (!failed && remote.protocol().family() != AF_UNIX) {
      asio::ip::tcp::endpoint endpoint;
      if (remote.size() <= endpoint.capacity()) {
        std::memcpy(endpoint.data(), remote.data(), remote.size());
        endpoint.resize(remote.size());
        peer = StrCat(endpoint.address().to_string(), ":", endpoint.port());
      }
      socket.set_option(asio::ip::tcp::no_delay(true), failed);
    }
    const auto connection =
        std::make_shared<Connection>(*this, std::move(socket), std::move(peer), is_loopback);
    if (connections_.size() >= options_.max_connections) {
      asio::co_spawn(
          io_, [connection] { return connection->Refuse(); }, asio::detached);
    } else {
      asio::co_spawn(
          io_, [connection] { return connection->Run(); }, asio::detached);
    }
  }
}

Awaitable<void> ServerImpl::WaitForSignals() {
  const auto [error, signal] = co_await signals_.async_wait(kAwait);
  if (error) co_return;
  log_.Write(LogLevel::kInfo, "stopping",
             Value::Object{{"signal", signal == SIGTERM ? "SIGTERM" : "SIGINT"},
                           {"connections", connections_.size()}});
  NotifySystemd("STOPPING=1");
  asio::co_spawn(
      io_, [this] { return Drain(); }, asio::detached);
  const auto [second_error, second] = co_await signals_.async_wait(kAwait);
  if (second_error) co_return;
  log_.Write(LogLevel::kWarning, "second signal: ending at once");
  ::_exit(1);
}

Awaitable<void> ServerImpl::Drain() {
  draining_ = true;
  for (Acceptor& acceptor : acceptors_) {
    error_code ignored;
    acceptor.close(ignored);
  }
  const auto all = [this](void (Connection::*method)()) {
    for (Connection* connection :
         std::vector<Connection*>(connections_.begin(), connections_.end())) {
      (connection->*method)();
    }
  };
  all(&Connection::DrainIdle);
  asio::steady_timer tick(io_);
  const auto wait_until_empty = [&](double seconds) -> Awaitable<void> {
    const Clock::time_point end = Clock::now() + Seconds(seconds);
    while (!connections_.empty() && Clock::now() < end) {
      tick.expires_after(Seconds(0.02));
      co_await tick.async_wait(kAwait);
    }
  };
  co_await wait_until_empty(options_.drain_seconds);
  if (!connections_.empty()) {
    log_.Write(LogLevel::kWarning, "drain time is over: cancelling",
               Value::Object{{"connections", connections_.size()}});
    all(&Connection::Abort);
    co_await wait_until_empty(kCancelGraceSeconds);
  }
  signals_.cancel();
  io_.stop();
}

void ServerImpl::Run() {
  auto listener = listeners_.begin();
  for (Acceptor& acceptor : acceptors_) {
    const bool is_loopback = (listener++)->is_loopback();
    asio::co_spawn(
        io_, [this, &acceptor, is_loopback] { return Accept(acceptor, is_loopback); },
        asio::detached);
  }
  asio::co_spawn(
      io_, [this] { return WaitForSignals(); }, asio::detached);
  io_.run();
  // The default action is back: a signal while handlers end and the store closes ends the process.
  error_code ignored;
  signals_.clear(ignored);
  control_.Stop();
  work_.Stop();
  generate_.Stop();
  listeners_.clear();
}

}  // namespace

Result<std::unique_ptr<Server>> Server::Create(const ServerOptions& options, const Router& router,
                                               Metrics& metrics, AppLog& log) {
  try {
    return std::unique_ptr<Server>(std::make_unique<ServerImpl>(options, router, metrics, log));
  } catch (const std::exception& error) {
    return IoError("cannot start the server: ", error.what());
  }
}

}  // namespace rag
