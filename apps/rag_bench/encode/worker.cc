#include "apps/rag_bench/encode/worker.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "apps/rag_bench/command.h"
#include "apps/rag_bench/measure/machine.h"
#include "embed/encoder.h"
#include "lib/base/value.h"

namespace rag::bench {
namespace {

constexpr std::string_view kFirstText = "A sentence to begin with.";

class Worker {
 public:
  Result<Value> Answer(const Value& request) {
    RAG_ASSIGN_OR_RETURN(const std::string what, request.GetString("do", ""));
    if (what == "open") return Open(request);
    if (what == "encode") return Encode(request);
    return InvalidArgumentError("do '", what, "' is none of open, encode and quit");
  }

 private:
  Result<Value> Open(const Value& request) {
    std::vector<int> processors;
    if (const Value* const listed = request.Find("processors"); listed && listed->is_array()) {
      for (const Value& processor : listed->as_array()) {
        if (processor.is_int()) processors.push_back(static_cast<int>(processor.as_int()));
      }
    }
    if (!processors.empty() && !PinTo(processors)) {
      return UnavailableError("the system does not pin this process");
    }
    RAG_ASSIGN_OR_RETURN(const std::string model, request.GetString("model", ""));
    RAG_ASSIGN_OR_RETURN(const int64_t threads, request.GetInt("threads", 1));
    RAG_ASSIGN_OR_RETURN(const std::string precision, request.GetString("precision", "f32"));
    EncoderOptions options;
    RAG_ASSIGN_OR_RETURN(options.precision, ParsePrecision(precision));
    const size_t base_bytes = ResidentBytes();
    const double begin = Now();
    RAG_ASSIGN_OR_RETURN(runtime_, Runtime::Create({.threads = static_cast<int>(threads)}));
    RAG_ASSIGN_OR_RETURN(encoder_, Encoder::Load(model, *runtime_, options));
    const double load_seconds = Now() - begin;
    RAG_RETURN_IF_ERROR(encoder_->Encode({{kFirstText}}, TextRole::kPlain).status());
    const double first_seconds = Now() - begin;
    const EncoderInfo& info = encoder_->info();
    Value::Array pooling;
    for (const Pooling mode : info.pooling) pooling.emplace_back(PoolingName(mode));
    return Value(Value::Object{{"load_seconds", load_seconds},
                               {"first_seconds", first_seconds},
                               {"base_bytes", base_bytes},
                               {"weight_bytes", info.weight_bytes},
                               {"isa", IsaName(runtime_->isa())},
                               {"dim", info.dim},
                               {"max_tokens", info.max_tokens},
                               {"pooling", std::move(pooling)},
                               {"normalize", info.normalize}});
  }

  Result<Value> Encode(const Value& request) {
    if (encoder_ == nullptr) return FailedPreconditionError("no model is open");
    RAG_ASSIGN_OR_RETURN(const std::string path, request.GetString("texts", ""));
    RAG_ASSIGN_OR_RETURN(const int64_t asked, request.GetInt("batch", 0));
    RAG_ASSIGN_OR_RETURN(const std::string vectors, request.GetString("vectors", ""));
    RAG_RETURN_IF_ERROR(Read(path));
    const std::vector<std::string_view> views(texts_.begin(), texts_.end());
    const size_t batch =
        asked <= 0 ? std::max<size_t>(1, views.size()) : static_cast<size_t>(asked);
    std::ofstream out;
    if (!vectors.empty()) out.open(vectors, std::ios::binary);
    double seconds = 0;
    double processor_seconds = 0;
    size_t tokens = 0;
    for (size_t first = 0; first < views.size(); first += batch) {
      const auto part = std::span(views).subspan(first, std::min(batch, views.size() - first));
      const double begin = Now();
      const double processor_begin = ProcessorSeconds();
      RAG_ASSIGN_OR_RETURN(const Embeddings found, encoder_->Encode(part, TextRole::kPlain));
      seconds += Now() - begin;
      processor_seconds += ProcessorSeconds() - processor_begin;
      tokens += found.stats.tokens;
      if (!out.is_open()) continue;
      out.write(reinterpret_cast<const char*>(found.vectors.data()),
                static_cast<std::streamsize>(found.vectors.rows() * found.vectors.cols() *
                                             sizeof(float)));
    }
    if (!vectors.empty() && !out.good()) return IoError("cannot write '", vectors, "'");
    return Value(Value::Object{{"texts", views.size()},
                               {"tokens", tokens},
                               {"seconds", seconds},
                               {"processor_seconds", processor_seconds},
                               {"peak_bytes", PeakResidentBytes()}});
  }

  // One JSON string a line; kept until another file is asked for.
  Status Read(const std::string& path) {
    if (path == path_) return OkStatus();
    std::ifstream file(path);
    if (!file) return NotFoundError("'", path, "' cannot be read");
    texts_.clear();
    for (std::string line; std::getline(file, line);) {
      RAG_ASSIGN_OR_RETURN(const Value text, ParseJson(line));
      if (!text.is_string()) return InvalidArgumentError(path, ": a line is no string");
      texts_.push_back(text.as_string());
    }
    path_ = path;
    return OkStatus();
  }

  std::unique_ptr<Runtime> runtime_;  // outlives the encoder
  std::unique_ptr<Encoder> encoder_;
  std::string path_;
  std::vector<std::string> texts_;
};

}  // namespace

int RunEncodeWorker(std::istream& requests, std::ostream& answers) {
  Worker worker;
  for (std::string line; std::getline(requests, line);) {
    const Result<Value> request = ParseJson(line);
    const Value* const what = request.ok() ? request->Find("do") : nullptr;
    if (what != nullptr && *what == Value("quit")) break;
    const Result<Value> answer = request.ok() ? worker.Answer(*request) : request;
    answers << ToJson(answer.ok() ? *answer
                                  : Value(Value::Object{{"error", answer.status().message()}}))
            << std::endl;
  }
  return kExitDone;
}

}  // namespace rag::bench
