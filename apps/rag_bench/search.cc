#include "apps/rag_bench/search.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "apps/rag_bench/command.h"
#include "apps/rag_bench/measure/machine.h"
#include "apps/rag_bench/output.h"
#include "apps/rag_bench/peers/python_peers.h"
#include "apps/rag_bench/progress.h"
#include "apps/rag_bench/report/report.h"
#include "lib/base/file.h"
#include "lib/base/scratch_folder.h"

namespace rag::bench {
namespace {

// A filter changes what a search costs so much that fewer widths, queries and rounds tell enough.
constexpr size_t kFilterWidths[] = {32, 64, 128, 256};
constexpr size_t kFilterRounds = 3;
constexpr size_t kFilterQueries = 200;
// Rows that are replaced at a time.
constexpr size_t kChurnRows = 500;
constexpr uint32_t kChurnSeed = 13;

Matrix Normalized(const Matrix& from) {
  Matrix out = from;
  for (size_t i = 0; i < out.rows(); ++i) {
    double sum = 0;
    for (const float value : out.row(i)) sum += double{value} * double{value};
    if (sum == 0) continue;
    const auto scale = static_cast<float>(1 / std::sqrt(sum));
    for (float& value : out.row(i)) value *= scale;
  }
  return out;
}

class SearchBench {
 public:
  SearchBench(const SearchBenchOptions& options, const CancelToken& cancel)
      : options_(options), indexes_(options.indexes), cancel_(cancel), progress_(options.quiet) {}

  Result<Report> Run() {
    progress_.Show(StrCat("reading ", options_.data.data));
    RAG_ASSIGN_OR_RETURN(data_, LoadDataset(options_.data));
    RAG_RETURN_IF_ERROR(FindTruth());
    // From here on this thread, and what it starts, stays where it is; where several threads build,
    // from the end of the building on.
    if (options_.build_threads == 1) Pin();
    RAG_ASSIGN_OR_RETURN(
        runtime_, Runtime::Create({.threads = std::max(options_.threads, options_.build_threads)}));
    Describe();
    if (data_.metric == Metric::kCosine) {
      normalized_base_ = Normalized(data_.base);
      normalized_queries_ = Normalized(data_.queries);
    }
    workload_.emplace(MakeWorkload());
    RAG_RETURN_IF_ERROR(FindGoals());
    Measure();
    RAG_RETURN_IF_ERROR(MeasureReopening());
    if (!cancel_.cancelled()) RAG_RETURN_IF_ERROR(KeepWhenCancelled(MeasureFilters()));
    built_.clear();
    systems_.clear();
    if (!cancel_.cancelled() && options_.churn > 0) {
      RAG_RETURN_IF_ERROR(KeepWhenCancelled(MeasureChurn()));
    }
    report_.run.complete = !cancel_.cancelled();
    return std::move(report_);
  }

 private:
  Workload MakeWorkload() const {
    const bool cosine = data_.metric == Metric::kCosine;
    return {data_,
            cosine ? normalized_base_.view() : data_.base.view(),
            cosine ? normalized_queries_.view() : data_.queries.view(),
            options_.k,
            options_.threads,
            options_.build_threads,
            options_.batch,
            options_.m,
            options_.ef_construction};
  }

  // One searching thread is pinned, with the systems that search in other processes. One that
  // cannot be will fail at its first search too.
  void Pin(std::span<System* const> systems = {}) {
    if (options_.threads != 1 || report_.pinned) return;
    const int processor = PinToOneProcessor();
    report_.pinned = processor >= 0;
    if (!report_.pinned) return;
    for (System* const system : systems) system->Pin(processor, cancel_).Ignore();
  }

  // Being stopped is no reason to throw away what was measured before.
  static Status KeepWhenCancelled(Status status) {
    return status.code() == StatusCode::kCancelled ? OkStatus() : status;
  }

  // The data's own where it has as many neighbours as are asked for.
  Status FindTruth() {
    if (data_.truth.k >= std::min(options_.k, data_.base.rows())) return OkStatus();
    progress_.Show("computing the ground truth");
    report_.truth_computed = true;
    RAG_ASSIGN_OR_RETURN(data_.truth, ExactNeighbors(data_, {}, options_.k, nullptr));
    return OkStatus();
  }

