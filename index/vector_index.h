// VectorIndex: nearest-neighbour search over vectors that carry the caller's 64-bit ids.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
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
  kManhattan,  // score = -sum |a_i - b_i|
  kHamming,    // score = -(number of bits that differ); binary vectors only
  kJaccard,    // score = |a and b| / |a or b|, 1 for two vectors without a bit; binary vectors only
};
std::string_view MetricName(Metric metric);  // "ip", "cosine", "l2", "manhattan", ...
Result<Metric> ParseMetric(std::string_view name);

// How the elements of stored vectors are kept. What is added must fit: f16 refuses what is beyond
// +-65,504, i8 and u8 anything but integers of their range, binary (one bit an element) anything
// but 0 and 1. f16 and bf16 round to nearest even. Vectors come and go as f32 in every case.
enum class ElementType { kF32, kF16, kBF16, kI8, kU8, kBinary };
std::string_view ElementTypeName(ElementType type);  // "f32", "f16", "bf16", "i8", "u8", "binary"
Result<ElementType> ParseElementType(std::string_view name);

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
  size_t probes = 0;     // lists that an IVF index scans; 0: the index's default; more where they
                         // hold fewer than k
  size_t rerank = 0;     // exact distances for each of the k that an IVF index with codes computes;
                         // 0: the index's default; up to 65,535
  const IdFilter* filter = nullptr;  // null: all
  bool exact = false;                // compare with every allowed vector instead of walking a graph
  // Range search: only neighbours of at least this score (-r^2 for a radius r under L2), k of them
  // at most.
  std::optional<float> min_score;
  // When it has passed, a search ends with deadline_exceeded. Looked at between groups of queries:
  // what is begun is finished.
  std::optional<std::chrono::steady_clock::time_point> deadline;
};

enum class IndexKind { kFlat, kHnsw, kIvf };
std::string_view IndexKindName(IndexKind kind);  // "flat", "hnsw", "ivf"
Result<IndexKind> ParseIndexKind(std::string_view name);

// What a graph walk compares instead of the stored vectors; what it finds is compared again with
// the vectors themselves, so that scores are exact. For inner product, cosine and L2.
enum class CodeKind {
  kNone,    // the vectors themselves
  kSq8,     // each element in 8 bits
  kPca8,    // principal components, as many as hold most of the variance, in 8 bits each
  kRabitq,  // a bit for each dimension of the rotated vector, corrected (RaBitQ); from 64
            // dimensions
  kSq4,     // the same in 4 bits; from 16 dimensions
  kPca4,    // principal components, rotated, in 4 bits each; from 16 dimensions
};
std::string_view CodeKindName(CodeKind kind);  // "none", "sq8", "pca8", "rabitq", "sq4", "pca4"
Result<CodeKind> ParseCodeKind(std::string_view name);

struct HnswOptions {
  size_t m = 16;                     // links a node on the upper layers, 2m on layer 0; 2 .. 128
  size_t ef_construction = 200;      // 1 .. 65,535
  size_t ef_search = 128;            // default of SearchOptions::ef_search; at least 2k is used
  uint64_t seed = 42;                // of the level generator
  CodeKind codes = CodeKind::kNone;  // learned once there are some thousand vectors
  // Components that kPca8 and kPca4 keep, 1 .. 4,092 and at most dim; 0: chosen by the variance
  // they hold.
  size_t code_dims = 0;
};

// What the lists of an IVF index hold of a vector, beside its place: the difference to the list's
// centroid, in so many bits, that is compared first; the best are compared exactly. Vectors of
// fewer than 8 dimensions get none.
enum class IvfCodes {
  kNone,    // nothing: every vector of a list is compared exactly
  kSq8,     // a byte for each dimension
  kPq8,     // product quantization, a byte for each part
  kPq4,     // product quantization, four bits for each part, scanned in registers
  kRabitq,  // a bit for each dimension of the rotated difference, corrected (RaBitQ), scanned in
            // registers; from 64 dimensions
};
std::string_view IvfCodesName(IvfCodes codes);  // "none", "sq8", "pq8", "pq4", "rabitq"
Result<IvfCodes> ParseIvfCodes(std::string_view name);

// Inverted lists: vectors grouped by the nearest of `lists` centroids, which k-means finds once
// there are 39 vectors for each; until then a search is exact.
struct IvfOptions {
  size_t lists =
      0;  // 1 .. 65,536; 0: about 4 sqrt(size), chosen anew whenever the size is fourfold
  IvfCodes codes = IvfCodes::kPq4;
  size_t pq_bytes =
      32;               // of a PQ code, 1 .. 4,096; fewer where the dimension has not as many parts
  bool rotate = false;  // learn a rotation under which product codes lose less (OPQ)
  // Product codes under inner product and cosine lose least where it changes the scores of queries
  // whose cosine with a vector is over this, 0 <= anisotropic < 1 (ScaNN's loss); 0: everywhere.
  double anisotropic = 0.2;
  size_t probes = 0;   // default of SearchOptions::probes; 0: sqrt(lists), at least 16
  size_t rerank = 10;  // default of SearchOptions::rerank; 1 .. 65,535
  uint64_t seed = 42;  // of the training
};

