// Status and Result<T>: how every expected failure travels.
//
// A function that can fail because of its input, a file, a limit or the machine returns one of
// these two, and never throws. The message names the offending value and the place it was found in,
// so that it can be shown to a user as it is.
#pragma once

#include <cassert>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace rag {

enum class StatusCode {
  kOk = 0,
  kInvalidArgument,     // the caller's value can never be right
  kNotFound,            // a file, document, collection or model that is not there
  kAlreadyExists,       //
  kFailedPrecondition,  // right value, wrong state (dimension or encoder of the collection differs)
  kOutOfRange,          // an index or a size past a bound
  kResourceExhausted,   // a limit on memory, bytes, tokens or files was reached
  kUnavailable,         // in use by another process, or draining; trying later may help
  kDeadlineExceeded,
  kCancelled,         // the caller asked to stop
  kDataLoss,          // stored or read bytes are damaged
  kUnsupported,       // well-formed, of a kind that is not read or not part of this build
  kIoError,           // the operating system refused
  kPermissionDenied,  //
  kInternal,          // a bug of ours
};

// The code's stable name in snake_case, as used in JSON output ("not_found").
std::string_view StatusCodeName(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }
  // "not_found: collection 'x' does not exist", or "ok".
  std::string ToString() const;
  // The same code with "place: " put before the message; ok stays ok.
  Status WithContext(std::string_view place) &&;
  Status WithContext(std::string_view place) const&;

  // Drops the status on purpose (a best-effort clean-up).
  void Ignore() const {}

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status OkStatus() { return {}; }

namespace internal {
void AppendPiece(std::string& out, std::string_view piece);
void AppendPiece(std::string& out, const char* piece);
void AppendPiece(std::string& out, char piece);
void AppendPiece(std::string& out, double piece);
void AppendPiece(std::string& out, long long piece);
void AppendPiece(std::string& out, unsigned long long piece);
template <class T>
requires(std::is_integral_v<T> && !std::is_same_v<T, char> &&
         !std::is_same_v<T, bool>) void AppendPiece(std::string& out, T piece) {
  if constexpr (std::is_signed_v<T>) {
    AppendPiece(out, static_cast<long long>(piece));
  } else {
    AppendPiece(out, static_cast<unsigned long long>(piece));
  }
}
inline void AppendPiece(std::string& out, bool piece) { out += piece ? "true" : "false"; }
inline void AppendPiece(std::string& out, float piece) {
  AppendPiece(out, static_cast<double>(piece));
}
inline void AppendPiece(std::string& out, const std::string& piece) { out += piece; }
}  // namespace internal

// Joins strings, characters and numbers.
template <class... Pieces>
std::string StrCat(const Pieces&... pieces) {
  std::string out;
  (internal::AppendPiece(out, pieces), ...);
  return out;
}

// InvalidArgumentError("dim ", dim, " is not between 1 and ", kMaxDim) and its siblings.
#define RAG_DEFINE_ERROR_(Name)                            \
  template <class... Pieces>                               \
  Status Name##Error(const Pieces&... pieces) {            \
    return Status(StatusCode::k##Name, StrCat(pieces...)); \
  }
RAG_DEFINE_ERROR_(InvalidArgument)
RAG_DEFINE_ERROR_(NotFound)
RAG_DEFINE_ERROR_(AlreadyExists)
RAG_DEFINE_ERROR_(FailedPrecondition)
RAG_DEFINE_ERROR_(OutOfRange)
RAG_DEFINE_ERROR_(ResourceExhausted)
RAG_DEFINE_ERROR_(Unavailable)
RAG_DEFINE_ERROR_(DeadlineExceeded)
RAG_DEFINE_ERROR_(Cancelled)
RAG_DEFINE_ERROR_(DataLoss)
RAG_DEFINE_ERROR_(Unsupported)
RAG_DEFINE_ERROR_(PermissionDenied)
RAG_DEFINE_ERROR_(Internal)
template <class... Pieces>
Status IoError(const Pieces&... pieces) {
  return Status(StatusCode::kIoError, StrCat(pieces...));
}
#undef RAG_DEFINE_ERROR_

// A value or the Status that says why there is none (never an ok Status).
template <class T>
class [[nodiscard]] Result {
 public:
  Result(Status status) : state_(std::move(status)) {  // NOLINT: implicit by design
    assert(!std::get<Status>(state_).ok());
  }
  Result(T value) : state_(std::move(value)) {}  // NOLINT: implicit by design
  template <class U>
  requires(std::is_convertible_v<U&&, T> && !std::is_same_v<std::decay_t<U>, Status> &&
           !std::is_same_v<std::decay_t<U>, Result> && !std::is_same_v<std::decay_t<U>, T>)
      Result(U&& value)
      : state_(T(std::forward<U>(value))) {}  // NOLINT: implicit by design

  bool ok() const { return std::holds_alternative<T>(state_); }
  Status status() const& { return ok() ? OkStatus() : std::get<Status>(state_); }
  Status status() && { return ok() ? OkStatus() : std::move(std::get<Status>(state_)); }

  T& value() & { return *Get(); }
  const T& value() const& { return *const_cast<Result*>(this)->Get(); }
  T&& value() && { return std::move(*Get()); }
  T& operator*() & { return *Get(); }
  const T& operator*() const& { return *const_cast<Result*>(this)->Get(); }
  T&& operator*() && { return std::move(*Get()); }
  T* operator->() { return Get(); }
  const T* operator->() const { return const_cast<Result*>(this)->Get(); }

 private:
  T* Get() {
    assert(ok());
    return std::get_if<T>(&state_);
  }
  std::variant<Status, T> state_;
};

#define RAG_CONCAT_INNER_(a, b) a##b
#define RAG_CONCAT_(a, b) RAG_CONCAT_INNER_(a, b)

#define RAG_RETURN_IF_ERROR(expression)       \
  do {                                        \
    ::rag::Status rag_status_ = (expression); \
    if (!rag_status_.ok()) [[unlikely]]       \
      return rag_status_;                     \
  } while (false)

// RAG_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
#define RAG_ASSIGN_OR_RETURN(declaration, expression) \
  RAG_ASSIGN_OR_RETURN_IMPL_(RAG_CONCAT_(rag_result_, __LINE__), declaration, expression)
#define RAG_ASSIGN_OR_RETURN_IMPL_(result, declaration, expression) \
  auto result = (expression);                                       \
  if (!result.ok()) [[unlikely]]                                    \
    return std::move(result).status();                              \
  declaration = std::move(result).value()

}  // namespace rag