  void Describe() {
    report_.data = data_.name;
    report_.rows = data_.base.rows();
    report_.dim = data_.base.cols();
    report_.queries = data_.queries.rows();
    report_.metric = MetricName(data_.metric);
    report_.k = options_.k;
    report_.rounds = options_.rounds;
    report_.threads = options_.threads;
    report_.build_threads = options_.build_threads;
    report_.batch = options_.batch;
    report_.run = BeginRun(options_.command);
    report_.run.isa = IsaName(runtime_->isa());
  }

  bool Wanted(const System& peer) const {
    return options_.peer_names.empty() ||
           std::find(options_.peer_names.begin(), options_.peer_names.end(), peer.info().name) !=
               options_.peer_names.end();
  }

  // What a goal leads to on a sample of the base, which no query is part of.
  Status FindGoals() {
    constexpr size_t kSample = 20'000;
    for (IndexSpec& spec : indexes_) {
      if (!spec.goal.has_value()) continue;
      progress_.Show(StrCat("measuring for ", spec.name));
      const Matrix& base = data_.base;
      const size_t count = std::min(kSample, base.rows());
      std::vector<size_t> rows(base.rows());
      std::iota(rows.begin(), rows.end(), size_t{0});
      std::mt19937_64 random(42);
      Matrix sample(count, base.cols());
      for (size_t i = 0; i < count; ++i) {
        std::swap(rows[i], rows[i + random() % (rows.size() - i)]);
        std::copy_n(base.row(rows[i]).data(), base.cols(), sample.row(i).data());
      }
      TuneOptions tune;
      tune.goal = *spec.goal;
      tune.base = spec.options;
      tune.base.dim = base.cols();
      tune.base.metric = data_.metric;
      tune.rows = base.rows();
      RAG_ASSIGN_OR_RETURN(const TuneReport found,
                           TuneIndex(sample.view(), tune, *runtime_, nullptr, &cancel_));
      const TuneTrial& picked = found.trials[found.picked];
      spec.options = picked.options;
      spec.name += StrCat(" = ", picked.spec);
    }
    return OkStatus();
  }

  std::vector<std::unique_ptr<System>> MakeSystems() const {
    std::vector<std::unique_ptr<System>> out;
    for (const IndexSpec& spec : indexes_) {
      out.push_back(MakeOurs(spec, *workload_, *runtime_));
    }
    if (!options_.peers) return out;
    for (std::unique_ptr<System>& peer : MakeLinkedPeers(*workload_)) {
      if (Wanted(*peer)) out.push_back(std::move(peer));
    }
    return out;
  }

  RoundsOptions Rounds() const { return {options_.rounds, options_.widths, nullptr, SIZE_MAX}; }

  Progress ShowProgress() {
    return [this](const std::string& what, double share) { progress_.Show(what, share); };
  }

  // What cannot be started is noted; the others are measured all the same.
  void AddPythonPeers() {
    if (!options_.peers || cancel_.cancelled()) return;
    if (options_.peers_python.empty()) {
      report_.run.missing.push_back("peers in Python: --peers-python names no interpreter");
      return;
    }
    progress_.Show("starting the peers in Python");
    Result<PythonPeers> peers = MakePythonPeers(
        {options_.peers_python, options_.peers_script, options_.peer_names}, *workload_, cancel_);
    if (!peers.ok()) {
      report_.run.missing.push_back(StrCat("peers in Python: ", peers.status().message()));
      return;
    }
    for (std::unique_ptr<System>& peer : peers->systems) systems_.push_back(std::move(peer));
    for (std::string& text : peers->missing) report_.run.missing.push_back(std::move(text));
  }

