#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>

#include "apps/rag_bench/command.h"
#include "apps/rag_bench/search.h"
#include "index/index_spec.h"

namespace rag::bench {
namespace {

constexpr const char* kFilterKinds[] = {"random", "correlated", "anti-correlated"};

std::string Joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += StrCat(out.empty() ? "" : ", ", word);
  return out;
}

std::string Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

class SearchCommand final : public Command {
 public:
  SearchCommand() {
    options_.data.data_dir = Environment("RAG_TEST_DATA");
    options_.peers_python = Environment("RAG_PEERS_PYTHON");
    options_.peers_script = StrCat(RAG_BENCH_PEERS, "/search_peers.py");
  }

  CLI::App* AddTo(CLI::App& app) override {
    CLI::App* const sub = app.add_subcommand(
        "search", "Recall against queries a second, latency, build time and memory of indexes");
    sub->footer(
        "Examples:\n"
        "  rag-bench search --data synthetic:20000x64 --index flat,hnsw --json -\n"
        "  rag-bench search --data sift/base.fvecs --queries sift/query.fvecs --peers\n"
        "  rag-bench search --data fashion-mnist-784-euclidean.hdf5 --index hnsw:m=16,hnsw:m=32 "
        "\\\n"
        "      --sweep 10,32,64,128 --plot curve.svg --markdown table.md");
    sub->add_option("--data", options_.data.data,
                    "fvecs, bvecs, npy, idx3-ubyte[.gz] or ann-benchmarks' HDF5; "
                    "synthetic:ROWSxDIM[:CLUSTERS]; or a set's name: " +
                        Joined(KnownSetNames()))
        ->required();
    sub->add_option("--queries", options_.data.queries,
                    "file of queries (else the data's own, or its last rows)");
    sub->add_option("--truth", options_.data.truth, ".ivecs of true neighbours (else computed)");
    sub->add_option("--data-dir", options_.data.data_dir,
                    "folder of the named sets (RAG_TEST_DATA)");
    sub->add_option("--index", index_,
                    StrCat("what to build: KIND[:key=value,...] one after another; ",
                           IndexSpecHelp(), "; of every kind: sweep=10/16/24"))
        ->capture_default_str();
    sub->add_option("--metric", metric_, "l2, ip or cosine (else the data's)")
        ->check(CLI::IsMember({"l2", "ip", "cosine"}));
    sub->add_option("--sweep", sweep_, "search widths of graphs, 10,16,24,...");
    sub->add_option("--rows", options_.data.max_rows, "use the first N vectors")
        ->check(CLI::Range(size_t{1}, kMaxValues));
    sub->add_option("--query-count", options_.data.max_queries, "use at most N queries")
        ->check(CLI::Range(size_t{1}, kMaxValues))
        ->capture_default_str();
    sub->add_option("-k,--k", options_.k, "neighbours a query")
        ->check(CLI::Range(1, 65'535))
        ->capture_default_str();
    sub->add_option("--rounds", options_.rounds, "measured rounds, after one that warms up")
        ->check(CLI::Range(1, 1'000))
        ->capture_default_str();
    sub->add_option("--threads", options_.threads, "searching threads; 1 is pinned")
        ->check(CLI::Range(1, 1'024))
        ->capture_default_str();
    sub->add_option("--build-threads", build_threads_, "building threads (else --threads)")
        ->check(CLI::Range(1, 1'024));
    sub->add_flag("--batch", options_.batch, "all queries in one call; no latencies then");
    sub->add_option("--m", options_.m, "links of graphs, ours and the peers'")
        ->check(CLI::Range(2, 128))
        ->capture_default_str();
    sub->add_option("--ef-construction", options_.ef_construction, "width of graphs' building")
        ->check(CLI::Range(1, 65'535))
        ->capture_default_str();
    sub->add_option("--filter", options_.selectivities,
                    "also search under filters that allow these shares of the rows, "
                    "0.001,0.01,0.1,0.5")
        ->delimiter(',')
        ->check(CLI::Range(1e-9, 1.0));
    sub->add_option("--filter-kind", options_.filter_kinds, "random, correlated, anti-correlated")
        ->delimiter(',')
        ->check(CLI::IsMember(
            std::vector<std::string>(std::begin(kFilterKinds), std::end(kFilterKinds))));
    sub->add_option("--churn", options_.churn,
                    "also replace this share of the rows and compare with a fresh build")
        ->check(CLI::Range(0.0, 0.9));
    sub->add_flag("--reopen", options_.reopen,
                  "also save and open our indexes (in TMPDIR), timing both");
    sub->add_flag("--peers", options_.peers,
                  "measure linked peers and, with --peers-python, those in Python");
    sub->add_option("--peers-python", options_.peers_python,
                    "interpreter with the peers' packages (RAG_PEERS_PYTHON)");
    sub->add_option("--peers-script", options_.peers_script, "benchmarks/peers/search_peers.py");
    sub->add_option("--peer-names", options_.peer_names, "only these peers")->delimiter(',');
    sub->add_option("--json", options_.json, "write everything as JSON; - is standard output");
    sub->add_option("--csv", options_.csv, "write the points");
    sub->add_option("--markdown", options_.markdown, "write the tables");
    sub->add_option("--plot", options_.plots, "draw the curves, FILE.svg or FILE.png")
        ->delimiter(',');
    sub->add_flag("--quiet", options_.quiet, "no progress on standard error");
    return sub;
  }

  Status Finish() override {
    if (!metric_.empty()) {
      const Result<Metric> metric = ParseMetric(metric_);
      if (!metric.ok()) return metric.status();
      options_.data.metric = *metric;
    }
    VectorIndexOptions base;
    base.hnsw.m = options_.m;
    base.hnsw.ef_construction = options_.ef_construction;
    Result<std::vector<IndexSpec>> specs = ParseIndexSpecs(index_, base);
    if (!specs.ok()) return specs.status().WithContext("--index");
    options_.indexes = std::move(specs).value();
    if (!sweep_.empty()) {
      Result<std::vector<size_t>> widths = ParseWidths(sweep_);
      if (!widths.ok()) return widths.status().WithContext("--sweep");
      options_.widths = std::move(widths).value();
    }
    for (const std::string& plot : options_.plots) {
      if (plot.ends_with(".svg") || plot.ends_with(".png")) continue;
      return InvalidArgumentError("--plot: '", plot, "' ends neither in .svg nor in .png");
    }
    if (options_.filter_kinds.empty()) {
      options_.filter_kinds.assign(std::begin(kFilterKinds), std::end(kFilterKinds));
    }
    options_.build_threads = build_threads_ == 0 ? options_.threads : build_threads_;
    return OkStatus();
  }

  int Run(const std::string& line, const CancelToken& cancel) override {
    options_.command = line;
    return RunSearch(options_, cancel);
  }

 private:
  SearchBenchOptions options_;
  std::string index_ = "flat,hnsw";
  std::string metric_;
  std::string sweep_;
  int build_threads_ = 0;
};

}  // namespace

std::unique_ptr<Command> MakeSearchCommand() { return std::make_unique<SearchCommand>(); }

}  // namespace rag::bench
