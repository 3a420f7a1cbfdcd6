#include "apps/rag_bench/report/report.h"

#include <algorithm>

namespace rag::bench {
namespace {

Value ToValue(const Point& point) {
  Value::Object out{{"width", point.width},
                    {"queries", point.queries},
                    {"recall", point.recall},
                    {"queries_per_second", Value::Object{{"median", point.median_rate()},
                                                         {"min", point.rates.front()},
                                                         {"max", point.rates.back()}}}};
  if (!point.latencies_us.empty()) {
    out.Set("latency_us", Value::Object{{"p50", point.latency_us(0.5)},
                                        {"p95", point.latency_us(0.95)},
                                        {"p99", point.latency_us(0.99)}});
  }
  return out;
}

Value ToValue(const SystemReport& system, size_t rows) {
  Value::Object out{{"name", system.info.name}, {"source", system.info.source}};
  if (!system.info.version.empty()) out.Set("version", system.info.version);
  out.Set("parameters", system.info.parameters);
  if (!system.info.width_name.empty()) out.Set("width", system.info.width_name);
  out.Set("build_seconds", system.built.seconds);
  if (system.built.memory_bytes != 0) {
    out.Set("memory_bytes", system.built.memory_bytes);
    out.Set("bytes_per_vector",
            static_cast<double>(system.built.memory_bytes) / static_cast<double>(rows));
  }
  out.Set("resident_bytes", system.built.resident_bytes);
  out.Set("resident_bytes_per_vector",
          static_cast<double>(system.built.resident_bytes) / static_cast<double>(rows));
  if (system.reopened) {
    out.Set("save_seconds", system.reopened->save_seconds);
    out.Set("open_seconds", system.reopened->open_seconds);
    out.Set("file_bytes", system.reopened->file_bytes);
  }
  Value::Array points;
  for (const Point& point : system.points) points.push_back(ToValue(point));
  out.Set("points", std::move(points));
  if (!system.error.ok()) out.Set("error", system.error.ToString());
  return out;
}

Value AtRecall(const SystemReport& system, const SystemReport* reference) {
  Value::Array out;
  for (const double recall : kRecalls) {
    const double rate = RateAtRecall(system.points, recall);
    if (rate == 0) continue;
    Value::Object at{{"recall", recall}, {"queries_per_second", rate}};
    const double other = reference == nullptr ? 0 : RateAtRecall(reference->points, recall);
    if (other > 0) at.Set(StrCat("ratio_to_", reference->info.name), rate / other);
    out.push_back(std::move(at));
  }
  return out;
}

}  // namespace

const SystemReport* FindReference(const Report& report) {
  for (const char* const name : kReferences) {
    for (const SystemReport& system : report.systems) {
      if (system.info.name == name && !system.points.empty()) return &system;
    }
  }
  return nullptr;
}

const Point* BestPoint(const std::vector<Point>& points, double recall) {
  const Point* best = nullptr;
  for (const Point& point : points) {
    if (best == nullptr) {
      best = &point;
      continue;
    }
    const bool enough = point.recall >= recall;
    const bool had_enough = best->recall >= recall;
    const bool better = enough && had_enough   ? point.median_rate() > best->median_rate()
                        : enough != had_enough ? enough
                                               : point.recall > best->recall;
    if (better) best = &point;
  }
  return best;
}

Value ReportToJson(const Report& report) {
  Value::Object out;
  out.Set("data", Value::Object{{"name", report.data},
                                {"rows", report.rows},
                                {"dim", report.dim},
                                {"queries", report.queries},
                                {"metric", report.metric},
                                {"truth", report.truth_computed ? "computed" : "file"}});
  AddRunInfo(report.run, out);
  out.Set("k", report.k);
  out.Set("rounds", report.rounds);
  out.Set("threads", report.threads);
  out.Set("build_threads", report.build_threads);
  out.Set("pinned", report.pinned);
  out.Set("batch", report.batch);
  const SystemReport* const reference = FindReference(report);
  Value::Array systems;
  for (const SystemReport& system : report.systems) {
    Value value = ToValue(system, report.rows);
    value.as_object().Set("at_recall", AtRecall(system, reference));
    systems.push_back(std::move(value));
  }
  out.Set("systems", std::move(systems));
  if (!report.filters.empty()) {
    Value::Array filters;
    for (const FilterReport& filter : report.filters) {
      Value::Array of_filter;
      for (const SystemReport& system : filter.systems) {
        Value::Array points;
        for (const Point& point : system.points) points.push_back(ToValue(point));
        of_filter.push_back(
            Value::Object{{"name", system.info.name}, {"points", std::move(points)}});
      }
      filters.push_back(Value::Object{{"kind", filter.kind},
                                      {"selectivity", filter.selectivity},
                                      {"systems", std::move(of_filter)}});
    }
    out.Set("filters", std::move(filters));
  }
  if (!report.churns.empty()) {
    const auto rows = static_cast<size_t>(static_cast<double>(report.rows) / (1 + report.churn));
    Value::Array churns;
    for (const ChurnReport& churn : report.churns) {
      churns.push_back(Value::Object{{"share", report.churn},
                                     {"churned", ToValue(churn.churned, rows)},
                                     {"fresh", ToValue(churn.fresh, rows)}});
    }
    out.Set("churn", std::move(churns));
  }
  return out;
}

std::string ReportToCsv(const Report& report) {
  std::string out =
      "system,width,queries,recall,qps_median,qps_min,qps_max,p50_us,p95_us,p99_us,build_s,"
      "memory_bytes,resident_bytes\n";
  for (const SystemReport& system : report.systems) {
    for (const Point& point : system.points) {
      // A spec's name may hold commas.
      out += StrCat('"', system.info.name, "\",", point.width, ",", point.queries, ",",
                    point.recall, ",", point.median_rate(), ",", point.rates.front(), ",",
                    point.rates.back(), ",", point.latency_us(0.5), ",", point.latency_us(0.95),
                    ",", point.latency_us(0.99), ",", system.built.seconds, ",",
                    system.built.memory_bytes, ",", system.built.resident_bytes, "\n");
    }
  }
  return out;
}

}  // namespace rag::bench