  void Measure() {
    systems_ = MakeSystems();
    AddPythonPeers();
    std::vector<Row> rows(data_.base.rows());
    std::iota(rows.begin(), rows.end(), Row{0});
    std::vector<System*> built;
    for (const auto& system : systems_) {
      SystemReport of_system{system->info(), {}, {}, {}, OkStatus()};
      if (!cancel_.cancelled()) {
        progress_.Show(StrCat("building ", system->info().name));
        Result<Built> result = system->Build(rows, cancel_);
        if (result.ok()) {
          of_system.built = *result;
          built.push_back(system.get());
        } else {
          of_system.error = result.status();
        }
      }
      report_.systems.push_back(std::move(of_system));
    }
    Pin(built);
    const Judge judge(data_, data_.truth, options_.k, nullptr);
    for (Curve& curve : RunRounds(built, *workload_, judge, Rounds(), cancel_, ShowProgress())) {
      for (SystemReport& system : report_.systems) {
        if (system.info.name != curve.system->info().name) continue;
        system.points = std::move(curve.points);
        system.error = std::move(curve.error);
      }
    }
    built_ = std::move(built);
  }

  Status MeasureReopening() {
    if (!options_.reopen) return OkStatus();
    RAG_ASSIGN_OR_RETURN(const ScratchFolder folder, ScratchFolder::Create("rag-bench"));
    for (System* const system : built_) {
      if (!system->info().saves || cancel_.cancelled()) continue;
      progress_.Show(StrCat("saving and opening ", system->info().name));
      RAG_ASSIGN_OR_RETURN(const Reopened reopened, system->Reopen(folder.file("index")));
      for (SystemReport& of_system : report_.systems) {
        if (of_system.info.name == system->info().name) of_system.reopened = reopened;
      }
    }
    return OkStatus();
  }

  // Every kind of filter at every selectivity, on the indexes that were built. A scan of what a
  // filter allows is always among them: the least that an index has to reach.
  Status MeasureFilters() {
    if (options_.selectivities.empty()) return OkStatus();
    std::vector<System*> systems;
    bool scans = false;
    for (System* const system : built_) {
      if (!system->info().filters) continue;
      systems.push_back(system);
      scans = scans || system->info().exact;
    }
    std::unique_ptr<System> scan;
    if (!scans) {
      IndexSpec spec;
      spec.name = "scan";
      spec.options.kind = IndexKind::kFlat;
      scan = MakeOurs(spec, *workload_, *runtime_);
      std::vector<Row> rows(data_.base.rows());
      std::iota(rows.begin(), rows.end(), Row{0});
      RAG_RETURN_IF_ERROR(scan->Build(rows, cancel_).status());
      systems.push_back(scan.get());
    }
    RoundsOptions rounds{std::min(options_.rounds, kFilterRounds), options_.widths, nullptr,
                         kFilterQueries};
    if (rounds.widths.empty()) {
      rounds.widths.assign(std::begin(kFilterWidths), std::end(kFilterWidths));
    }
    for (const std::string& kind : options_.filter_kinds) {
      for (const double selectivity : options_.selectivities) {
        if (cancel_.cancelled()) return OkStatus();
        progress_.Show(StrCat("filter ", kind, " ", selectivity));
        const FilterCase filter = MakeFilter(data_, kind, selectivity);
        RAG_ASSIGN_OR_RETURN(const NeighborTable truth,
                             ExactNeighbors(data_, {}, options_.k, &filter));
        const Judge judge(data_, truth, options_.k, &filter);
        rounds.filter = &filter;
        FilterReport of_filter{kind, selectivity, {}};
        for (Curve& curve :
             RunRounds(systems, *workload_, judge, rounds, cancel_, ShowProgress())) {
          of_filter.systems.push_back(
              {curve.system->info(), {}, {}, std::move(curve.points), std::move(curve.error)});
        }
        report_.filters.push_back(std::move(of_filter));
      }
    }
    return OkStatus();
  }

