#include <atomic>
#include <mutex>
#include <thread>

#include "apps/rag_bench/measure/machine.h"
#include "apps/rag_bench/measure/system.h"
#include "apps/rag_bench/spec.h"
#ifdef RAG_BENCH_HNSWLIB
#include "apps/rag_bench/peers/hnswlib.h"
#endif

namespace rag::bench {
#ifdef RAG_BENCH_HNSWLIB
namespace {

// Points between two looks at the token: building takes minutes.
constexpr size_t kCancelPoints = 256;

class HnswlibSystem final : public System {
 public:
  explicit HnswlibSystem(const Workload& workload) : workload_(workload) {
    info_.name = "hnswlib";
    info_.source = "linked";
    info_.version = RAG_BENCH_HNSWLIB;
    info_.parameters = {{"m", workload.m}, {"ef_construction", workload.ef_construction}};
    info_.filters = PeerHnswlib::HasFilters();
    info_.removes = PeerHnswlib::HasFilters();
  }

  const SystemInfo& info() const override { return info_; }
  std::vector<size_t> widths() const override { return DefaultWidths(IndexKind::kHnsw); }

  Result<Built> Build(std::span<const Row> rows, const CancelToken& cancel) override {
    graph_.reset();
    const size_t resident = ResidentBytes();
    const double begin = Now();
    PeerHnswlib::Options options;
    options.dim = workload_.base.cols;
    options.capacity = rows.size();
    options.m = workload_.m;
    options.ef_construction = workload_.ef_construction;
    options.inner_product = workload_.data.metric != Metric::kL2;
    options.replace_deleted = PeerHnswlib::HasFilters();
    RAG_ASSIGN_OR_RETURN(graph_, PeerHnswlib::Create(options));
    RAG_RETURN_IF_ERROR(AddRows(rows, cancel));
    Built built;
    built.seconds = Now() - begin;
    const size_t after = ResidentBytes();
    built.resident_bytes = after > resident ? after - resident : 0;
    return built;
  }

  Status Remove(std::span<const Row> rows) override {
    for (const Row row : rows) RAG_RETURN_IF_ERROR(graph_->Remove(row));
    return OkStatus();
  }

  Status Add(std::span<const Row> rows) override { return AddRows(rows, CancelToken()); }

  Status Search(const SearchCall& call, const CancelToken& cancel, Pass& pass) override {
    graph_->SetWidth(call.width);
    return TimeQueries(
        workload_.threads, call.queries, workload_.k, cancel,
        [&](size_t query, Row* out) {
          return graph_->Search(workload_.queries.row(query).data(), workload_.k,
                                call.filter == nullptr ? nullptr : &call.filter->of(query), out);
        },
        pass);
  }

 private:
  Status AddRows(std::span<const Row> rows, const CancelToken& cancel) {
    std::atomic<size_t> next{0};
    std::mutex mutex;  // guards error
    Status error;
    const auto work = [&] {
      for (size_t i = next++; i < rows.size(); i = next++) {
        Status status = i % kCancelPoints == 0 && cancel.cancelled()
                            ? CancelledError("stopped")
                            : graph_->Add(workload_.base.row(rows[i]).data(), rows[i]);
        if (status.ok()) continue;
        next = rows.size();
        const std::lock_guard lock(mutex);
        error = std::move(status);
      }
    };
    std::vector<std::thread> others;
    for (int i = 1; i < workload_.build_threads; ++i) others.emplace_back(work);
    work();
    for (std::thread& thread : others) thread.join();
    return error;
  }

  const Workload& workload_;
  SystemInfo info_;
  std::unique_ptr<PeerHnswlib> graph_;
};

}  // namespace

std::vector<std::unique_ptr<System>> MakeLinkedPeers(const Workload& workload) {
  std::vector<std::unique_ptr<System>> out;
  out.push_back(std::make_unique<HnswlibSystem>(workload));
  return out;
}
#else
std::vector<std::unique_ptr<System>> MakeLinkedPeers(const Workload&) { return {}; }
#endif

}  // namespace rag::bench
