// DecodeReport: what a run of rag-bench decode found, and its forms.
#pragma once

#include <string>
#include <vector>

#include "apps/rag_bench/decode/decoding.h"
#include "apps/rag_bench/report/run_info.h"
#include "apps/rag_bench/report/table.h"
#include "lib/base/value.h"

namespace rag::bench {

inline constexpr const char* kOurs = "rag";

// What one system did in each round.
struct DecodeSeries {
  std::string system;          // kOurs, or a peer's name
  std::vector<double> values;  // in the order of rounds; a peer's that failed are fewer
};

// One thing that was measured.
struct DecodeCase {
  std::string what;      // "prefill", "decode", "batch", "first token", "cached first token", …
  size_t context = 0;    // tokens before
  size_t tokens = 0;     // of each sequence
  size_t sequences = 1;  // at once
  std::string unit;      // "tokens/s", "ms"
  std::vector<DecodeSeries> systems;  // ours first, then the peers that do it too; all have values
};

struct DecodeRun {
  int threads = 1;
  double file_read_seconds = 0;  // the file once, before it was loaded
  Loaded loaded;
  std::vector<double> memory_reads;  // bytes a second, in each round
  std::vector<DecodeCase> cases;
};

struct DecodeModel {
  std::string file;
  size_t file_bytes = 0;
  GeneratorInfo info;
  std::vector<DecodeRun> runs;
};

struct DecodeReport {
  RunInfo info;
  int processors = 0;
  std::string cache_type;
  size_t rounds = 0;
  double load_before = 0;
  double load_after = 0;
  std::vector<DecodeModel> models;
  std::vector<std::string> errors;  // of peers, with their names
};

// README.md documents the shape.
Value DecodeReportToJson(const DecodeReport& report);
std::vector<Table> DecodeTables(const DecodeReport& report);
// What stands before the tables, and behind them.
std::string Heading(const DecodeReport& report);
std::string Notes(const DecodeReport& report);

}  // namespace rag::bench
