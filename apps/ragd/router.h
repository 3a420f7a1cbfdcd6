// Which handler answers which request, and who may reach it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/ragd/auth.h"
#include "apps/ragd/http.h"

namespace rag {

// What a route's work is done on, so that long answers cannot keep health checks or searches
// waiting.
enum class Lane {
  kControl,   // quick looks: health, metrics, lists
  kWork,      // encoding, searching, writing
  kGenerate,  // what may run the decoder
};

// `rest` is what a pattern's last "*" stood for, decoded.
using Handler =
    std::function<void(const HttpRequest& request, const std::string& rest, ResponseWriter& out)>;

struct Route {
  std::string method;   // "GET" also answers HEAD
  std::string pattern;  // "/v1/models", or "/v1/models/*" with anything but nothing for the "*"
  Lane lane;
  bool is_public;  // no API key
  Handler handler;
};

struct Match {
  const Route* route = nullptr;  // null: `error` says why
  std::string rest;
  HttpResponse error;
};

// Immutable once the routes are added; then thread-safe.
class Router {
 public:
  explicit Router(Gatekeeper gatekeeper) : gatekeeper_(std::move(gatekeeper)) {}
  void Add(Route route) { routes_.push_back(std::move(route)); }

  // From the head alone, before the body is read: 401, 403, 404, 405 (with Allow).
  Match Find(const HttpRequest& head) const;

 private:
  const Gatekeeper gatekeeper_;
  std::vector<Route> routes_;
};

}  // namespace rag
