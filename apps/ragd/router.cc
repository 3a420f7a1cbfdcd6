#include "apps/ragd/router.h"

namespace rag {
namespace {

std::optional<std::string> MatchPattern(std::string_view pattern, const std::string& path) {
  if (!pattern.ends_with('*')) {
    return path == pattern ? std::optional<std::string>("") : std::nullopt;
  }
  pattern.remove_suffix(1);
  if (!path.starts_with(pattern) || path.size() == pattern.size()) return std::nullopt;
  return path.substr(pattern.size());
}

}  // namespace

Match Router::Find(const HttpRequest& head) const {
  Match match;
  std::string allow;
  bool is_public = false;
  for (const Route& route : routes_) {
    std::optional<std::string> rest = MatchPattern(route.pattern, head.path);
    if (!rest.has_value()) continue;
    if (!allow.empty()) allow += ", ";
    allow += route.method;
    if (route.method == "GET") allow += ", HEAD";
    is_public = is_public || route.is_public;
    if (route.method == head.method || (route.method == "GET" && head.method == "HEAD")) {
      match.route = &route;
      match.rest = std::move(*rest);
      is_public = route.is_public;
      break;
    }
  }
  // The key comes first: without it nobody learns which routes there are.
  if (std::optional<ApiError> refused = gatekeeper_.Check(head, is_public)) {
    match.route = nullptr;
    match.error = ErrorResponse(*refused);
    return match;
  }
  if (match.route != nullptr) return match;
  if (allow.empty()) {
    match.error = ErrorResponse({404, StrCat("there is nothing at ", head.path), "not_found", ""});
    return match;
  }
  match.error = ErrorResponse(
      {405, StrCat(head.method, " is not allowed at ", head.path), "method_not_allowed", ""});
  match.error.headers.emplace_back("Allow", allow);
  return match;
}

}  // namespace rag
