// Report: what a run found, and its forms.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/rag_bench/measure/rounds.h"
#include "apps/rag_bench/report/run_info.h"

namespace rag::bench {

inline constexpr double kRecalls[] = {0.95, 0.97, 0.99};
// The peers that ratios are given to, the first that was measured.
inline constexpr const char* kReferences[] = {"hnswlib", "hnswlib-py"};

struct SystemReport {
  SystemInfo info;
  Built built;
  std::optional<Reopened> reopened;
  std::vector<Point> points;
  Status error;  // why there is no more
};

// The systems under one filter.
struct FilterReport {
  std::string kind;
  double selectivity = 0;
  std::vector<SystemReport> systems;
};

// A system after a share of its rows was replaced, and one built afresh of the rows that remain.
struct ChurnReport {
  SystemReport churned;
  SystemReport fresh;
};

struct Report {
  std::string data;
  size_t rows = 0;
  size_t dim = 0;
  size_t queries = 0;
  std::string metric;
  bool truth_computed = false;
  size_t k = 0;
  size_t rounds = 0;
  int threads = 1;
  int build_threads = 1;
  bool batch = false;
  bool pinned = false;
  RunInfo run;
  std::vector<SystemReport> systems;
  std::vector<FilterReport> filters;
  double churn = 0;
  std::vector<ChurnReport> churns;
};

// README.md documents the shape.
Value ReportToJson(const Report& report);
// Tables for a terminal and for Markdown.
std::string ReportToText(const Report& report);
std::string ReportToMarkdown(const Report& report);
// One line a point, with a header.
std::string ReportToCsv(const Report& report);

// The system that ratios are given to, or null.
const SystemReport* FindReference(const Report& report);

// The fastest point of at least this recall, else that of the highest recall; null without points.
const Point* BestPoint(const std::vector<Point>& points, double recall);

// Recall (linear) against queries a second (logarithmic), a line a system; the end of the path says
// the format, .svg or .png. Errors: io_error, failed_precondition when nothing was measured.
Status DrawPlot(const Report& report, const std::string& path);

}  // namespace rag::bench
