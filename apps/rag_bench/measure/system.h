// System: something that is measured: an index of ours, a linked peer, a peer in Python.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "apps/rag_bench/measure/judge.h"
#include "lib/base/cancel.h"
#include "lib/base/value.h"

namespace rag::bench {

// What every system is given. Outlives them.
struct Workload {
  const Dataset& data;
  // The rows as a peer without cosine wants them: normalized under cosine, else data's own.
  MatrixView base;
  MatrixView queries;
  size_t k = 10;
  int threads = 1;
  int build_threads = 1;
  bool batch = false;  // all queries in one call, where a system has such a call
  size_t m = 16;       // of graphs, where the spec does not say
  size_t ef_construction = 200;
};

struct SystemInfo {
  std::string name;     // unique in a run
  std::string source;   // "rag", "linked" or "python"
  std::string version;  // of a peer
  Value::Object parameters;
  std::string width_name = "ef";  // what a width is: "ef", "nprobe"; empty: there are none
  bool exact = false;             // compares with every row: no widths, and few queries are enough
  bool filters = false;
  bool removes = false;
  bool saves = false;
};

struct Built {
  double seconds = 0;
  size_t memory_bytes = 0;  // as the system says; 0: it does not
  size_t resident_bytes = 0;
};

// Of an index that was saved to a file and opened again, the file being in the system's cache.
struct Reopened {
  double save_seconds = 0;
  double open_seconds = 0;  // the median of some
  size_t file_bytes = 0;
};

struct SearchCall {
  size_t width = 0;
  size_t queries = 0;  // the first so many
  const FilterCase* filter = nullptr;
};

struct Pass {
  double seconds = 0;
  std::vector<float> latencies_us;  // empty: not measured
  std::vector<Row> found;           // [queries, k], filled with kNoRow
};

class System {
 public:
  virtual ~System() = default;
  virtual const SystemInfo& info() const = 0;
  virtual std::vector<size_t> widths() const = 0;
  // Makes the index of these rows of the base, dropping one that was there.
  virtual Result<Built> Build(std::span<const Row> rows, const CancelToken& cancel) = 0;
  // Moves what searches in another process to this processor.
  virtual Status Pin(int, const CancelToken&) { return OkStatus(); }
  // Only where info().removes.
  virtual Status Remove(std::span<const Row> rows);
  virtual Status Add(std::span<const Row> rows);
  virtual size_t memory_bytes() const { return 0; }
  // Only where info().saves. The file is left there.
  virtual Result<Reopened> Reopen(const std::string& path);
  virtual Status Search(const SearchCall& call, const CancelToken& cancel, Pass& pass) = 0;
};

// Calls search(query, out [k]) for each query on `threads` threads and times each call; out is
// filled with kNoRow before. Returns the first error, or cancelled.
Status TimeQueries(int threads, size_t queries, size_t k, const CancelToken& cancel,
                   const std::function<Status(size_t query, Row* out)>& search, Pass& pass);

// An index of ours. The workload outlives it.
struct IndexSpec;
std::unique_ptr<System> MakeOurs(const IndexSpec& spec, const Workload& workload,
                                 const Runtime& runtime);

// The peers that this program is linked with.
std::vector<std::unique_ptr<System>> MakeLinkedPeers(const Workload& workload);

}  // namespace rag::bench
