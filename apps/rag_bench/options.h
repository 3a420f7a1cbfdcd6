// What a command line of `rag-bench` says, as plain values: parse.cc alone knows the argument
// parser.
#pragma once

#include <string>
#include <vector>

#include "apps/rag_bench/data/dataset.h"
#include "apps/rag_bench/spec.h"

namespace rag::bench {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

struct SearchBenchOptions {
  DatasetRequest data;
  std::vector<IndexSpec> indexes;
  std::vector<size_t> widths;  // empty: each kind's own
  size_t k = 10;
  size_t rounds = 5;
  int threads = 1;
  int build_threads = 1;
  size_t m = 16;
  size_t ef_construction = 200;
  bool batch = false;
  std::vector<double> selectivities;  // of the filter experiment; empty: none
  std::vector<std::string> filter_kinds;
  double churn = 0;     // share of the rows that is replaced; 0: none
  bool reopen = false;  // save and open the indexes too
  bool peers = false;
  std::string
      peers_python;  // the interpreter that has the peers' packages; empty: linked ones only
  std::string peers_script;
  std::vector<std::string> peer_names;  // empty: all
  std::string json;                     // "-": standard output, and nothing else there
  std::string csv;
  std::string markdown;
  std::vector<std::string> plots;  // by their ends .svg and .png
  bool quiet = false;
  std::string command;  // as it was typed
};

// Fills in options and returns -1, or the exit code when there is nothing left to do (help, version
// and usage errors, which are printed).
int ParseCommandLine(int argc, const char* const* argv, SearchBenchOptions& options);

}  // namespace rag::bench
