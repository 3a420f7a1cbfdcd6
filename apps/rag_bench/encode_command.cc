#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>

#include "apps/rag_bench/command.h"
#include "apps/rag_bench/encode/encode.h"
#include "apps/rag_bench/encode/worker.h"
#include "engine/models.h"

namespace rag::bench {
namespace {

class EncodeCommand final : public Command {
 public:
  EncodeCommand() {
    options_.model = kDefaultEncoder;
    options_.limit = 64;
    options_.lengths = {128};
    options_.batches = {0};
    options_.threads = {1};
    if (const char* const python = std::getenv("RAG_PEERS_PYTHON")) options_.peers_python = python;
    options_.peers_script = StrCat(RAG_BENCH_PEERS, "/encode_peers.py");
  }

  CLI::App* AddTo(CLI::App& app) override {
    CLI::App* const sub = app.add_subcommand(
        "encode", "Texts a second of an encoder, its loading and its memory, beside the peers");
    sub->footer(
        "Examples:\n"
        "  rag-bench encode --precision f32,int8 --threads 1,2\n"
        "  rag-bench encode --model bge-small-en --texts corpus.jsonl --limit 200 --batch 1,32,0 "
        "\\\n"
        "      --peers --peers-python peers/bin/python --json encode.json --markdown encode.md");
    sub->add_option("--model", options_.model, "encoder: a name of the models folder, or a path")
        ->capture_default_str();
    sub->add_option("--texts", options_.texts,
                    "JSONL of texts (\"text\", \"title\"), encoded as they come too (else words of "
                    "the model's vocabulary)");
    sub->add_option("--limit", options_.limit, "texts of a set")
        ->check(CLI::Range(size_t{1}, size_t{1'000'000}))
        ->capture_default_str();
    sub->add_option("--lengths", options_.lengths,
                    "also texts of so many tokens each, 32,128; 0: none")
        ->delimiter(',')
        ->check(CLI::Range(0, 1 << 20))
        ->capture_default_str();
    sub->add_option("--batch", options_.batches, "texts in a call, 1,32,0; 0: all of them")
        ->delimiter(',')
        ->check(CLI::Range(0, 1'000'000))
        ->capture_default_str();
    sub->add_option("--threads", options_.threads,
                    "threads, 1,2: each system is kept on as many processors")
        ->delimiter(',')
        ->check(CLI::Range(1, 1'024))
        ->capture_default_str();
    sub->add_option("--precision", precisions_,
                    "of ours, f32,bf16x3,bf16,int8; the first is compared with")
        ->delimiter(',')
        ->capture_default_str();
    sub->add_option("--rounds", options_.rounds, "measured rounds, after one that warms up")
        ->check(CLI::Range(1, 1'000))
        ->capture_default_str();
    sub->add_flag("--peers", options_.peers,
                  "measure the peers too (benchmarks/peers says how they are installed)");
    sub->add_option("--peers-python", options_.peers_python,
                    "interpreter with the peers' packages (RAG_PEERS_PYTHON)");
    sub->add_option("--peers-script", options_.peers_script, "benchmarks/peers/encode_peers.py");
    sub->add_option("--peers-folder", options_.peers_folder,
                    "keep the model in the peers' formats there (else they are made anew)");
    sub->add_option("--peer-names", options_.peer_names, "only these peers")->delimiter(',');
    sub->add_option("--json", options_.json, "write everything as JSON; - is standard output");
    sub->add_option("--markdown", options_.markdown, "write the tables");
    sub->add_flag("--quiet", options_.quiet, "no progress on standard error");
    return sub;
  }

  Status Finish() override {
    for (const std::string& name : precisions_) {
      const Result<Precision> precision = ParsePrecision(name);
      if (!precision.ok()) return precision.status().WithContext("--precision");
      options_.precisions.push_back(*precision);
    }
    std::erase(options_.lengths, size_t{0});
    if (options_.lengths.empty() && options_.texts.empty()) {
      return InvalidArgumentError("--lengths 0 needs --texts");
    }
    return OkStatus();
  }

  int Run(const std::string& line, const CancelToken& cancel) override {
    options_.command = line;
    return RunEncode(options_, cancel);
  }

 private:
  EncodeBenchOptions options_;
  std::vector<std::string> precisions_ = {"f32"};
};

// What `encode` starts for each of our precisions; users have no need of it.
class EncodeWorkerCommand final : public Command {
 public:
  CLI::App* AddTo(CLI::App& app) override {
    return app.add_subcommand("encode-worker", "A process that encode measures")->group("");
  }
  Status Finish() override { return OkStatus(); }
  int Run(const std::string&, const CancelToken&) override {
    return RunEncodeWorker(std::cin, std::cout);
  }
};

}  // namespace

std::unique_ptr<Command> MakeEncodeCommand() { return std::make_unique<EncodeCommand>(); }
std::unique_ptr<Command> MakeEncodeWorkerCommand() {
  return std::make_unique<EncodeWorkerCommand>();
}

}  // namespace rag::bench
