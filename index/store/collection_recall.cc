// Collection::MeasureRecall: the vector index against exact search.
#include <algorithm>
#include <chrono>
#include <vector>

#include "index/recall.h"
#include "index/store/collection_impl.h"
#include "index/store/collection_records.h"

namespace rag {
namespace {

constexpr size_t kMaxSample = 100'000;
constexpr size_t kMaxK = 1'000;
constexpr size_t kBatch = 64;  // queries between two looks at the token

}  // namespace

Result<RecallReport> CollectionImpl::MeasureRecall(size_t sample, size_t k,
                                                   const CancelToken* cancel) const {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  if (sample < 1 || sample > kMaxSample) {
    return InvalidArgumentError("a sample of ", sample, " is not between 1 and ", kMaxSample);
  }
  if (k < 1 || k > kMaxK) return InvalidArgumentError("k ", k, " is not between 1 and ", kMaxK);
  const std::shared_ptr<VectorIndex> index = this->index();
  if (index == nullptr) {
    return FailedPreconditionError("collection '", config().name, "' has no vectors");
  }
  const auto start = std::chrono::steady_clock::now();
  const size_t dim = config().vectors.dim;
  const std::vector<uint64_t> ids = DrawIds(index->Ids(), sample, index->size());
  RecallReport report;
  report.k = k;
  size_t found = 0, expected = 0;
  std::vector<uint64_t> batch;
  std::vector<float> queries;
  for (size_t first = 0; first < ids.size(); first += kBatch) {
    if (cancel != nullptr && cancel->cancelled()) return CancelledError("cancelled");
    batch.clear();
    queries.clear();
    for (size_t i = first; i < std::min(first + kBatch, ids.size()); ++i) {
      const Result<std::string> bytes = Read(Family::kVectors, VectorKey(number_, ids[i]));
      if (bytes.status().code() == StatusCode::kNotFound) continue;  // removed meanwhile
      if (!bytes.ok()) return bytes.status().WithContext(StrCat("the vector of chunk ", ids[i]));
      RAG_ASSIGN_OR_RETURN(const std::vector<float> vector, DecodeVector(ids[i], *bytes, dim));
      batch.push_back(ids[i]);
      queries.insert(queries.end(), vector.begin(), vector.end());
    }
    if (batch.empty()) continue;
    const MatrixView view(queries.data(), batch.size(), dim);
    SearchOptions options = WidthOf(config().vectors, k + 1);
    RAG_ASSIGN_OR_RETURN(std::vector<std::vector<Neighbor>> walked, index->Search(view, options));
    options.exact = true;
    RAG_ASSIGN_OR_RETURN(std::vector<std::vector<Neighbor>> exact, index->Search(view, options));
    for (size_t i = 0; i < batch.size(); ++i) {
      DropSelf(walked[i], batch[i], k);
      DropSelf(exact[i], batch[i], k);
      found += CountFound(walked[i], exact[i]);
      expected += exact[i].size();
    }
    report.queries += batch.size();
  }
  if (expected > 0) report.recall = static_cast<double>(found) / static_cast<double>(expected);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::lock_guard lock(state_mutex_);
  recall_ = report;
  return report;
}

}  // namespace rag
