// rag-bench search: builds the systems, lets them take turns, reports.
#pragma once

#include <string>
#include <vector>

#include "apps/rag_bench/data/dataset.h"
#include "apps/rag_bench/spec.h"
#include "lib/base/cancel.h"

namespace rag::bench {

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

// Returns the exit code; errors are printed.
int RunSearch(const SearchBenchOptions& options, const CancelToken& cancel);

}  // namespace rag::bench
