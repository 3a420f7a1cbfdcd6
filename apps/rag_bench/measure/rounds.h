// Rounds: the systems take turns at every width, so that the machine's noise hits all alike.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/rag_bench/measure/system.h"

namespace rag::bench {

// A system at one width.
struct Point {
  size_t width = 0;
  size_t queries = 0;
  double recall = 0;
  std::vector<double> rates;        // queries a second, one for each round; ascending at the end
  std::vector<float> latencies_us;  // of all rounds; ascending at the end

  double median_rate() const;
  // p in 0 .. 1; 0 when latencies were not measured.
  double latency_us(double p) const;
};

struct Curve {
  System* system = nullptr;
  std::vector<Point> points;  // those that were measured at least once
  Status error;               // what stopped the system
};

struct RoundsOptions {
  size_t rounds = 5;
  std::vector<size_t> widths;  // instead of graphs' own
  const FilterCase* filter = nullptr;
  size_t max_queries = SIZE_MAX;
};

// Called before each pass with what is about to run, and the share that is done.
using Progress = std::function<void(const std::string& what, double share)>;

// Round 0 warms up and yields the recall. A system that fails is left out from then on; cancelled,
// what was measured is returned.
std::vector<Curve> RunRounds(std::span<System* const> systems, const Workload& workload,
                             const Judge& judge, const RoundsOptions& options,
                             const CancelToken& cancel, const Progress& progress);

// Queries a second at a recall, between the measured points that no other beats in both (the
// logarithm of the rate is interpolated). Below the lowest recall: the rate at the lowest point, a
// lower bound. 0 when the recall was not reached.
double RateAtRecall(std::span<const Point> points, double recall);

}  // namespace rag::bench
