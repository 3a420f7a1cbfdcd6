#include <algorithm>
#include <array>
#include <filesystem>

#include "apps/rag_bench/measure/machine.h"
#include "apps/rag_bench/measure/system.h"
#include "apps/rag_bench/spec.h"

namespace rag::bench {
namespace {

constexpr size_t kOpenings = 3;

class OurSystem final : public System {
 public:
  OurSystem(const IndexSpec& spec, const Workload& workload, const Runtime& runtime)
      : workload_(workload), runtime_(runtime), options_(spec.options), widths_(spec.widths) {
    options_.dim = workload.data.base.cols();
    options_.metric = workload.data.metric;
    if (widths_.empty()) widths_ = DefaultWidths(options_.kind);
    info_.name = spec.name;
    info_.source = "rag";
    info_.exact = options_.kind == IndexKind::kFlat;
    info_.width_name = WidthName(options_.kind);
    info_.filters = true;
    info_.removes = true;
    info_.saves = true;
    info_.parameters.Set("element", ElementTypeName(options_.element));
    if (options_.kind == IndexKind::kHnsw) {
      info_.parameters.Set("m", options_.hnsw.m);
      info_.parameters.Set("ef_construction", options_.hnsw.ef_construction);
      info_.parameters.Set("codes", CodeKindName(options_.hnsw.codes));
    }
    if (options_.kind == IndexKind::kIvf) {
      info_.parameters.Set("lists", options_.ivf.lists);
      info_.parameters.Set("codes", IvfCodesName(options_.ivf.codes));
      info_.parameters.Set("pq_bytes", options_.ivf.pq_bytes);
      info_.parameters.Set("rotate", options_.ivf.rotate);
      info_.parameters.Set("rerank", options_.ivf.rerank);
    }
  }

  const SystemInfo& info() const override { return info_; }
  std::vector<size_t> widths() const override { return widths_; }
  size_t memory_bytes() const override { return index_ == nullptr ? 0 : index_->memory_bytes(); }

  Result<Built> Build(std::span<const Row> rows, const CancelToken& cancel) override {
    index_.reset();
    const size_t resident = ResidentBytes();
    const double begin = Now();
    RAG_ASSIGN_OR_RETURN(index_, VectorIndex::Create(options_, runtime_));
    RAG_RETURN_IF_ERROR(AddRows(rows, &cancel));
    Built built;
    built.seconds = Now() - begin;
    built.memory_bytes = index_->memory_bytes();
    const size_t after = ResidentBytes();
    built.resident_bytes = after > resident ? after - resident : 0;
    return built;
  }

  Status Remove(std::span<const Row> rows) override {
    const std::vector<uint64_t> ids(rows.begin(), rows.end());
    return index_->Remove(ids).status();
  }

  Status Add(std::span<const Row> rows) override { return AddRows(rows, nullptr); }

  Result<Reopened> Reopen(const std::string& path) override {
    Reopened out;
    double begin = Now();
    RAG_RETURN_IF_ERROR(index_->Save(path, 0));
    out.save_seconds = Now() - begin;
    std::array<double, kOpenings> seconds{};
    for (double& one : seconds) {
      begin = Now();
      RAG_RETURN_IF_ERROR(VectorIndex::Load(path, options_, runtime_).status());
      one = Now() - begin;
    }
    std::nth_element(seconds.begin(), seconds.begin() + kOpenings / 2, seconds.end());
    out.open_seconds = seconds[kOpenings / 2];
    std::error_code error;
    out.file_bytes = std::filesystem::file_size(path, error);
    if (error) return IoError("cannot stat '", path, "': ", error.message());
    return out;
  }

  Status Search(const SearchCall& call, const CancelToken& cancel, Pass& pass) override {
    SearchOptions options;
    options.k = workload_.k;
    options.ef_search = call.width;
    options.probes = call.width;  // each kind looks at its own
    const Matrix& queries = workload_.data.queries;
    if (workload_.batch && call.filter == nullptr) {
      pass.found.assign(call.queries * workload_.k, kNoRow);
      pass.latencies_us.clear();
      const double begin = Now();
      RAG_ASSIGN_OR_RETURN(
          const auto found,
          index_->Search(MatrixView(queries.data(), call.queries, queries.cols()), options));
      pass.seconds = Now() - begin;
      for (size_t q = 0; q < found.size(); ++q) Keep(found[q], pass.found.data() + q * workload_.k);
      return OkStatus();
    }
    return TimeQueries(
        workload_.threads, call.queries, workload_.k, cancel,
        [&](size_t query, Row* out) -> Status {
          SearchOptions own = options;
          if (call.filter != nullptr) own.filter = &call.filter->of(query);
          RAG_ASSIGN_OR_RETURN(
              const auto found,
              index_->Search(MatrixView(queries.row(query).data(), 1, queries.cols()), own));
          Keep(found[0], out);
          return OkStatus();
        },
        pass);
  }

 private:
  static void Keep(const std::vector<Neighbor>& found, Row* out) {
    for (const Neighbor& neighbor : found) *out++ = static_cast<Row>(neighbor.id);
  }

  // In one call, so that an index that trains on what it is given sees it all. Rows that lie one
  // after another are passed as they lie, others are copied.
  Status AddRows(std::span<const Row> rows, const CancelToken* cancel) {
    const Matrix& base = workload_.data.base;
    if (rows.empty()) return OkStatus();
    const std::vector<uint64_t> ids(rows.begin(), rows.end());
    if (rows.back() - rows.front() + 1 == rows.size() && std::is_sorted(rows.begin(), rows.end())) {
      return index_->Add(ids, MatrixView(base.row(rows[0]).data(), rows.size(), base.cols()),
                         cancel);
    }
    Matrix copies(rows.size(), base.cols());
    for (size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(base.row(rows[i]).data(), base.cols(), copies.row(i).data());
    }
    return index_->Add(ids, copies.view(), cancel);
  }

  const Workload& workload_;
  const Runtime& runtime_;
  VectorIndexOptions options_;
  std::vector<size_t> widths_;
  SystemInfo info_;
  std::unique_ptr<VectorIndex> index_;
};

}  // namespace

std::unique_ptr<System> MakeOurs(const IndexSpec& spec, const Workload& workload,
                                 const Runtime& runtime) {
  return std::make_unique<OurSystem>(spec, workload, runtime);
}

}  // namespace rag::bench
