#include "apps/rag_bench/encode/encode.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>

#include "apps/rag_bench/command.h"
#include "apps/rag_bench/encode/report.h"
#include "apps/rag_bench/encode/texts.h"
#include "apps/rag_bench/measure/machine.h"
#include "apps/rag_bench/output.h"
#include "apps/rag_bench/peers/child.h"
#include "apps/rag_bench/progress.h"
#include "engine/models.h"
#include "lib/base/file.h"
#include "lib/base/hash.h"
#include "lib/base/scratch_folder.h"

namespace rag::bench {
namespace {

constexpr size_t kMaxVectorBytes = size_t{4} << 30;
// Between two systems' turns: threads of ONNX Runtime look for work for some 30 ms after they have
// done theirs, and would have a processor of the next system's.
constexpr std::chrono::milliseconds kSettle(200);

// A system before it runs: how its process is started and opened.
struct Contender {
  EncodeSystemReport report;
  std::vector<std::string> process;
  Value::Object request;  // besides the threads and processors
};

// The files of one set of texts.
struct SetFiles {
  std::string texts;
  std::string vectors;  // of the first system; the others' end in their number
};

Result<std::vector<float>> ReadVectors(const std::string& path) {
  RAG_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxVectorBytes));
  std::vector<float> out(bytes.size() / sizeof(float));
  std::memcpy(out.data(), bytes.data(), out.size() * sizeof(float));
  return out;
}

Status CompareVectors(const std::string& first, const std::string& other, size_t rows,
                      EncodeMeasure& measure) {
  RAG_ASSIGN_OR_RETURN(const std::vector<float> a, ReadVectors(first));
  RAG_ASSIGN_OR_RETURN(const std::vector<float> b, ReadVectors(other));
  if (a.size() != b.size() || rows == 0 || a.size() % rows != 0) {
    return DataLossError("vectors of ", rows, " texts: ", b.size(), " numbers, the first system's ",
                         a.size());
  }
  const size_t dim = a.size() / rows;
  double lowest = 1;
  double sum = 0;
  for (size_t row = 0; row < rows; ++row) {
    double product = 0, aa = 0, bb = 0;
    for (size_t i = row * dim; i < (row + 1) * dim; ++i) {
      product += double{a[i]} * double{b[i]};
      aa += double{a[i]} * double{a[i]};
      bb += double{b[i]} * double{b[i]};
    }
    const double cosine = product / std::sqrt(aa * bb);
    if (!std::isfinite(cosine)) {
      return DataLossError("the vector of text ", row,
                           " is zero or not finite, here or in the first "
                           "system's");
    }
    lowest = std::min(lowest, cosine);
    sum += cosine;
  }
  measure.lowest_cosine = lowest;
  measure.mean_cosine = sum / static_cast<double>(rows);
  return OkStatus();
}

class EncodeBench {
 public:
  EncodeBench(const EncodeBenchOptions& options, const CancelToken& cancel)
      : options_(options), cancel_(cancel), progress_(options.quiet) {}

  Result<EncodeReport> Run() {
    RAG_ASSIGN_OR_RETURN(const ModelEntry entry, FindModel(DefaultModelsFolder(), options_.model));
    model_ = entry.path;
    RAG_ASSIGN_OR_RETURN(ScratchFolder folder, ScratchFolder::Create("rag-bench"));
    folder_.emplace(std::move(folder));
    report_.model = entry.name;
    report_.rounds = options_.rounds;
    report_.info = BeginRun(options_.command);
    for (const Precision precision : options_.precisions) {
      RAG_RETURN_IF_ERROR(AddOurs(precision));
    }
    RAG_RETURN_IF_ERROR(DescribeModel());
    RAG_RETURN_IF_ERROR(MakeSets());
    AddPeers();
    for (const int threads : options_.threads) {
      if (cancel_.cancelled()) break;
      Measure(threads);
    }
    report_.info.complete = !cancel_.cancelled();
    return std::move(report_);
  }

