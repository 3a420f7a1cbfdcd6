#include "apps/ragd/http.h"

namespace rag {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// `plus_is_space`: as in a form's query string.
Result<std::string> PercentDecode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
      const int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
      if (low < 0) return InvalidArgumentError("broken percent escape in the request target");
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (c == '\0') return InvalidArgumentError("NUL byte in the request target");
    out += c;
  }
  return out;
}

}  // namespace

const std::string* HttpRequest::Header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return &value;
  }
  return nullptr;
}

const std::string* HttpRequest::Query(std::string_view name) const {
  for (const auto& [key, value] : query) {
    if (key == name) return &value;
  }
  return nullptr;
}

size_t HttpRequest::CountHeader(std::string_view lower_case_name) const {
  size_t count = 0;
  for (const auto& [name, value] : headers) count += name == lower_case_name ? 1 : 0;
  return count;
}

Status ParseTarget(std::string_view target, HttpRequest& request) {
  // RFC 9112, 3.2.2: a server accepts the absolute form too.
  for (std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    const size_t slash = target.find('/', scheme.size());
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
    break;
  }
  if (!target.starts_with('/')) {
    return InvalidArgumentError("the request target must begin with '/'");
  }
  target = target.substr(0, target.find('#'));
  const size_t question = target.find('?');
  RAG_ASSIGN_OR_RETURN(request.path, PercentDecode(target.substr(0, question), false));
  request.query.clear();
  if (question == std::string_view::npos) return OkStatus();
  std::string_view rest = target.substr(question + 1);
  while (!rest.empty()) {
    const size_t end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    RAG_ASSIGN_OR_RETURN(std::string key, PercentDecode(pair.substr(0, equals), true));
    std::string value;
    if (equals != std::string_view::npos) {
      RAG_ASSIGN_OR_RETURN(value, PercentDecode(pair.substr(equals + 1), true));
    }
    request.query.emplace_back(std::move(key), std::move(value));
  }
  return OkStatus();
}

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 417:
      return "Expectation Failed";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Unknown";
  }
}

HttpResponse JsonResponse(const Value& value, int status) {
  HttpResponse response;
  response.status = status;
  response.body = ToJson(value);
  response.body += '\n';
  return response;
}

Value ErrorBody(const ApiError& error) {
  std::string_view type = "server_error";
  if (error.status == 401) {
    type = "authentication_error";
  } else if (error.status == 403) {
    type = "permission_error";
  } else if (error.status < 500) {
    type = "invalid_request_error";
  } else if (error.status == 503) {
    type = "overloaded_error";
  }
  Value::Object body;
  body.Set("message", error.message);
  body.Set("type", type);
  body.Set("code", error.code);
  body.Set("param", error.param.empty() ? Value() : Value(error.param));
  return Value::Object{{"error", std::move(body)}};
}

HttpResponse ErrorResponse(const ApiError& error) {
  HttpResponse response = JsonResponse(ErrorBody(error), error.status);
  if (error.status == 503) response.headers.emplace_back("Retry-After", "1");
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

ApiError ToApiError(const Status& status, std::string_view param) {
  ApiError error;
  error.message = status.message();
  error.code = StatusCodeName(status.code());
  error.param = param;
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kOutOfRange:
      error.status = 400;
      break;
    case StatusCode::kNotFound:
      error.status = 404;
      break;
    case StatusCode::kAlreadyExists:
    case StatusCode::kFailedPrecondition:
      error.status = 409;
      break;
    case StatusCode::kResourceExhausted:
      error.status = 413;
      break;
    case StatusCode::kPermissionDenied:
      error.status = 403;
      break;
    case StatusCode::kUnsupported:
      error.status = 501;
      break;
    case StatusCode::kUnavailable:
      error.status = 503;
      break;
    case StatusCode::kDeadlineExceeded:
      error.status = 504;
      break;
    case StatusCode::kCancelled:
      // The client closed, or the daemon stops and closes: nobody hears it, but the log tells.
      error.status = 499;
      break;
    case StatusCode::kOk:
    case StatusCode::kDataLoss:
    case StatusCode::kIoError:
    case StatusCode::kInternal:
      error.status = 500;
      break;
  }
  return error;
}

std::string ServerSentEvent(const Value& data, std::string_view name) {
  std::string event;
  if (!name.empty()) event += StrCat("event: ", name, "\n");
  event += "data: ";
  event += ToJson(data);
  event += "\n\n";
  return event;
}

}  // namespace rag
