#include "apps/ragd/auth.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>

#include "lib/base/file.h"

namespace rag {
namespace {

constexpr size_t kMaxKeyFileBytes = 4096;

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

}  // namespace

bool EqualInConstantTime(std::string_view a, std::string_view b) {
  // Every byte of `a` is looked at; a wrong length is a difference like any other.
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    const char other = b.empty() ? '\0' : b[i % b.size()];
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(other);
  }
  return difference == 0;
}

Result<std::string> ReadKeyFile(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return InvalidArgumentError(path, ": other users may read the API key; chmod 600 it");
  }
  RAG_ASSIGN_OR_RETURN(std::string content, ReadFile(path, kMaxKeyFileBytes));
  content.resize(std::min(content.find('\n'), content.size()));
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!content.empty() && is_space(content.back())) content.pop_back();
  content.erase(content.begin(), std::find_if_not(content.begin(), content.end(), is_space));
  if (content.empty()) return InvalidArgumentError(path, ": no API key in its first line");
  return content;
}

bool IsLoopbackAddress(std::string_view address) {
  if (address == "::1") return true;
  if (address.starts_with("::ffff:")) address.remove_prefix(7);
  if (!address.starts_with("127.")) return false;
  // Four numbers, so that "127.evil.example" is none.
  size_t dots = 0;
  size_t digits = 0;
  for (char c : address) {
    if (c == '.') {
      if (digits == 0) return false;
      ++dots;
      digits = 0;
    } else if (c >= '0' && c <= '9' && digits < 3) {
      ++digits;
    } else {
      return false;
    }
  }
  return dots == 3 && digits > 0;
}

bool IsLoopbackHost(std::string_view host) {
  std::string_view port;
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    if (end == std::string_view::npos) return false;
    port = host.substr(end + 1);
    host = host.substr(1, end - 1);
  } else if (const size_t colon = host.find(':'); colon != std::string_view::npos) {
    port = host.substr(colon);
    host = host.substr(0, colon);
  }
  if (!port.empty() && port[0] != ':') return false;
  if (host.ends_with('.')) host.remove_suffix(1);
  return EqualIgnoringCase(host, "localhost") || IsLoopbackAddress(host);
}

std::optional<ApiError> Gatekeeper::Check(const HttpRequest& request, bool is_public) const {
  if (key_.empty()) {
    const std::string* host = request.Header("host");
    if (check_host_ && request.is_loopback && (host == nullptr || !IsLoopbackHost(*host))) {
      return ApiError{403,
                      StrCat("Host '", host != nullptr ? *host : "",
                             "' is not this machine; without an API key only localhost is served"),
                      "host_not_allowed", ""};
    }
    const std::string* origin = request.Header("origin");
    if (origin != nullptr) {
      std::string_view site = *origin;
      const size_t scheme = site.find("://");
      if (scheme != std::string_view::npos) site.remove_prefix(scheme + 3);
      if (host == nullptr || !EqualIgnoringCase(site, *host)) {
        return ApiError{403, StrCat("requests from the web site '", *origin, "' are not served"),
                        "origin_not_allowed", ""};
      }
    }
    return std::nullopt;
  }
  if (is_public) return std::nullopt;
  const std::string* authorization = request.Header("authorization");
  constexpr std::string_view kScheme = "bearer ";
  if (authorization == nullptr || authorization->size() < kScheme.size() ||
      !EqualIgnoringCase(std::string_view(*authorization).substr(0, kScheme.size()), kScheme)) {
    return ApiError{401, "an API key is needed: send 'Authorization: Bearer KEY'",
                    "missing_api_key", ""};
  }
  std::string_view given = std::string_view(*authorization).substr(kScheme.size());
  while (given.starts_with(' ')) given.remove_prefix(1);
  if (!EqualInConstantTime(given, key_)) {
    return ApiError{401, "the API key is not right", "invalid_api_key", ""};
  }
  return std::nullopt;
}

}  // namespace rag
