// Who may ask: the API key, and the defences of a server on loopback without one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "apps/ragd/http.h"
#include "lib/base/status.h"

namespace rag {

// Compares in a time that depends on the lengths alone.
bool EqualInConstantTime(std::string_view a, std::string_view b);

// The first line of the file, white space around it removed. Errors name the file:
// invalid_argument when it is empty or other users may read it.
Result<std::string> ReadKeyFile(const std::string& path);

// "127.0.0.1", "[::1]:7432", "localhost:80": does a Host header name this machine's loopback?
bool IsLoopbackHost(std::string_view host);
// An IP address in text form, without brackets.
bool IsLoopbackAddress(std::string_view address);

class Gatekeeper {
 public:
  // key "": none is asked for. check_host: refuse a Host that is not loopback, for requests that
  // came over TCP to loopback.
  Gatekeeper(std::string key, bool check_host) : key_(std::move(key)), check_host_(check_host) {}

  // Nullopt when the request may pass. `is_public`: the route needs no key.
  //
  // Without a key, any page a browser on this machine shows could send requests here. A page of
  // another site names itself in Origin; one that had its own name resolve to 127.0.0.1 (DNS
  // rebinding) names itself in Host. Both are refused.
  std::optional<ApiError> Check(const HttpRequest& request, bool is_public) const;

 private:
  const std::string key_;
  const bool check_host_;
};

}  // namespace rag
