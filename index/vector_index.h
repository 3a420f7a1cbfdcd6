// VectorIndex: nearest-neighbour search over vectors that carry the caller's 64-bit ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

inline constexpr size_t kMaxDim = 65'535;

// How two vectors are compared. Scores are always "larger is better".
enum class Metric {
  kInnerProduct,  // score = <a, b>
  kCosine,  // score = <a, b> / (|a| |b|); vectors are normalized when added, zero vectors refused
  kL2,      // score = -|a - b|^2
};
std::string_view MetricName(Metric metric);  // "ip", "cosine", "l2"
Result<Metric> ParseMetric(std::string_view name);

struct Neighbor {
  uint64_t id = 0;
  float score = 0;
  bool operator==(const Neighbor&) const = default;
};

// Which ids a search may return.
class IdFilter {
 public:
  virtual ~IdFilter() = default;
  virtual bool Contains(uint64_t id) const = 0;
  // The allowed ids when they are few enough to be listed (ascending), else empty: lets an index
  // scan the matches exactly instead of walking a graph.
  virtual std::span<const uint64_t> Ids() const { return {}; }
  // How many ids are allowed, exactly or estimated.
  virtual size_t Count() const = 0;
};

struct SearchOptions {
  size_t k = 10;         // 1 .. 65,535
  size_t ef_search = 0;  // width of a graph walk; 0: the index's default; at least k is used
  const IdFilter* filter = nullptr;  // null: all
  bool exact = false;                // compare with every allowed vector instead of walking a graph
};

enum class IndexKind { kFlat, kHnsw };
std::string_view IndexKindName(IndexKind kind);  // "flat", "hnsw"
Result<IndexKind> ParseIndexKind(std::string_view name);

struct HnswOptions {
  size_t m = 16;                 // links a node on the upper layers, 2m on layer 0; 2 .. 128
  size_t ef_construction = 200;  // 1 .. 65,535
  size_t ef_search = 64;         // default of SearchOptions::ef_search
  uint64_t seed = 42;            // of the level generator
};

struct VectorIndexOptions {
  IndexKind kind = IndexKind::kHnsw;
  size_t dim = 0;  // 1 .. kMaxDim
  Metric metric = Metric::kCosine;
  HnswOptions hnsw;
};

// Threads: Search may run at any time, together with one or more Add and Remove calls.
class VectorIndex {
 public:
  // The Runtime outlives the index. Errors: invalid_argument naming the option.
  static Result<std::unique_ptr<VectorIndex>> Create(const VectorIndexOptions& options,
                                                     const Runtime& runtime);
  virtual ~VectorIndex() = default;

  // vectors [n, dim] f32, row i belongs to ids[i]; an id that is there already is replaced.
  // Errors: invalid_argument (shape, duplicate id in the call, a value that is not finite, a zero
  // vector under cosine), naming the row; nothing is added then. cancelled: some rows were added.
  virtual Status Add(std::span<const uint64_t> ids, MatrixView vectors,
                     const CancelToken* cancel = nullptr) = 0;
  // Ids that are not there are ignored. Returns how many were removed. The vector's bytes are
  // overwritten or freed; it is never returned again.
  virtual Result<size_t> Remove(std::span<const uint64_t> ids) = 0;

  // queries [n, dim] f32 -> for each, at most k neighbours, best first, ties by lower id. Fewer
  // than k only when fewer ids are allowed.
  virtual Result<std::vector<std::vector<Neighbor>>> Search(MatrixView queries,
                                                            const SearchOptions& options) const = 0;

  virtual bool Contains(uint64_t id) const = 0;
  // Copies the stored vector (normalized under cosine) to out [dim]. Errors: not_found.
  virtual Status GetVector(uint64_t id, std::span<float> out) const = 0;
  // Ids in no particular order.
  virtual std::vector<uint64_t> Ids() const = 0;
  virtual size_t size() const = 0;
  virtual size_t memory_bytes() const = 0;
  virtual const VectorIndexOptions& options() const = 0;

  // A snapshot in one file, written atomically, with a format version and checksums; `tag` is the
  // caller's (a sequence number). Waits for running Adds and Removes, searches go on.
  virtual Status Save(const std::string& path, uint64_t tag) const = 0;
  // Errors: data_loss naming the place when damaged, failed_precondition when options differ.
  struct Loaded;
  static Result<Loaded> Load(const std::string& path, const VectorIndexOptions& options,
                             const Runtime& runtime);

  // Checks the structure (links in range, symmetric reachability, layers). Errors: data_loss.
  virtual Status Verify() const = 0;
};

struct VectorIndex::Loaded {
  std::unique_ptr<VectorIndex> index;
  uint64_t tag = 0;
};

}  // namespace rag
