#include "lib/base/status.h"

#include <charconv>

namespace rag {

std::string_view StatusCodeName(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "ok";
    case StatusCode::kInvalidArgument:
      return "invalid_argument";
    case StatusCode::kNotFound:
      return "not_found";
    case StatusCode::kAlreadyExists:
      return "already_exists";
    case StatusCode::kFailedPrecondition:
      return "failed_precondition";
    case StatusCode::kOutOfRange:
      return "out_of_range";
    case StatusCode::kResourceExhausted:
      return "resource_exhausted";
    case StatusCode::kUnavailable:
      return "unavailable";
    case StatusCode::kDeadlineExceeded:
      return "deadline_exceeded";
    case StatusCode::kCancelled:
      return "cancelled";
    case StatusCode::kDataLoss:
      return "data_loss";
    case StatusCode::kUnsupported:
      return "unsupported";
    case StatusCode::kIoError:
      return "io_error";
    case StatusCode::kPermissionDenied:
      return "permission_denied";
    case StatusCode::kInternal:
      return "internal";
  }
  return "unknown";
}

std::string Status::ToString() const {
  if (ok()) return "ok";
  return StrCat(StatusCodeName(code_), ": ", message_);
}

Status Status::WithContext(std::string_view place) && {
  if (!ok()) message_ = StrCat(place, ": ", message_);
  return std::move(*this);
}

Status Status::WithContext(std::string_view place) const& {
  return Status(*this).WithContext(place);
}

namespace internal {

void AppendPiece(std::string& out, std::string_view piece) { out += piece; }
void AppendPiece(std::string& out, const char* piece) { out += piece; }
void AppendPiece(std::string& out, char piece) { out += piece; }

template <class T>
static void AppendNumber(std::string& out, T number) {
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), number);
  out.append(buffer, end.ptr);
}

void AppendPiece(std::string& out, double piece) { AppendNumber(out, piece); }
void AppendPiece(std::string& out, long long piece) { AppendNumber(out, piece); }
void AppendPiece(std::string& out, unsigned long long piece) { AppendNumber(out, piece); }

}  // namespace internal
}  // namespace rag
