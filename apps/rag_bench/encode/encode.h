// rag-bench encode: starts the systems, lets them take turns, reports.
#pragma once

#include <string>
#include <vector>

#include "lib/base/cancel.h"
#include "lib/nn/linear.h"

namespace rag::bench {

struct EncodeBenchOptions {
  std::string model;            // a name of the models folder, or a path
  std::string texts;            // JSONL; empty: words of the model's vocabulary
  size_t limit = 0;             // texts of a set
  std::vector<size_t> lengths;  // a set of texts of so many tokens each; empty: as they come alone
  std::vector<size_t> batches;  // texts in a call; 0: all
  std::vector<int> threads;
  std::vector<Precision> precisions;
  size_t rounds = 3;
  bool peers = false;
  std::string peers_python;
  std::string peers_script;
  std::string peers_folder;  // where their forms of the model are kept; empty: a scratch folder
  std::vector<std::string> peer_names;  // empty: all
  std::string json;                     // "-": standard output, and nothing else there
  std::string markdown;
  bool quiet = false;
  std::string command;  // as it was typed
};

// Returns the exit code; errors are printed.
int RunEncode(const EncodeBenchOptions& options, const CancelToken& cancel);

}  // namespace rag::bench
