#include <CLI/CLI.hpp>
#include <algorithm>

#include "apps/rag_bench/command.h"
#include "apps/rag_bench/decode/decode.h"
#include "generate/generator.h"

namespace rag::bench {
namespace {

constexpr size_t kMaxTokens = 1'000'000;

class DecodeCommand final : public Command {
 public:
  CLI::App* AddTo(CLI::App& app) override {
    CLI::App* const sub = app.add_subcommand(
        "decode", "Tokens a second, time to the first one, loading and memory of a GGUF decoder");
    sub->footer(
        "Examples:\n"
        "  rag-bench decode model-Q4_K_M.gguf --threads 1,2 --json -\n"
        "  rag-bench decode model.gguf --peer llama.cpp=llama.cpp/build/bin/llama-bench \\\n"
        "      --peer 'ik_llama.cpp=ik_llama.cpp/build/bin/llama-bench -rtr 1' \\\n"
        "      --peer 'huge pages=env GLIBC_TUNABLES=glibc.malloc.hugetlb=1 llama-bench -mmp 0' "
        "\\\n"
        "      --json decode.json --markdown decode.md\n"
        "benchmarks/decode/make_model.py writes models of random weights.");
    sub->add_option("models", options_.models, "GGUF files (or, without peers, folders)")
        ->required();
    sub->add_option("--threads", options_.threads, "computing threads, one run for each number")
        ->delimiter(',')
        ->check(CLI::Range(1, 1'024))
        ->capture_default_str();
    sub->add_option("--prompt", options_.prompt, "tokens of a prefill")
        ->check(CLI::Range(size_t{1}, kMaxTokens))
        ->capture_default_str();
    sub->add_option("--tokens", options_.tokens, "tokens decoded after it")
        ->check(CLI::Range(size_t{1}, kMaxTokens))
        ->capture_default_str();
    sub->add_option("--depth", options_.depths, "tokens before those that are decoded")
        ->delimiter(',')
        ->check(CLI::Range(size_t{0}, kMaxTokens))
        ->capture_default_str();
    sub->add_option("--batch", options_.batches, "sequences that are decoded together")
        ->delimiter(',')
        ->check(CLI::Range(1, 256))
        ->capture_default_str();
    sub->add_option("--rounds", options_.rounds, "measured rounds, after one that warms up")
        ->check(CLI::Range(1, 1'000))
        ->capture_default_str();
    sub->add_option("--kv-type", cache_type_, "of the cache: f32, f16, q8_0 or q4_0")
        ->capture_default_str();
    sub->add_flag("--mapped-weights", options_.mapped_weights, "leave weights in the file");
    sub->add_option("--draft-tokens", options_.draft_tokens,
                    "also decode a repetition, with guesses of so many tokens and without")
        ->check(CLI::Range(0, 16));
    sub->add_option("--peer", peers_,
                    "NAME=COMMAND of a llama-bench (llama.cpp's or a fork's) that takes turns with "
                    "ours; may be given again");
    sub->add_option("--json", options_.json, "write everything as JSON; - is standard output");
    sub->add_option("--markdown", options_.markdown, "write the tables");
    sub->add_flag("--quiet", options_.quiet, "no progress on standard error");
    return sub;
  }

  Status Finish() override {
    RAG_ASSIGN_OR_RETURN(options_.cache_type, ParseKvType(cache_type_));
    for (const std::string& text : peers_) {
      Result<LlamaBench> peer = ParseLlamaBench(text);
      if (!peer.ok()) return peer.status().WithContext("--peer");
      for (const LlamaBench& other : options_.peers) {
        if (other.name == peer->name) {
          return InvalidArgumentError("--peer: the name '", peer->name, "' stands twice");
        }
      }
      options_.peers.push_back(std::move(peer).value());
    }
    return OkStatus();
  }

  int Run(const std::string& line, const CancelToken& cancel) override {
    options_.command = line;
    return RunDecode(options_, cancel);
  }

 private:
  DecodeBenchOptions options_;
  std::string cache_type_ = "f32";
  std::vector<std::string> peers_;
};

}  // namespace

std::unique_ptr<Command> MakeDecodeCommand() { return std::make_unique<DecodeCommand>(); }

}  // namespace rag::bench
