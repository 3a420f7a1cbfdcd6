#include "apps/rag_bench/decode/decode.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "apps/rag_bench/command.h"
#include "apps/rag_bench/decode/decoding.h"
#include "apps/rag_bench/decode/memory_read.h"
#include "apps/rag_bench/decode/report.h"
#include "apps/rag_bench/measure/machine.h"
#include "apps/rag_bench/output.h"
#include "apps/rag_bench/progress.h"
#include "lib/base/descriptor.h"

namespace rag::bench {
namespace {

// Seconds that reading the file takes; what reads it after finds it in the system's cache.
Result<double> ReadFileOnce(const std::string& path) {
  const double start = Now();
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return ErrnoError("cannot read", path);
  std::vector<char> room(size_t{1} << 20);
  for (;;) {
    const ssize_t count = ::read(file.get(), room.data(), room.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoError("cannot read", path);
    if (count == 0) return Now() - start;
  }
}

// What one round adds to a case.
struct Sample {
  DecodeCase of_case;  // without systems
  std::string system;
  double value = 0;
};

class DecodeBench {
 public:
  DecodeBench(const DecodeBenchOptions& options, const CancelToken& cancel)
      : options_(options), cancel_(cancel), progress_(options.quiet), peers_(options.peers) {}

  Result<DecodeReport> Run() {
    Describe();
    for (LlamaBench& peer : peers_) {
      if (const Status asked = AskForHelp(peer, cancel_); !asked.ok()) Drop(peer, asked);
    }
    for (const std::string& path : options_.models) {
      report_.models.push_back({.file = std::filesystem::path(path).filename().string()});
      for (const int threads : options_.threads) {
        const Status measured = Measure(path, threads);
        if (measured.code() == StatusCode::kCancelled) {
          report_.info.complete = false;
          break;
        }
        RAG_RETURN_IF_ERROR(measured);
      }
      if (!report_.info.complete) break;
    }
    report_.load_after = LoadAverage();
    return std::move(report_);
  }

 private:
  void Describe() {
    report_.info = BeginRun(options_.command);
    report_.processors = ThreadPool::AvailableProcessors();
    report_.cache_type = GetDTypeInfo(options_.cache_type).name;
    report_.rounds = options_.rounds;
    report_.load_before = LoadAverage();
  }

  // A peer that failed is asked no more; the others are measured all the same.
  void Drop(const LlamaBench& peer, const Status& error) {
    report_.errors.push_back(StrCat(peer.name, ": ", error.message()));
    dropped_.push_back(peer.name);
  }

  bool Dropped(const LlamaBench& peer) const {
    return std::find(dropped_.begin(), dropped_.end(), peer.name) != dropped_.end();
  }

  void Show(const std::string& what) const {
    const DecodeModel& model = report_.models.back();
    const int threads = model.runs.empty() ? 0 : model.runs.back().threads;
    progress_.Show(StrCat(model.file, ", ", threads, " threads: ", what));
  }

  Status Measure(const std::string& path, int threads) {
    report_.models.back().runs.push_back({.threads = threads});
    RAG_ASSIGN_OR_RETURN(const auto runtime, Runtime::Create({.threads = threads}));
    report_.info.isa = IsaName(runtime->isa());
    Show("reading");
    DecodeRun& run = report_.models.back().runs.back();
    if (std::filesystem::is_regular_file(path)) {
      RAG_ASSIGN_OR_RETURN(run.file_read_seconds, ReadFileOnce(path));
      report_.models.back().file_bytes = std::filesystem::file_size(path);
    }
    const DecodingOptions decoding_options = {.prompt = options_.prompt,
                                              .tokens = options_.tokens,
                                              .depths = options_.depths,
                                              .most_sequences = MostSequences(),
                                              .cache_type = options_.cache_type,
                                              .mapped_weights = options_.mapped_weights,
                                              .draft_tokens = options_.draft_tokens};
    {
      RAG_ASSIGN_OR_RETURN(const auto decoding,
                           Decoding::Load(path, decoding_options, /*guesses=*/false, *runtime));
      run.loaded = decoding->loaded();
      report_.models.back().info = decoding->generator().info();
      RAG_ASSIGN_OR_RETURN(const MemoryRead memory, MemoryRead::Create(*runtime));
      for (size_t round = 0; round <= options_.rounds; ++round) {
        Show(StrCat("round ", round, " of ", options_.rounds));
        RAG_RETURN_IF_ERROR(Round(path, memory, *decoding, /*keeps=*/round > 0));
      }
      if (options_.draft_tokens == 0) return OkStatus();
      RAG_RETURN_IF_ERROR(Repeat(*decoding, "repetition without guesses"));
    }
    RAG_ASSIGN_OR_RETURN(const auto guessing,
                         Decoding::Load(path, decoding_options, /*guesses=*/true, *runtime));
    return Repeat(*guessing, "repetition with guesses");
  }

  size_t MostSequences() const {
    size_t most = 1;
    for (const size_t batch : options_.batches) most = std::max(most, batch);
    return most;
  }

  // Everything once, ours and then each peer's. The first round warms caches and clock.
  Status Round(const std::string& path, const MemoryRead& memory, Decoding& decoding, bool keeps) {
    samples_.clear();
    RAG_ASSIGN_OR_RETURN(const double prefill, decoding.Prefill(cancel_));
    Add(Prefill(), kOurs, prefill);
    // Before and after what is limited by it: what memory gives changes with a machine's
    // neighbours.
    double read = memory.BytesPerSecond();
    for (const size_t depth : options_.depths) {
      RAG_ASSIGN_OR_RETURN(const Decoding::AtDepth at, decoding.Decode(depth, cancel_));
      Add(AtDepth("decode", depth), kOurs, 1000 / at.step_ms);
      if (depth < 2) continue;
      Add(AtDepth("first token", depth, "ms"), kOurs, at.first_token_ms);
      Add(AtDepth("cached first token", depth, "ms"), kOurs, at.cached_token_ms);
      Add(AtDepth("cached first token", depth, "steps"), kOurs, at.cached_token_ms / at.step_ms);
    }
    read = std::max(read, memory.BytesPerSecond());
    for (const size_t batch : options_.batches) {
      RAG_ASSIGN_OR_RETURN(const double rate, decoding.Batch(batch, cancel_));
      Add({"batch", 0, options_.tokens, batch, "tokens/s", {}}, kOurs, rate);
    }
    for (const LlamaBench& peer : peers_) {
      if (Dropped(peer)) continue;
      const Status asked = AskPeer(peer, path);
      if (asked.code() == StatusCode::kCancelled) return asked;
      if (!asked.ok()) Drop(peer, asked);
    }
    if (!keeps) return OkStatus();
    DecodeRun& run = report_.models.back().runs.back();
    run.memory_reads.push_back(read);
    for (const Sample& sample : samples_) Keep(run, sample);
    return OkStatus();
  }

  Status AskPeer(const LlamaBench& peer, const std::string& path) {
    LlamaBenchWork work = {.model = path,
                           .threads = report_.models.back().runs.back().threads,
                           .prompt = options_.prompt,
                           .tokens = options_.tokens};
    Show(peer.name);
    for (const size_t depth : options_.depths) {
      work.depth = depth < 2 ? 0 : depth;
      RAG_ASSIGN_OR_RETURN(const LlamaBenchRates rates, RunLlamaBench(peer, work, cancel_));
      Add(AtDepth("decode", depth), peer.name, rates.decode);
      if (rates.prefill > 0) Add(Prefill(), peer.name, rates.prefill);
      work.prompt = 0;  // once is enough
    }
    return OkStatus();
  }

  Status Repeat(Decoding& decoding, const char* what) {
    DecodeRun& run = report_.models.back().runs.back();
    for (size_t round = 0; round <= options_.rounds; ++round) {
      Show(what);
      RAG_ASSIGN_OR_RETURN(const Decoding::Repeated repeated, decoding.Repeat(cancel_));
      if (round == 0) continue;
      const DecodeCase rate = {what, 0, options_.tokens, 1, "tokens/s", {}};
      const DecodeCase guessed = {what, 0, options_.tokens, 1, "of the output guessed", {}};
      Keep(run, {rate, kOurs, repeated.tokens_per_second});
      Keep(run, {guessed, kOurs, repeated.guessed});
    }
    return OkStatus();
  }

  DecodeCase Prefill() const { return {"prefill", 0, options_.prompt, 1, "tokens/s", {}}; }
  DecodeCase AtDepth(const char* what, size_t depth, const char* unit = "tokens/s") const {
    return {what, depth, options_.tokens, 1, unit, {}};
  }

  void Add(DecodeCase of_case, std::string system, double value) {
    samples_.push_back({std::move(of_case), std::move(system), value});
  }

  static void Keep(DecodeRun& run, const Sample& sample) {
    const DecodeCase& wanted = sample.of_case;
    auto of_case = std::find_if(run.cases.begin(), run.cases.end(), [&](const DecodeCase& other) {
      return other.what == wanted.what && other.context == wanted.context &&
             other.sequences == wanted.sequences && other.unit == wanted.unit;
    });
    if (of_case == run.cases.end()) of_case = run.cases.insert(of_case, wanted);
    auto series =
        std::find_if(of_case->systems.begin(), of_case->systems.end(),
                     [&](const DecodeSeries& other) { return other.system == sample.system; });
    if (series == of_case->systems.end()) {
      series = of_case->systems.insert(series, {sample.system, {}});
    }
    series->values.push_back(sample.value);
  }

  const DecodeBenchOptions& options_;
  const CancelToken& cancel_;
  mutable ProgressLine progress_;
  std::vector<LlamaBench> peers_;
  std::vector<std::string> dropped_;
  std::vector<Sample> samples_;  // of the round
  DecodeReport report_;
};

}  // namespace

int RunDecode(const DecodeBenchOptions& options, const CancelToken& cancel) {
  const Result<DecodeReport> report = DecodeBench(options, cancel).Run();
  if (!report.ok()) return Fail(report.status());
  const std::string heading = Heading(*report);
  const std::string notes = Notes(*report);
  const std::vector<Table> tables = DecodeTables(*report);
  const Status written =
      WriteReport({.json = DecodeReportToJson(*report),
                   .text = StrCat(heading, TablesToText(tables), notes.empty() ? "" : "\n", notes),
                   .markdown = StrCat(heading, "`", report->info.command, "`\n",
                                      TablesToMarkdown(tables), notes),
                   .json_path = options.json,
                   .markdown_path = options.markdown});
  if (!written.ok()) return Fail(written);
  return report->info.complete && report->errors.empty() ? kExitDone : kExitFailed;
}

}  // namespace rag::bench