 private:
  Status AddOurs(Precision precision) {
    std::error_code error;
    const std::string self = std::filesystem::read_symlink("/proc/self/exe", error).string();
    if (error) return IoError("this program's own path is not to be found: ", error.message());
    Contender contender;
    contender.report.name = StrCat("rag ", PrecisionName(precision));
    contender.report.source = "rag";
    contender.report.parameters.Set("precision", PrecisionName(precision));
    contender.process = {self, "encode-worker"};
    contender.request = {
        {"do", "open"}, {"model", model_}, {"precision", PrecisionName(precision)}};
    contenders_.push_back(std::move(contender));
    return OkStatus();
  }

  // What the model's files say, by a process that is not measured.
  Status DescribeModel() {
    progress_.Show(StrCat("loading ", report_.model));
    RAG_ASSIGN_OR_RETURN(const std::unique_ptr<Child> child,
                         Child::Start(contenders_.front().process));
    RAG_ASSIGN_OR_RETURN(info_, child->Ask(contenders_.front().request, cancel_));
    RAG_ASSIGN_OR_RETURN(const int64_t dim, info_.GetInt("dim", 0));
    RAG_ASSIGN_OR_RETURN(const int64_t max_tokens, info_.GetInt("max_tokens", 0));
    RAG_ASSIGN_OR_RETURN(const int64_t weight_bytes, info_.GetInt("weight_bytes", 0));
    RAG_ASSIGN_OR_RETURN(report_.info.isa, info_.GetString("isa", ""));
    report_.dim = static_cast<size_t>(dim);
    report_.max_tokens = static_cast<size_t>(max_tokens);
    report_.weight_bytes = static_cast<size_t>(weight_bytes);
    return OkStatus();
  }