// Where the vectors themselves lie.
enum class RowPlace {
  kMemory,
  // In files, from when there are codes in memory to search over (some thousand vectors) on; a
  // search reads those that it compares again. For hnsw and ivf with codes.
  kDisk,
};
std::string_view RowPlaceName(RowPlace place);  // "memory", "disk"
Result<RowPlace> ParseRowPlace(std::string_view name);

struct VectorIndexOptions {
  IndexKind kind = IndexKind::kHnsw;
  size_t dim = 0;  // 1 .. kMaxDim
  Metric metric = Metric::kCosine;
  ElementType element = ElementType::kF32;
  HnswOptions hnsw;
  IvfOptions ivf;
  // The three below are no properties of a saved index: any index is loaded under any of them.
  RowPlace rows = RowPlace::kMemory;
  // Where rows on disk lie that are in no saved file, without a name; "": the system's folder of
  // temporary files.
  std::string folder;
  // Add is refused when memory_bytes() has come to this, unless it can fill places that removed
  // vectors have left; 0: never.
  size_t memory_budget_bytes = 0;
};

// Threads: Search may run at any time, together with one or more Add and Remove calls.
class VectorIndex {
 public:
  // The Runtime outlives the index. Errors: invalid_argument naming the option.
  static Result<std::unique_ptr<VectorIndex>> Create(const VectorIndexOptions& options,
                                                     const Runtime& runtime);
  virtual ~VectorIndex() = default;

  // vectors [n, dim] f32, row i belongs to ids[i]; an id that is there already is replaced.
  // Errors: invalid_argument (shape, duplicate id in the call, a value that is not finite or that
  // the element type cannot hold, a zero vector under cosine), naming the row; nothing is added
  // then. cancelled, and resource_exhausted (memory, the budget, a full disk): some rows were
  // added.
  virtual Status Add(std::span<const uint64_t> ids, MatrixView vectors,
                     const CancelToken* cancel = nullptr) = 0;
  // Ids that are not there are ignored. Returns how many were removed. The vector's bytes are
  // overwritten or freed; it is never returned again.
  virtual Result<size_t> Remove(std::span<const uint64_t> ids) = 0;

  // queries [n, dim] f32 -> for each, at most k neighbours, best first, ties by lower id. Fewer
  // than k only when fewer ids are allowed, or score enough. Errors: invalid_argument,
  // deadline_exceeded; data_loss or io_error, from then on always, when a vector that lies in a
  // file was found damaged or cannot be read.
  virtual Result<std::vector<std::vector<Neighbor>>> Search(MatrixView queries,
                                                            const SearchOptions& options) const = 0;

  virtual bool Contains(uint64_t id) const = 0;
  // Copies the stored vector (normalized under cosine) to out [dim]. Errors: not_found.
  virtual Status GetVector(uint64_t id, std::span<float> out) const = 0;
  // Ids in no particular order.
  virtual std::vector<uint64_t> Ids() const = 0;
  virtual size_t size() const = 0;
  virtual size_t memory_bytes() const = 0;
  // Of the rows that lie on disk and not in memory.
  virtual size_t disk_bytes() const = 0;
  // resource_exhausted when memory_bytes() has come to the budget (0: none) and no places that
  // removed vectors have left are free.
  virtual Status CheckRoom(size_t budget_bytes) const = 0;
  virtual const VectorIndexOptions& options() const = 0;

  // A snapshot in one file, written atomically, with a format version and checksums; `tag` is the
  // caller's (a sequence number). Waits for running Adds and Removes, searches go on.
  virtual Status Save(const std::string& path, uint64_t tag) const = 0;
  // Ready without having read the vectors, which are compared with their checksums when a search
  // first reads them. The file stays in use until the index is saved again or goes; it may be
  // renamed and removed meanwhile, but not changed.
  // Errors: data_loss naming the place when damaged, failed_precondition when options differ.
  struct Loaded;
  static Result<Loaded> Load(const std::string& path, const VectorIndexOptions& options,
                             const Runtime& runtime);

  // Checks the structure (links in range, symmetric reachability, layers) and every vector that
  // lies in a file. Errors: data_loss.
  virtual Status Verify() const = 0;
};

struct VectorIndex::Loaded {
  std::unique_ptr<VectorIndex> index;
  uint64_t tag = 0;
};

}  // namespace rag
