#include "index/vector/index_base.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "index/vector/ivf_codec.h"
#include "index/vector/node_codec.h"

namespace rag {

namespace {

// Queries between two looks at the clock.
constexpr size_t kDeadlineGroup = 64;
// What a range search asks for first, and by how much more each time that it was not enough.
constexpr size_t kFirstRange = 64;
constexpr size_t kRangeGrowth = 4;

Matrix RowsOf(const Matrix& queries, std::span<const size_t> rows) {
  Matrix out(rows.size(), queries.cols());
  for (size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(queries.row(rows[i]).data(), queries.cols(), out.row(i).data());
  }
  return out;
}

}  // namespace

Result<std::vector<std::vector<Neighbor>>> IndexBase::Search(MatrixView queries,
                                                             const SearchOptions& options) const {
  RAG_ASSIGN_OR_RETURN(const Matrix prepared, slots_.PrepareQueries(queries, options.k));
  if (options.min_score && std::isnan(*options.min_score)) {
    return InvalidArgumentError("min_score is not a number");
  }
  if (!options.deadline) {
    std::vector<std::vector<Neighbor>> results = SearchGroup(prepared, options);
    RAG_RETURN_IF_ERROR(slots_.CheckRows());
    return results;
  }
  std::vector<std::vector<Neighbor>> results;
  results.reserve(prepared.rows());
  std::vector<size_t> rows;
  for (size_t first = 0; first < prepared.rows(); first += kDeadlineGroup) {
    if (std::chrono::steady_clock::now() >= *options.deadline) {
      return DeadlineExceededError("the deadline passed with ", first, " of ", prepared.rows(),
                                   " queries answered");
    }
    rows.resize(std::min(kDeadlineGroup, prepared.rows() - first));
    std::iota(rows.begin(), rows.end(), first);
    for (std::vector<Neighbor>& found : SearchGroup(RowsOf(prepared, rows), options)) {
      results.push_back(std::move(found));
    }
  }
  RAG_RETURN_IF_ERROR(slots_.CheckRows());
  return results;
}

Status IndexBase::CheckRoom(size_t budget) const {
  if (budget == 0) return OkStatus();
  const size_t used = memory_bytes();
  if (used < budget || slots_.size() < slots_.end()) return OkStatus();
  return ResourceExhaustedError("an index of ", size(), " vectors takes ", used,
                                " bytes of memory, and its budget is ", budget);
}

Status IndexBase::PlaceRows() {
  if (options_.rows != RowPlace::kDisk || slots_.rows_on_disk()) return OkStatus();
  return slots_.MoveRowsToDisk(options_.folder);
}

std::vector<std::vector<Neighbor>> IndexBase::SearchGroup(const Matrix& queries,
                                                          const SearchOptions& options) const {
  if (!options.min_score) return SearchPrepared(queries, options);
  // Wider until the last one found scores too little, or there are no more.
  std::vector<std::vector<Neighbor>> results(queries.rows());
  std::vector<size_t> open(queries.rows());
  std::iota(open.begin(), open.end(), size_t{0});
  SearchOptions wider = options;
  for (size_t k = std::min(options.k, kFirstRange);; k = std::min(options.k, k * kRangeGrowth)) {
    wider.k = k;
    std::vector<std::vector<Neighbor>> found = SearchPrepared(RowsOf(queries, open), wider);
    std::vector<size_t> unfinished;
    for (size_t i = 0; i < open.size(); ++i) {
      const bool more = found[i].size() == k && found[i].back().score >= *options.min_score;
      if (more && k < options.k) {
        unfinished.push_back(open[i]);
        continue;
      }
      const auto end = std::find_if(found[i].begin(), found[i].end(), [&](const Neighbor& one) {
        return one.score < *options.min_score;
      });
      found[i].erase(end, found[i].end());
      results[open[i]] = std::move(found[i]);
    }
    open.swap(unfinished);
    if (open.empty()) return results;
  }
}

namespace {

Status CheckIvfOptions(const IvfOptions& ivf) {
  if (ivf.lists > 65'536) return InvalidArgumentError("ivf.lists is ", ivf.lists, ", over 65536");
  if (ivf.codes < IvfCodes::kNone || ivf.codes > IvfCodes::kRabitq) {
    return InvalidArgumentError("unknown ivf.codes ", static_cast<int>(ivf.codes));
  }
  if (ivf.pq_bytes < 1 || ivf.pq_bytes > 4'096) {
    return InvalidArgumentError("ivf.pq_bytes is ", ivf.pq_bytes, ", not between 1 and 4096");
  }
  if (!(ivf.anisotropic >= 0 && ivf.anisotropic < 1)) {
    return InvalidArgumentError("ivf.anisotropic is ", ivf.anisotropic,
                                ", not at least 0 and below 1");
  }
  if (ivf.probes > 65'536) {
    return InvalidArgumentError("ivf.probes is ", ivf.probes, ", over 65536");
  }
  if (ivf.rerank < 1 || ivf.rerank > 65'535) {
    return InvalidArgumentError("ivf.rerank is ", ivf.rerank, ", not between 1 and 65535");
  }
  return OkStatus();
}

// Without codes to search over, every search would read rows by the thousand.
Status CheckRowPlace(const VectorIndexOptions& options) {
  if (options.rows != RowPlace::kMemory && options.rows != RowPlace::kDisk) {
    return InvalidArgumentError("unknown place of rows ", static_cast<int>(options.rows));
  }
  if (options.rows == RowPlace::kMemory) return OkStatus();
  const bool hnsw = options.kind == IndexKind::kHnsw && options.hnsw.codes != CodeKind::kNone;
  const bool ivf = options.kind == IndexKind::kIvf && options.ivf.codes != IvfCodes::kNone;
  if (!hnsw && !ivf) {
    return InvalidArgumentError("rows on disk want codes in memory that a search compares first: ",
                                "an hnsw or ivf index with codes");
  }
  const size_t bits = options.ivf.codes == IvfCodes::kRabitq ? kLeastBitDim : kLeastCodedDim;
  const size_t least = ivf ? bits : NodeCodec::MinDim(options.hnsw.codes);
  if (options.dim < least) {
    return InvalidArgumentError("rows on disk want codes, which such an index gives vectors of ",
                                least, " dimensions and more, not of ", options.dim);
  }
  return OkStatus();
}

Status CheckOptions(const VectorIndexOptions& options) {
  if (options.dim < 1 || options.dim > kMaxDim) {
    return InvalidArgumentError("dim is ", options.dim, ", not between 1 and ", kMaxDim);
  }
  const int metric = static_cast<int>(options.metric);
  if (metric < 0 || metric > static_cast<int>(Metric::kJaccard)) {
    return InvalidArgumentError("unknown metric ", metric);
  }
  const int element = static_cast<int>(options.element);
  if (element < 0 || element > static_cast<int>(ElementType::kBinary)) {
    return InvalidArgumentError("unknown element type ", element);
  }
  const bool of_bits = options.metric == Metric::kHamming || options.metric == Metric::kJaccard;
  if (of_bits != (options.element == ElementType::kBinary)) {
    return InvalidArgumentError(
        "metric ", MetricName(options.metric), " does not go with ",
        ElementTypeName(options.element),
        " vectors: hamming and jaccard compare binary ones, and only they do");
  }
  RAG_RETURN_IF_ERROR(CheckRowPlace(options));
  if (options.kind == IndexKind::kFlat) return OkStatus();
  if (options.kind == IndexKind::kIvf) {
    if (options.metric > Metric::kL2) {
      return InvalidArgumentError("metric ", MetricName(options.metric),
                                  " does not go with an ivf index, which has no lists for it");
    }
    return CheckIvfOptions(options.ivf);
  }
  if (options.kind != IndexKind::kHnsw) {
    return InvalidArgumentError("unknown index kind ", static_cast<int>(options.kind));
  }
  const HnswOptions& hnsw = options.hnsw;
  if (hnsw.m < 2 || hnsw.m > 128) {
    return InvalidArgumentError("hnsw.m is ", hnsw.m, ", not between 2 and 128");
  }
  if (hnsw.ef_construction < 1 || hnsw.ef_construction > 65'535) {
    return InvalidArgumentError("hnsw.ef_construction is ", hnsw.ef_construction,
                                ", not between 1 and 65535");
  }
  if (hnsw.ef_search < 1 || hnsw.ef_search > 65'535) {
    return InvalidArgumentError("hnsw.ef_search is ", hnsw.ef_search, ", not between 1 and 65535");
  }
  const int codes = static_cast<int>(hnsw.codes);
  if (codes < 0 || codes > static_cast<int>(CodeKind::kPca4)) {
    return InvalidArgumentError("unknown codes ", codes);
  }
  if (hnsw.codes == CodeKind::kNone) {
    if (hnsw.code_dims != 0) {
      return InvalidArgumentError("hnsw.code_dims is ", hnsw.code_dims, " without codes");
    }
    return OkStatus();
  }
  if (of_bits || options.metric == Metric::kManhattan) {
    return InvalidArgumentError("codes ", CodeKindName(hnsw.codes), " do not go with metric ",
                                MetricName(options.metric));
  }
  if (NodeCodec::HasAxes(hnsw.codes)) {
    if (options.dim > NodeCodec::kMaxPcaDim) {
      return InvalidArgumentError("codes ", CodeKindName(hnsw.codes), " want a dim of at most ",
                                  NodeCodec::kMaxPcaDim, ", not ", options.dim);
    }
    if (hnsw.code_dims > std::min<size_t>(options.dim, 4'092)) {
      return InvalidArgumentError("hnsw.code_dims is ", hnsw.code_dims, ", more than ",
                                  std::min<size_t>(options.dim, 4'092));
    }
  } else if (hnsw.code_dims != 0) {
    return InvalidArgumentError("hnsw.code_dims is for codes pca8 and pca4 only");
  }
  return OkStatus();
}

}  // namespace

Result<std::unique_ptr<VectorIndex>> VectorIndex::Create(const VectorIndexOptions& options,
                                                         const Runtime& runtime) {
  RAG_RETURN_IF_ERROR(CheckOptions(options));
  if (options.kind == IndexKind::kIvf) return MakeIvfIndex(options, runtime);
  return options.kind == IndexKind::kFlat ? MakeFlatIndex(options, runtime)
                                          : MakeHnswIndex(options, runtime);
}

Result<VectorIndex::Loaded> VectorIndex::Load(const std::string& path,
                                              const VectorIndexOptions& options,
                                              const Runtime& runtime) {
  RAG_RETURN_IF_ERROR(CheckOptions(options));
  RAG_ASSIGN_OR_RETURN(const SnapshotFile file, SnapshotFile::Open(path, options));
  if (options.kind == IndexKind::kIvf) return LoadIvfIndex(file, options, runtime);
  return options.kind == IndexKind::kFlat ? LoadFlatIndex(file, options, runtime)
                                          : LoadHnswIndex(file, options, runtime);
}

}  // namespace rag
