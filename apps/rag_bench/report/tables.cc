#include "apps/rag_bench/report/report.h"
#include "apps/rag_bench/report/table.h"

namespace rag::bench {
namespace {

constexpr double kFilterRecall = 0.95;

std::string PerVector(size_t bytes, size_t rows) {
  return bytes == 0 ? "-" : Fixed(static_cast<double>(bytes) / static_cast<double>(rows), 0);
}

Table BuildTable(const Report& report) {
  Table table{"Build", {"system", "build s", "memory MB", "resident MB", "bytes a vector"}, {}};
  for (const SystemReport& system : report.systems) {
    const Built& built = system.built;
    table.rows.push_back(
        {system.info.name, Fixed(built.seconds, 2), Megabytes(built.memory_bytes),
         Megabytes(built.resident_bytes),
         PerVector(built.memory_bytes != 0 ? built.memory_bytes : built.resident_bytes,
                   report.rows)});
  }
  return table;
}

Table ReopenTable(const Report& report) {
  Table table{"Saved and opened again", {"system", "save s", "open s", "file MB"}, {}};
  for (const SystemReport& system : report.systems) {
    if (!system.reopened) continue;
    table.rows.push_back({system.info.name, Fixed(system.reopened->save_seconds, 3),
                          Fixed(system.reopened->open_seconds, 3),
                          Megabytes(system.reopened->file_bytes)});
  }
  return table;
}

Table PointsTable(const Report& report) {
  Table table{"Search",
              {"system", "width", StrCat("recall@", report.k), "queries/s", "min", "max", "p50 us",
               "p95 us", "p99 us"},
              {}};
  for (const SystemReport& system : report.systems) {
    for (const Point& point : system.points) {
      const auto latency = [&](double p) {
        return point.latencies_us.empty() ? std::string("-") : Fixed(point.latency_us(p), 0);
      };
      table.rows.push_back({system.info.name, std::to_string(point.width), Fixed(point.recall, 4),
                            Fixed(point.median_rate(), 0), Fixed(point.rates.front(), 0),
                            Fixed(point.rates.back(), 0), latency(0.5), latency(0.95),
                            latency(0.99)});
    }
  }
  return table;
}

Table RecallTable(const Report& report) {
  Table table{"Queries a second at a recall", {"system"}, {}};
  const SystemReport* const reference = FindReference(report);
  for (const double recall : kRecalls) {
    table.header.push_back(Fixed(recall, 2));
    if (reference != nullptr) table.header.push_back(StrCat("x ", reference->info.name));
  }
  for (const SystemReport& system : report.systems) {
    if (system.points.empty()) continue;
    std::vector<std::string> row = {system.info.name};
    for (const double recall : kRecalls) {
      const double rate = RateAtRecall(system.points, recall);
      row.push_back(rate == 0 ? "-" : Fixed(rate, 0));
      if (reference == nullptr) continue;
      const double other = RateAtRecall(reference->points, recall);
      row.push_back(rate == 0 || other == 0 ? "-" : Fixed(rate / other, 2));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table FilterTable(const Report& report) {
  Table table{StrCat("Under filters: the fastest width of recall ", Fixed(kFilterRecall, 2),
                     " or more, else the widest recall"),
              {"filter", "allowed", "system", "width", "recall", "queries/s", "p95 us"},
              {}};
  for (const FilterReport& filter : report.filters) {
    for (const SystemReport& system : filter.systems) {
      const Point* const best = BestPoint(system.points, kFilterRecall);
      if (best == nullptr) continue;
      table.rows.push_back({filter.kind, StrCat(Fixed(filter.selectivity * 100, 1), "%"),
                            system.info.name, std::to_string(best->width), Fixed(best->recall, 4),
                            Fixed(best->median_rate(), 0), Fixed(best->latency_us(0.95), 0)});
    }
  }
  return table;
}

Table ChurnTable(const Report& report) {
  Table table{StrCat("After ", Fixed(report.churn * 100, 0), "% of the rows were replaced"),
              {"system", "width", "recall", "fresh", "difference", "queries/s", "fresh",
               "resident MB", "fresh"},
              {}};
  for (const ChurnReport& churn : report.churns) {
    for (const Point& point : churn.churned.points) {
      for (const Point& fresh : churn.fresh.points) {
        if (fresh.width != point.width) continue;
        table.rows.push_back({churn.churned.info.name, std::to_string(point.width),
                              Fixed(point.recall, 4), Fixed(fresh.recall, 4),
                              Fixed(point.recall - fresh.recall, 4), Fixed(point.median_rate(), 0),
                              Fixed(fresh.median_rate(), 0),
                              Megabytes(churn.churned.built.resident_bytes),
                              Megabytes(churn.fresh.built.resident_bytes)});
      }
    }
  }
  return table;
}

std::string Heading(const Report& report) {
  return StrCat(report.data, ": ", report.rows, " x ", report.dim, ", ", report.metric, ", ",
                report.queries, " queries, k = ", report.k, ", ", report.threads,
                report.threads == 1 ? " thread" : " threads", report.pinned ? " (pinned)" : "",
                report.batch ? ", all queries in one call" : "", ", ", report.rounds, " rounds\n",
                report.run.processor, ", ", report.run.isa, "\n");
}

std::vector<Table> Tables(const Report& report) {
  std::vector<Table> tables = {BuildTable(report), PointsTable(report), RecallTable(report),
                               ReopenTable(report)};
  if (!report.filters.empty()) tables.push_back(FilterTable(report));
  if (!report.churns.empty()) tables.push_back(ChurnTable(report));
  return tables;
}

// What could not be measured, a line each.
std::string Notes(const Report& report) {
  std::string out;
  for (const SystemReport& system : report.systems) {
    if (!system.error.ok()) out += StrCat(system.info.name, ": ", system.error.message(), "\n");
  }
  return out + RunNotes(report.run);
}

}  // namespace

std::string ReportToText(const Report& report) {
  const std::string out = Heading(report) + TablesToText(Tables(report));
  const std::string notes = Notes(report);
  return notes.empty() ? out : StrCat(out, "\n", notes);
}

std::string ReportToMarkdown(const Report& report) {
  std::string out = Heading(report);
  out.pop_back();
  out += StrCat(". `", report.run.command, "`\n", TablesToMarkdown(Tables(report)));
  const std::string notes = Notes(report);
  return notes.empty() ? out : StrCat(out, "\n", notes);
}

}  // namespace rag::bench