  Status MakeSets() {
    progress_.Show("making texts");
    RAG_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(model_));
    const bool has_file = !options_.texts.empty();
    std::vector<std::string> source;
    if (has_file) {
      RAG_ASSIGN_OR_RETURN(source, ReadTexts(options_.texts, options_.limit));
    } else {
      RAG_ASSIGN_OR_RETURN(source, RandomTexts(*tokenizer, options_.limit));
    }
    const size_t count = std::min(options_.limit, std::max<size_t>(source.size(), 1));
    std::vector<TextSet> sets;
    for (const size_t length : options_.lengths) {
      if (length > report_.max_tokens) {
        return InvalidArgumentError("texts of ", length, " tokens: ", report_.model, " reads ",
                                    report_.max_tokens);
      }
      RAG_ASSIGN_OR_RETURN(TextSet set, TextsOfLength(*tokenizer, source, length, count));
      sets.push_back(std::move(set));
    }
    if (has_file) {
      sets.push_back(MakeTextSet(*tokenizer,
                                 std::filesystem::path(options_.texts).filename().string(),
                                 std::move(source), report_.max_tokens));
    }
    for (const TextSet& set : sets) {
      const size_t number = files_.size();
      files_.push_back(
          {folder_->file(StrCat("texts", number)), folder_->file(StrCat("vectors", number, "."))});
      RAG_RETURN_IF_ERROR(WriteTexts(files_.back().texts, set.texts));
      report_.sets.push_back(
          {set.name, set.texts.size(), set.tokens, set.shortest, set.median, set.longest});
    }
    return OkStatus();
  }

  // What cannot be prepared is noted; the others are measured all the same.
  void AddPeers() {
    if (!options_.peers || cancel_.cancelled()) return;
    const Status status = PreparePeers();
    if (!status.ok()) report_.info.missing.push_back(StrCat("peers: ", status.message()));
  }

  Status PreparePeers() {
    if (options_.peers_python.empty()) {
      return InvalidArgumentError("--peers-python names no interpreter");
    }
    const Value* const pooling = info_.Find("pooling");
    if (pooling == nullptr || !pooling->is_array() || pooling->as_array().size() != 1) {
      return UnsupportedError("the peers pool in one way, this model in several");
    }
    progress_.Show("writing the model in the peers' formats");
    const std::string folder =
        options_.peers_folder.empty()
            ? folder_->file("peers")
            : StrCat(options_.peers_folder, "/", report_.model, "-", HashToHex(Hash64(model_)));
    const std::vector<std::string> process = {options_.peers_python, options_.peers_script};
    RAG_ASSIGN_OR_RETURN(const std::unique_ptr<Child> child, Child::Start(process));
    RAG_ASSIGN_OR_RETURN(
        const Value answer,
        child->Ask({{"do", "prepare"},
                    {"model", model_},
                    {"folder", folder},
                    {"only", Value::Array(options_.peer_names.begin(), options_.peer_names.end())}},
                   cancel_));
    if (const Value* const missing = answer.Find("missing"); missing && missing->is_array()) {
      for (const Value& text : missing->as_array()) {
        report_.info.missing.push_back(text.is_string() ? text.as_string() : ToJson(text));
      }
    }
    const Value* const systems = answer.Find("systems");
    if (systems == nullptr || !systems->is_array()) {
      return UnavailableError("the peers' script answered ", ToJson(answer));
    }
    for (const Value& system : systems->as_array()) {
      Contender contender;
      RAG_ASSIGN_OR_RETURN(contender.report.name, system.GetString("name", ""));
      RAG_ASSIGN_OR_RETURN(contender.report.version, system.GetString("version", ""));
      contender.report.source = "python";
      if (const Value* const parameters = system.Find("parameters");
          parameters != nullptr && parameters->is_object()) {
        contender.report.parameters = parameters->as_object();
      }
      contender.process = process;
      contender.request = {{"do", "open"},
                           {"system", contender.report.name},
                           {"model", model_},
                           {"folder", folder},
                           {"max_tokens", report_.max_tokens},
                           {"pooling", pooling->as_array().front()},
                           {"normalize", *info_.Find("normalize")}};
      contenders_.push_back(std::move(contender));
    }
    return OkStatus();
  }

  // A system that runs.
  struct Running {
    EncodeSystemReport report;
    std::unique_ptr<Child> child;
  };

  void Measure(int threads) {
    EncodeRun run;
    run.threads = threads;
    Value::Array processors;
    const std::vector<int> allowed = AllowedProcessors();
    run.pinned = allowed.size() >= static_cast<size_t>(threads);
    for (int i = 0; run.pinned && i < threads; ++i) processors.emplace_back(allowed[i]);
    std::vector<Running> running;
    for (const Contender& contender : contenders_) {
      if (cancel_.cancelled()) break;
      progress_.Show(StrCat("loading ", contender.report.name));
      Running system{contender.report, nullptr};
      Value::Object request = contender.request;
      request.Set("threads", threads);
      request.Set("processors", processors);
      system.report.error = Open(contender.process, request, system);
      running.push_back(std::move(system));
    }
    for (size_t set = 0; set < files_.size(); ++set) {
      for (const size_t batch : options_.batches) MeasureSet(running, set, batch, threads);
    }
    for (Running& system : running) run.systems.push_back(std::move(system.report));
    report_.runs.push_back(std::move(run));
  }

  Status Open(const std::vector<std::string>& process, const Value::Object& request,
              Running& system) {
    RAG_ASSIGN_OR_RETURN(system.child, Child::Start(process));
    RAG_ASSIGN_OR_RETURN(const Value answer, system.child->Ask(request, cancel_));
    RAG_ASSIGN_OR_RETURN(system.report.load_seconds, answer.GetDouble("load_seconds", 0));
    RAG_ASSIGN_OR_RETURN(system.report.first_seconds, answer.GetDouble("first_seconds", 0));
    RAG_ASSIGN_OR_RETURN(const int64_t base, answer.GetInt("base_bytes", 0));
    system.report.base_bytes = static_cast<size_t>(std::max<int64_t>(0, base));
    return OkStatus();
  }

  // Round 0 warms up and gives the vectors. A system that fails is left out from then on.
  void MeasureSet(std::vector<Running>& systems, size_t set, size_t batch, int threads) {
    for (Running& system : systems) {
      system.report.measures.push_back({.set = set, .batch = batch});
    }
    for (size_t round = 0; round <= options_.rounds; ++round) {
      double first_seconds = 0;
      for (size_t i = 0; i < systems.size(); ++i) {
        Running& system = systems[i];
        if (!system.report.error.ok() || cancel_.cancelled()) continue;
        progress_.Show(
            StrCat(threads, "-threaded ", system.report.name, ", ", report_.sets[set].name),
            static_cast<double>(round) / static_cast<double>(options_.rounds + 1));
        EncodeMeasure& measure = system.report.measures.back();
        const std::string vectors = round == 0 ? StrCat(files_[set].vectors, i) : std::string();
        std::this_thread::sleep_for(kSettle);
        system.report.error = Turn(system, set, batch, vectors, round > 0, measure);
        if (!system.report.error.ok()) continue;
        // Without the first system the others are measured, and compared with nothing.
        const bool has_first = systems.front().report.error.ok();
        if (round == 0) {
          if (!has_first) continue;
          system.report.error = CompareVectors(StrCat(files_[set].vectors, 0), vectors,
                                               report_.sets[set].texts, measure);
          continue;
        }
        if (i == 0) first_seconds = measure.seconds.back();
        if (has_first) measure.ratios.push_back(first_seconds / measure.seconds.back());
      }
    }
    for (Running& system : systems) {
      if (system.report.measures.back().seconds.empty()) system.report.measures.pop_back();
    }
  }

  Status Turn(Running& system, size_t set, size_t batch, const std::string& vectors, bool counts,
              EncodeMeasure& measure) {
    RAG_ASSIGN_OR_RETURN(const Value answer, system.child->Ask({{"do", "encode"},
                                                                {"texts", files_[set].texts},
                                                                {"batch", batch},
                                                                {"vectors", vectors}},
                                                               cancel_));
    RAG_ASSIGN_OR_RETURN(const double seconds, answer.GetDouble("seconds", 0));
    RAG_ASSIGN_OR_RETURN(const double processor, answer.GetDouble("processor_seconds", 0));
    RAG_ASSIGN_OR_RETURN(const int64_t peak, answer.GetInt("peak_bytes", 0));
    if (!(seconds > 0)) return UnavailableError("'", system.report.name, "' gave no time");
    system.report.peak_bytes = static_cast<size_t>(std::max<int64_t>(0, peak));
    if (!counts) return OkStatus();
    measure.seconds.push_back(seconds);
    measure.processor_seconds.push_back(processor);
    return OkStatus();
  }

  const EncodeBenchOptions& options_;
  const CancelToken& cancel_;
  ProgressLine progress_;
  EncodeReport report_;
  std::string model_;
  Value info_;  // of the model, as a worker of ours tells it
  std::optional<ScratchFolder> folder_;
  std::vector<SetFiles> files_;
  std::vector<Contender> contenders_;
};

}  // namespace

int RunEncode(const EncodeBenchOptions& options, const CancelToken& cancel) {
  const Result<EncodeReport> report = EncodeBench(options, cancel).Run();
  if (!report.ok()) return Fail(report.status());
  const Status written = WriteReport({.json = EncodeReportToJson(*report),
                                      .text = EncodeReportToText(*report),
                                      .markdown = EncodeReportToMarkdown(*report),
                                      .json_path = options.json,
                                      .markdown_path = options.markdown});
  if (!written.ok()) return Fail(written);
  bool failed = false;
  for (const EncodeRun& run : report->runs) {
    failed = failed || std::any_of(run.systems.begin(), run.systems.end(),
                                   [](const EncodeSystemReport& s) { return !s.error.ok(); });
  }
  return report->info.complete && !failed ? kExitDone : kExitFailed;
}

}  // namespace rag::bench
