// Peers in Python: benchmarks/peers/search_peers.py, kept alive and driven line by line.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apps/rag_bench/measure/system.h"

namespace rag::bench {

struct PythonPeersOptions {
  std::string python;
  std::string script;
  std::vector<std::string> names;  // empty: all that the interpreter has
};

struct PythonPeers {
  std::vector<std::unique_ptr<System>> systems;  // share the process, which ends with the last
  std::vector<std::string> missing;
};

// Starts the script and hands it the workload as .npy files in a temporary folder, which is removed
// with the last system. The process runs where this thread is pinned.
// Errors: io_error when it cannot be started, unavailable when it ends or answers with nonsense.
Result<PythonPeers> MakePythonPeers(const PythonPeersOptions& options, const Workload& workload,
                                    const CancelToken& cancel);

}  // namespace rag::bench
