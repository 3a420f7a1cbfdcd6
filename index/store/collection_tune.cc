// Collection::Tune: the index that reaches a goal, found on a sample, built beside the present one.
#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "index/index_spec.h"
#include "index/recall.h"
#include "index/store/collection_impl.h"
#include "index/store/collection_records.h"

namespace rag {
namespace {

constexpr size_t kSample = 20'000;
constexpr size_t kQueries = 200;  // for the width among all vectors
// Chunks that were written while an index caught up; with fewer left, writers wait for the rest.
constexpr size_t kFewMissed = 256;

size_t CountIds(const std::vector<LogEntry>& entries) {
  size_t ids = 0;
  for (const LogEntry& entry : entries) ids += entry.added.size() + entry.removed.size();
  return ids;
}

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
  const std::shared_ptr<VectorIndex> index = this->index();
  const size_t dim = config().vectors.dim;
  std::vector<float> drawn;
  for (const ChunkId id : DrawIds(index->Ids(), count, index->size())) {
    if (cancel != nullptr && cancel->cancelled()) return CancelledError("tuning was cancelled");
    const Result<std::string> bytes = Read(Family::kVectors, VectorKey(number_, id));
    if (bytes.status().code() == StatusCode::kNotFound) continue;  // removed meanwhile
    if (!bytes.ok()) return bytes.status().WithContext(StrCat("the vector of chunk ", id));
    RAG_ASSIGN_OR_RETURN(const std::vector<float> vector, DecodeVector(id, *bytes, dim));
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
  if (apply) RAG_RETURN_IF_ERROR(database_.CheckWrites());
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
  Status done = report.status();
  if (done.ok() && apply) {
    done = ChangeIndex(goal, report->trials[report->picked].options, cancel);
  }
  if (apply && done.code() == StatusCode::kFailedPrecondition) {
    // Not before the collection has grown: the same vectors would say the same.
    std::lock_guard commit(commit_mutex_);
    CollectionConfig tried = config();
    tried.tuned_chunks = state().chunks;
    if (tried.goal == goal) RAG_RETURN_IF_ERROR(WriteConfig(tried));
  }
  if (!done.ok()) return std::move(done).WithContext(StrCat("collection '", config().name, "'"));
  if (progress != nullptr && apply) ++progress->done;
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
      const bool many = CountIds(missed) > kFewMissed;
      if (many) commit.unlock();
      for (const LogEntry& entry : missed) {
        RAG_RETURN_IF_ERROR(CatchUp(*made, entry, /*may_be_gone=*/true));
      }
      if (many) continue;
      changed.tuned_chunks = state().chunks;
      // A crash from here on finds a snapshot of another kind, which is made anew.
      RAG_RETURN_IF_ERROR(WriteConfig(changed));
      SetIndex(std::move(made));
      rebuilding_ = false;
      const Status saved = SaveSnapshot(/*rewrite=*/true);
      if (!saved.ok()) {
        // The change has taken place; the next snapshot, or the next opening, makes up for this.
        runtime_.Log(LogLevel::kWarning, saved.ToString());
        ForgetSnapshot();
      }
      return OkStatus();
    }
  };
  const Status built = build();
  std::lock_guard commit(commit_mutex_);
  rebuilding_ = false;
  missed_.clear();
  return built;
}

Status CollectionImpl::CatchUp(VectorIndex& index, const LogEntry& missed, bool may_be_gone) const {
  const size_t dim = config().vectors.dim;
  std::vector<uint64_t> ids;
  std::vector<float> vectors;
  for (const ChunkId id : missed.added) {
    const Result<std::string> bytes = Read(Family::kVectors, VectorKey(number_, id));
    if (may_be_gone && bytes.status().code() == StatusCode::kNotFound) continue;
    if (!bytes.ok()) return bytes.status().WithContext(StrCat("the vector of chunk ", id));
    RAG_ASSIGN_OR_RETURN(const std::vector<float> vector, DecodeVector(id, *bytes, dim));
    ids.push_back(id);
    vectors.insert(vectors.end(), vector.begin(), vector.end());
  }
  RAG_RETURN_IF_ERROR(index.Remove(missed.removed).status());
  return index.Add(ids, MatrixView(vectors.data(), ids.size(), dim));
}

Status CollectionImpl::Widen(const VectorIndex& index, const TuneGoal& goal,
                             VectorIndexOptions& options, const CancelToken* cancel) const {
  if (options.kind == IndexKind::kFlat) return OkStatus();
  std::vector<uint64_t> ids;
  Matrix queries(std::min(kQueries, index.size()), options.dim);
  for (const uint64_t id : DrawIds(index.Ids(), queries.rows(), index.size() + 1)) {
    const Status got = index.GetVector(id, queries.row(ids.size()));
    if (got.code() == StatusCode::kNotFound) continue;  // removed meanwhile
    RAG_RETURN_IF_ERROR(got);
    ids.push_back(id);
  }
  const MatrixView asked(queries.data(), ids.size(), options.dim);
  // The query itself is among what it finds.
  const auto search = [&](SearchOptions width) -> Result<std::vector<std::vector<Neighbor>>> {
    width.k = goal.k + 1;
    RAG_ASSIGN_OR_RETURN(auto found, index.Search(asked, width));
    for (size_t i = 0; i < ids.size(); ++i) DropSelf(found[i], ids[i], goal.k);
    return found;
  };
  SearchOptions exactly;
  exactly.exact = true;
  RAG_ASSIGN_OR_RETURN(const auto truth, search(exactly));
  const auto recall = [&](const SearchOptions& width) -> Result<double> {
    RAG_ASSIGN_OR_RETURN(const auto found, search(width));
    size_t good = 0, all = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      good += CountFound(found[i], truth[i]);
      all += truth[i].size();
    }
    return all == 0 ? 1.0 : static_cast<double>(good) / static_cast<double>(all);
  };
  const SearchOptions least = WidthOf(options, goal.k);
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
