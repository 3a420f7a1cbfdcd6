// HTTP as the handlers see it: plain structs, no sockets and no Boost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

struct HttpRequest {
  std::string method;                                        // "GET"; HEAD stays HEAD
  std::string path;                                          // percent-decoded, begins with '/'
  std::vector<std::pair<std::string, std::string>> query;    // decoded, in order
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  bool has_body = false;     // a Content-Length above 0 or a chunked body
  bool is_loopback = false;  // it came over TCP to a loopback address
  std::string peer;          // "127.0.0.1:51514" or "unix"
  std::string id;            // answered as x-request-id

  // The first header or query parameter of that name; null when there is none.
  const std::string* Header(std::string_view lower_case_name) const;
  const std::string* Query(std::string_view name) const;
  size_t CountHeader(std::string_view lower_case_name) const;
};

// Splits and decodes a request target ("/a%20b?x=1", or "http://host/a") into path and query.
// Errors: invalid_argument for a broken escape, a NUL byte, or another form of target.
Status ParseTarget(std::string_view target, HttpRequest& request);

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;  // besides length, type and date
  std::string body;
};

std::string_view ReasonPhrase(int status);

// How a handler answers: once with Send, or with Start and any number of Writes. Called from the
// handler's thread.
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;
  virtual void Send(HttpResponse response) = 0;
  // The body of `head` is not used; what follows is sent as it is written.
  virtual void Start(HttpResponse head) = 0;
  // Waits while the client reads slowly. False when it is gone: stop.
  virtual bool Write(std::string_view piece) = 0;
  // Start was called.
  virtual bool started() const = 0;
  // Cancelled when the client is gone or the daemon stops, and by Cancel.
  virtual const CancelToken& cancel() const = 0;
  // Ends the work that takes cancel(). It can still be answered.
  virtual void Cancel() = 0;
};

// --- bodies ---
HttpResponse JsonResponse(const Value& value, int status = 200);
// OpenAI's shape: {"error": {"message", "type", "code", "param"}}.
struct ApiError {
  int status = 500;
  std::string message;
  std::string code;
  std::string param;  // the member of the request that is wrong; "" for null
};
HttpResponse ErrorResponse(const ApiError& error);
Value ErrorBody(const ApiError& error);
// The HTTP status that says what a StatusCode says, and the code's own name.
ApiError ToApiError(const Status& status, std::string_view param = "");

// One server-sent event; `name` "" for none.
std::string ServerSentEvent(const Value& data, std::string_view name = "");

}  // namespace rag