  // The first rows live at the beginning; a share of them, drawn at random, is replaced by the
  // others a few at a time. The same system built afresh of what lives then stands beside it.
  Status MeasureChurn() {
    const size_t all = data_.base.rows();
    const auto live = static_cast<size_t>(static_cast<double>(all) / (1 + options_.churn));
    std::vector<Row> start(live);
    std::iota(start.begin(), start.end(), Row{0});
    std::vector<Row> leaving = start;
    std::mt19937 random(kChurnSeed);
    std::shuffle(leaving.begin(), leaving.end(), random);
    leaving.resize(std::min(live, all - live));
    std::vector<Row> coming(leaving.size());
    std::iota(coming.begin(), coming.end(), static_cast<Row>(live));
    std::vector<bool> gone(all, false);
    for (const Row row : leaving) gone[row] = true;
    std::vector<Row> end;
    for (Row row = 0; row < live + coming.size(); ++row) {
      if (!gone[row]) end.push_back(row);
    }
    RAG_ASSIGN_OR_RETURN(const NeighborTable truth,
                         ExactNeighbors(data_, end, options_.k, nullptr));
    const Judge judge(data_, truth, options_.k, nullptr);
    report_.churn = options_.churn;

    std::vector<std::unique_ptr<System>> churned = MakeSystems();
    std::vector<std::unique_ptr<System>> fresh = MakeSystems();
    for (size_t i = 0; i < churned.size(); ++i) {
      System& system = *churned[i];
      if (!system.info().removes || system.info().exact || cancel_.cancelled()) continue;
      progress_.Show(StrCat("replacing ", leaving.size(), " rows of ", system.info().name));
      ChurnReport of_system;
      const size_t resident = ResidentBytes();
      RAG_ASSIGN_OR_RETURN(of_system.churned.built, system.Build(start, cancel_));
      for (size_t begin = 0; begin < leaving.size(); begin += kChurnRows) {
        const size_t count = std::min(kChurnRows, leaving.size() - begin);
        RAG_RETURN_IF_ERROR(system.Remove(std::span(leaving).subspan(begin, count)));
        RAG_RETURN_IF_ERROR(system.Add(std::span(coming).subspan(begin, count)));
      }
      of_system.churned.built.memory_bytes = system.memory_bytes();
      const size_t after = ResidentBytes();
      of_system.churned.built.resident_bytes = after > resident ? after - resident : 0;
      RAG_ASSIGN_OR_RETURN(of_system.fresh.built, fresh[i]->Build(end, cancel_));
      System* const pair[] = {&system, fresh[i].get()};
      std::vector<Curve> curves =
          RunRounds(pair, *workload_, judge, Rounds(), cancel_, ShowProgress());
      of_system.churned.info = of_system.fresh.info = system.info();
      of_system.churned.points = std::move(curves[0].points);
      of_system.churned.error = std::move(curves[0].error);
      of_system.fresh.points = std::move(curves[1].points);
      of_system.fresh.error = std::move(curves[1].error);
      report_.churns.push_back(std::move(of_system));
      churned[i].reset();
      fresh[i].reset();
    }
    return OkStatus();
  }

  const SearchBenchOptions& options_;
  std::vector<IndexSpec> indexes_;  // a goal becomes the options that reach it
  const CancelToken& cancel_;
  ProgressLine progress_;
  Report report_;
  Dataset data_;
  Matrix normalized_base_;
  Matrix normalized_queries_;
  std::unique_ptr<Runtime> runtime_;  // outlives the systems
  std::optional<Workload> workload_;
  std::vector<std::unique_ptr<System>> systems_;
  std::vector<System*> built_;
};

}  // namespace

int RunSearch(const SearchBenchOptions& options, const CancelToken& cancel) {
  const Result<Report> report = SearchBench(options, cancel).Run();
  if (!report.ok()) return Fail(report.status());
  const Status written = WriteReport({.json = ReportToJson(*report),
                                      .text = ReportToText(*report),
                                      .markdown = ReportToMarkdown(*report),
                                      .json_path = options.json,
                                      .markdown_path = options.markdown});
  if (!written.ok()) return Fail(written);
  if (!options.csv.empty()) {
    const Status table = WriteFileAtomic(options.csv, ReportToCsv(*report));
    if (!table.ok()) return Fail(table);
  }
  for (const std::string& plot : options.plots) {
    if (const Status drawn = DrawPlot(*report, plot); !drawn.ok()) return Fail(drawn);
  }
  const bool failed = std::any_of(report->systems.begin(), report->systems.end(),
                                  [](const SystemReport& s) { return !s.error.ok(); });
  return report->run.complete && !failed ? kExitDone : kExitFailed;
}

}  // namespace rag::bench
