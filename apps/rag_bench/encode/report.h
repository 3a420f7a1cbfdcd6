// What `rag-bench encode` found, and its forms.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/rag_bench/report/run_info.h"
#include "apps/rag_bench/report/spread.h"
#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag::bench {

// One system on one set of texts in calls of one size.
struct EncodeMeasure {
  size_t set = 0;                         // of EncodeReport::sets
  size_t batch = 0;                       // texts in a call; 0: all
  std::vector<double> seconds;            // a turn each, by round
  std::vector<double> processor_seconds;  // the same, of all threads
  std::vector<double> ratios;             // of the first system's time to this one's, by round
  // Between its vectors and the first system's; nullopt: none were compared.
  std::optional<double> lowest_cosine;
  std::optional<double> mean_cosine;
};

struct EncodeSystemReport {
  std::string name;
  std::string source;   // "rag" or "python"
  std::string version;  // of a peer
  Value::Object parameters;
  double load_seconds = 0;
  double first_seconds = 0;  // until the first vector
  size_t base_bytes = 0;     // resident before the model was loaded
  size_t peak_bytes = 0;     // the largest resident set of the process
  std::vector<EncodeMeasure> measures;
  Status error;  // why there is no more
};

struct EncodeSetReport {
  std::string name;
  size_t texts = 0;
  size_t tokens = 0;
  size_t shortest = 0;
  size_t median = 0;
  size_t longest = 0;
};

// All systems with one number of threads.
struct EncodeRun {
  int threads = 1;
  bool pinned = false;
  std::vector<EncodeSystemReport> systems;
};

struct EncodeReport {
  std::string model;
  size_t dim = 0;
  size_t max_tokens = 0;
  size_t weight_bytes = 0;
  size_t rounds = 0;
  RunInfo info;
  std::vector<EncodeSetReport> sets;
  std::vector<EncodeRun> runs;
};

// README.md documents the shape.
Value EncodeReportToJson(const EncodeReport& report);
std::string EncodeReportToText(const EncodeReport& report);
std::string EncodeReportToMarkdown(const EncodeReport& report);

}  // namespace rag::bench
