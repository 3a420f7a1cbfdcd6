// Collection::Tune: the index that reaches a goal, found on a sample, built beside the present one.
#include <algorithm>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "index/index_spec.h"
#include "index/store/collection_impl.h"
#include "index/store/collection_records.h"

namespace rag {
namespace {

constexpr size_t kSample = 20'000;
constexpr size_t kQueries = 200;  // for the width among all vectors
constexpr double kScoreSlack = 1e-6;
// What is written while an index catches up; with fewer left, writers wait for the rest.
constexpr size_t kFewMissed = 16;

// Whether the same index serves both, at some width.
bool SameIndex(VectorIndexOptions a, VectorIndexOptions b) {
  for (VectorIndexOptions* options : {&a, &b}) {
    options->hnsw.ef_search = HnswOptions().ef_search;
    options->ivf.probes = 0;
    options->ivf.rerank = IvfOptions().rerank;
    options->memory_budget_bytes = 0;
  }
  return FormatIndexSpec(a) == FormatIndexSpec(b);
}

}  // namespace

Result<Matrix> CollectionImpl::DrawVectors(size_t count, const CancelToken* cancel) const {
  std::vector<uint64_t> ids = index()->Ids();
  std::sort(ids.begin(), ids.end());
  count = std::min(count, ids.size());
  std::mt19937_64 random(ids.size());
  for (size_t i = 0; i < count; ++i) std::swap(ids[i], ids[i + random() % (ids.size() - i)]);
  const size_t dim = config().vectors.dim;
  std::vector<float> drawn;
  for (size_t i = 0; i < count; ++i) {
    if (cancel != nullptr && cancel->cancelled()) return CancelledError("tuning was cancelled");
    const Result<std::string> bytes = Read(Family::kVectors, VectorKey(number_, ids[i]));
    if (bytes.status().code() == StatusCode::kNotFound) continue;  // removed meanwhile
    if (!bytes.ok()) return bytes.status().WithContext(StrCat("the vector of chunk ", ids[i]));
    RAG_ASSIGN_OR_RETURN(const std::vector<float> vector, DecodeVector(ids[i], *bytes, dim));
    drawn.insert(drawn.end(), vector.begin(), vector.end());
  }
  Matrix out(drawn.size() / dim, dim);
  std::copy(drawn.begin(), drawn.end(), out.data());
  return out;
}

Result<TuneReport> CollectionImpl::Tune(const TuneGoal& goal, bool apply, CareProgress* progress,
                                        const CancelToken* cancel) {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  if (index() == nullptr) {
    return FailedPreconditionError("collection '", config().name, "' has no vectors");
  }
  if (apply && read_only_) return FailedPreconditionError("the store was opened read-only");
  const std::unique_lock tuning(tune_mutex_, std::try_to_lock);
  if (!tuning.owns_lock()) {
    return UnavailableError("collection '", config().name, "' is being tuned already");
  }
  RAG_ASSIGN_OR_RETURN(const Matrix sample, DrawVectors(kSample, cancel));
  TuneOptions options;
  options.goal = goal;
  options.base = IndexOptions();
  options.base.hnsw = HnswOptions();
  options.base.ivf = IvfOptions();
  options.rows = index()->size();
  if (progress != nullptr && apply) progress->total = 1;  // the change itself
  Result<TuneReport> report = TuneIndex(sample.view(), options, runtime_, progress, cancel);
  if (!report.ok()) return report.status().WithContext(StrCat("collection '", config().name, "'"));
  if (!apply) return report;
  RAG_RETURN_IF_ERROR(ChangeIndex(goal, report->trials[report->picked].options, cancel));
  if (progress != nullptr) ++progress->done;
  return report;
}

Status CollectionImpl::ChangeIndex(const TuneGoal& goal, const VectorIndexOptions& picked,
                                   const CancelToken* cancel) {
  CollectionConfig changed = config();
  changed.vectors = picked;
  changed.vectors.folder.clear();
  changed.vectors.memory_budget_bytes = config().vectors.memory_budget_bytes;
  changed.goal = goal;
  if (SameIndex(picked, config().vectors) && picked.rows == config().vectors.rows) {
    RAG_RETURN_IF_ERROR(Widen(*index(), goal, changed.vectors, cancel));
    std::lock_guard commit(commit_mutex_);
    changed.tuned_chunks = state().chunks;
    return WriteConfig(changed);
  }
  std::optional<PrefixScan> scan;
  {
    std::lock_guard commit(commit_mutex_);
    scan.emplace(database_.Scan(Family::kVectors, CollectionPrefix(number_)));
    missed_.clear();
    rebuilding_ = true;
  }
  const auto build = [&]() -> Status {
    RAG_ASSIGN_OR_RETURN(std::shared_ptr<VectorIndex> made,
                         BuildVectorIndex(picked, std::move(*scan), cancel));
    RAG_RETURN_IF_ERROR(Widen(*made, goal, changed.vectors, cancel));
    for (;;) {
      if (cancel != nullptr && cancel->cancelled()) return CancelledError("tuning was cancelled");
      std::unique_lock commit(commit_mutex_);
      std::vector<LogEntry> missed;
      missed.swap(missed_);
      if (missed.size() > kFewMissed) {
        commit.unlock();
        RAG_RETURN_IF_ERROR(CatchUp(*made, missed));
        continue;
      }
      RAG_RETURN_IF_ERROR(CatchUp(*made, missed));
      changed.tuned_chunks = state().chunks;
      // A crash from here on finds a snapshot of another kind, which is made anew.
      RAG_RETURN_IF_ERROR(WriteConfig(changed));
      SetIndex(std::move(made));
      rebuilding_ = false;
      return SaveSnapshot(/*rewrite=*/true);
    }
  };
  Status built = build();
  std::lock_guard commit(commit_mutex_);
  rebuilding_ = false;
  missed_.clear();
  return std::move(built).WithContext(StrCat("collection '", config().name, "'"));
}

Status CollectionImpl::CatchUp(VectorIndex& index, const std::vector<LogEntry>& missed) const {
  const size_t dim = config().vectors.dim;
  for (const LogEntry& entry : missed) {
    RAG_RETURN_IF_ERROR(index.Remove(entry.removed).status());
    std::vector<uint64_t> ids;
    std::vector<float> vectors;
    for (const ChunkId id : entry.added) {
      const Result<std::string> bytes = Read(Family::kVectors, VectorKey(number_, id));
      if (bytes.status().code() == StatusCode::kNotFound) continue;  // a later entry removes it
      if (!bytes.ok()) return bytes.status();
      RAG_ASSIGN_OR_RETURN(const std::vector<float> vector, DecodeVector(id, *bytes, dim));
      ids.push_back(id);
      vectors.insert(vectors.end(), vector.begin(), vector.end());
    }
    RAG_RETURN_IF_ERROR(index.Add(ids, MatrixView(vectors.data(), ids.size(), dim)));
  }
  return OkStatus();
}

Status CollectionImpl::Widen(const VectorIndex& index, const TuneGoal& goal,
                             VectorIndexOptions& options, const CancelToken* cancel) const {
  if (options.kind == IndexKind::kFlat) return OkStatus();
  std::vector<uint64_t> ids = index.Ids();
  std::sort(ids.begin(), ids.end());
  std::mt19937_64 random(ids.size() + 1);
  const size_t count = std::min(kQueries, ids.size());
  for (size_t i = 0; i < count; ++i) std::swap(ids[i], ids[i + random() % (ids.size() - i)]);
  Matrix queries(count, options.dim);
  for (size_t i = 0; i < count; ++i) {
    RAG_RETURN_IF_ERROR(index.GetVector(ids[i], queries.row(i)));
  }
  // The query itself is among what it finds.
  SearchOptions search;
  search.k = goal.k + 1;
  search.exact = true;
  RAG_ASSIGN_OR_RETURN(const auto truth, index.Search(queries.view(), search));
  const auto recall = [&](const SearchOptions& width) -> Result<double> {
    SearchOptions asked = width;
    asked.k = goal.k + 1;
    RAG_ASSIGN_OR_RETURN(const auto found, index.Search(queries.view(), asked));
    size_t good = 0, all = 0;
    for (size_t i = 0; i < count; ++i) {
      if (truth[i].empty()) continue;
      const double last = truth[i].back().score;
      const double bound = last - kScoreSlack * std::max(1.0, std::fabs(last));
      for (const Neighbor& neighbor : found[i]) {
        if (neighbor.id != ids[i] && neighbor.score >= bound) ++good;
      }
      all += truth[i].size() - 1;
    }
    return all == 0 ? 1.0 : std::min(1.0, static_cast<double>(good) / static_cast<double>(all));
  };
  const SearchOptions least = WidthOf(options);
  std::vector<SearchOptions> widths = {least};
  for (const SearchOptions& width : TuneWidths(options, goal.k)) {
    const bool wider = width.ef_search > least.ef_search ||
                       (width.probes >= least.probes && width.rerank >= least.rerank &&
                        width.probes + width.rerank > least.probes + least.rerank);
    if (wider) widths.push_back(width);
  }
  for (const SearchOptions& width : widths) {
    if (cancel != nullptr && cancel->cancelled()) return CancelledError("tuning was cancelled");
    RAG_ASSIGN_OR_RETURN(const double found, recall(width));
    SetWidth(width, options);
    if (found >= goal.recall) return OkStatus();
  }
  return FailedPreconditionError("among all ", index.size(), " vectors the index that was picked, ",
                                 FormatIndexSpec(options), ", finds less than ", goal.recall,
                                 " at any width that was tried");
}

Status CollectionImpl::WriteConfig(const CollectionConfig& config) {
  Batch batch;
  batch.Put(Family::kDefault, ConfigKey(config.name), EncodeConfig(number_, config));
  RAG_RETURN_IF_ERROR(database_.Write(batch));
  SetConfig(config);
  return OkStatus();
}

}  // namespace rag
