// What /metrics tells, in Prometheus' text format 0.0.4.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/status.h"

namespace rag {

class Engine;

// Thread-safe.
class Metrics {
 public:
  // route is a pattern of the router, never a path: the number of series stays bounded.
  void CountRequest(std::string_view route, std::string_view method, int status, double seconds);

  // Gauges and counters that others change.
  std::atomic<int64_t> requests_in_flight{0};
  std::atomic<int64_t> connections{0};
  std::atomic<uint64_t> connections_refused{0};
  std::atomic<uint64_t> tokens_generated{0};
  std::atomic<uint64_t> tokens_prompt{0};
  std::atomic<uint64_t> texts_encoded{0};
  std::atomic<uint64_t> documents_written{0};

  // Reads the collections' sizes from the engine; what it cannot read is left out.
  std::string Render(const Engine& engine, size_t queue_length) const;

 private:
  static constexpr std::array<double, 14> kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                     0.25,  0.5,    1,     2.5,  5,     10,   30};
  struct Histogram {
    std::array<uint64_t, kBounds.size() + 1> counts{};
    double sum = 0;
  };
  struct Key {
    std::string route;
    std::string method;
    int status;
    auto operator<=>(const Key&) const = default;
  };

  mutable std::mutex mutex_;
  std::map<Key, uint64_t> requests_;                         // guarded by mutex_
  std::map<std::string, Histogram, std::less<>> latencies_;  // by route; guarded by mutex_
};

}  // namespace rag
