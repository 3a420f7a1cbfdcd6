#include "apps/rag_bench/measure/rounds.h"

#include <algorithm>
#include <cmath>

namespace rag::bench {
namespace {

// Comparing with every row takes long and the same for each query: so many tell enough.
constexpr size_t kExactQueries = 200;

}  // namespace

double Point::median_rate() const {
  if (rates.empty()) return 0;
  std::vector<double> sorted = rates;
  std::sort(sorted.begin(), sorted.end());
  const size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

double Point::latency_us(double p) const {
  if (latencies_us.empty()) return 0;
  const auto last = static_cast<double>(latencies_us.size() - 1);
  return latencies_us[static_cast<size_t>(std::lround(p * last))];
}

std::vector<Curve> RunRounds(std::span<System* const> systems, const Workload& workload,
                             const Judge& judge, const RoundsOptions& options,
                             const CancelToken& cancel, const Progress& progress) {
  std::vector<Curve> curves;
  size_t columns = 0;
  for (System* const system : systems) {
    std::vector<size_t> widths = system->widths();
    if (!options.widths.empty() && system->info().width_name == "ef") widths = options.widths;
    Curve curve{system, {}, OkStatus()};
    for (const size_t width : widths) {
      const size_t all = std::min(workload.data.queries.rows(), options.max_queries);
      const bool few = system->info().exact && !workload.batch;
      curve.points.push_back({width, few ? std::min(all, kExactQueries) : all, 0, {}, {}});
    }
    columns = std::max(columns, widths.size());
    curves.push_back(std::move(curve));
  }
  Pass pass;
  for (size_t round = 0; round <= options.rounds; ++round) {
    for (size_t column = 0; column < columns; ++column) {
      for (Curve& curve : curves) {
        if (column >= curve.points.size() || !curve.error.ok() || cancel.cancelled()) continue;
        Point& point = curve.points[column];
        progress(StrCat(round == 0 ? "warming up" : StrCat("round ", round, "/", options.rounds),
                        ": ", curve.system->info().name, ", width ", point.width),
                 static_cast<double>(round * columns + column) /
                     static_cast<double>((options.rounds + 1) * columns));
        Status status =
            curve.system->Search({point.width, point.queries, options.filter}, cancel, pass);
        if (!status.ok()) {
          if (status.code() != StatusCode::kCancelled) curve.error = std::move(status);
          continue;
        }
        if (round == 0) {
          point.recall = judge.Recall(pass.found, point.queries);
          continue;
        }
        point.rates.push_back(static_cast<double>(point.queries) / pass.seconds);
        point.latencies_us.insert(point.latencies_us.end(), pass.latencies_us.begin(),
                                  pass.latencies_us.end());
      }
    }
  }
  for (Curve& curve : curves) {
    std::erase_if(curve.points, [](const Point& point) { return point.rates.empty(); });
    for (Point& point : curve.points) {
      std::sort(point.rates.begin(), point.rates.end());
      std::sort(point.latencies_us.begin(), point.latencies_us.end());
    }
  }
  return curves;
}

double RateAtRecall(std::span<const Point> points, double recall) {
  std::vector<std::pair<double, double>> front;  // recall, rate
  for (const Point& point : points) {
    const double rate = point.median_rate();
    const bool beaten = std::any_of(points.begin(), points.end(), [&](const Point& other) {
      const double other_rate = other.median_rate();
      return (other.recall > point.recall && other_rate >= rate) ||
             (other.recall >= point.recall && other_rate > rate);
    });
    if (rate > 0 && !beaten) front.emplace_back(point.recall, rate);
  }
  std::sort(front.begin(), front.end());
  if (front.empty() || front.back().first < recall) return 0;
  if (front.front().first >= recall) return front.front().second;
  for (size_t i = 1; i < front.size(); ++i) {
    if (front[i].first < recall) continue;
    const auto [low, low_rate] = front[i - 1];
    const auto [high, high_rate] = front[i];
    if (high == low) return high_rate;
    const double share = (recall - low) / (high - low);
    return std::exp(std::log(low_rate) + share * (std::log(high_rate) - std::log(low_rate)));
  }
  return 0;
}

}  // namespace rag::bench
