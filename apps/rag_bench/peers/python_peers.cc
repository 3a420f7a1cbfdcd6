#include "apps/rag_bench/peers/python_peers.h"

#include <cstring>

#include "apps/rag_bench/peers/child.h"
#include "lib/base/file.h"
#include "lib/base/scratch_folder.h"

namespace rag::bench {
namespace {

constexpr size_t kMaxWidths = 1'000;

// What the systems share.
struct Process {
  ScratchFolder folder;
  std::unique_ptr<Child> child;  // ends before the folder does
};

class PythonSystem final : public System {
 public:
  PythonSystem(SystemInfo info, std::vector<size_t> widths, const Workload& workload,
               std::shared_ptr<Process> process)
      : info_(std::move(info)),
        widths_(std::move(widths)),
        workload_(workload),
        process_(std::move(process)) {}

  const SystemInfo& info() const override { return info_; }
  std::vector<size_t> widths() const override { return widths_; }

  // The script was given the whole base: `rows` are all of it.
  Result<Built> Build(std::span<const Row>, const CancelToken& cancel) override {
    RAG_ASSIGN_OR_RETURN(const Value answer,
                         process_->child->Ask({{"do", "build"}, {"system", info_.name}}, cancel));
    Built built;
    RAG_ASSIGN_OR_RETURN(built.seconds, answer.GetDouble("seconds", 0));
    RAG_ASSIGN_OR_RETURN(const int64_t resident, answer.GetInt("resident_bytes", 0));
    RAG_ASSIGN_OR_RETURN(const int64_t memory, answer.GetInt("memory_bytes", 0));
    built.resident_bytes = static_cast<size_t>(std::max<int64_t>(0, resident));
    built.memory_bytes = static_cast<size_t>(std::max<int64_t>(0, memory));
    return built;
  }

  Status Pin(int processor, const CancelToken& cancel) override {
    return process_->child->Ask({{"do", "pin"}, {"processor", processor}}, cancel).status();
  }

  Status Search(const SearchCall& call, const CancelToken& cancel, Pass& pass) override {
    const std::string path = process_->folder.file("found.i32");
    RAG_ASSIGN_OR_RETURN(const Value answer, process_->child->Ask({{"do", "search"},
                                                                   {"system", info_.name},
                                                                   {"width", call.width},
                                                                   {"queries", call.queries},
                                                                   {"found", path}},
                                                                  cancel));
    RAG_ASSIGN_OR_RETURN(pass.seconds, answer.GetDouble("seconds", 0));
    if (!(pass.seconds > 0)) return UnavailableError("'", info_.name, "' gave no time");
    pass.latencies_us.clear();
    const size_t bytes = call.queries * workload_.k * sizeof(Row);
    RAG_ASSIGN_OR_RETURN(const std::string found, ReadFile(path, bytes));
    if (found.size() != bytes) {
      return DataLossError("'", path, "': ", found.size(), " bytes, ", bytes, " were expected");
    }
    // -1, which stands for none, is kNoRow.
    pass.found.resize(call.queries * workload_.k);
    std::memcpy(pass.found.data(), found.data(), bytes);
    return OkStatus();
  }

 private:
  const SystemInfo info_;
  const std::vector<size_t> widths_;
  const Workload& workload_;
  const std::shared_ptr<Process> process_;
};

Result<std::unique_ptr<System>> ParseSystem(const Value& value, const Workload& workload,
                                            const std::shared_ptr<Process>& process) {
  SystemInfo info;
  info.source = "python";
  RAG_ASSIGN_OR_RETURN(info.name, value.GetString("name", ""));
  RAG_ASSIGN_OR_RETURN(info.version, value.GetString("version", ""));
  RAG_ASSIGN_OR_RETURN(info.width_name, value.GetString("width", "ef"));
  if (const Value* const parameters = value.Find("parameters");
      parameters != nullptr && parameters->is_object()) {
    info.parameters = parameters->as_object();
  }
  std::vector<size_t> widths;
  const Value* const listed = value.Find("widths");
  if (info.name.empty() || listed == nullptr || !listed->is_array() ||
      listed->as_array().size() > kMaxWidths) {
    return UnavailableError("the peers' script described a system as ", ToJson(value));
  }
  for (const Value& width : listed->as_array()) {
    if (!width.is_int() || width.as_int() < 0) {
      return UnavailableError("'", info.name, "': a width is ", ToJson(width));
    }
    widths.push_back(static_cast<size_t>(width.as_int()));
  }
  return std::unique_ptr<System>(
      std::make_unique<PythonSystem>(std::move(info), std::move(widths), workload, process));
}

}  // namespace

Result<PythonPeers> MakePythonPeers(const PythonPeersOptions& options, const Workload& workload,
                                    const CancelToken& cancel) {
  RAG_ASSIGN_OR_RETURN(ScratchFolder folder, ScratchFolder::Create("rag-bench"));
  const auto process = std::make_shared<Process>(Process{std::move(folder), nullptr});
  const std::string base = process->folder.file("base.npy");
  const std::string queries = process->folder.file("queries.npy");
  RAG_RETURN_IF_ERROR(WriteNpy(base, workload.base));
  RAG_RETURN_IF_ERROR(WriteNpy(queries, workload.queries));
  RAG_ASSIGN_OR_RETURN(process->child, Child::Start({options.python, options.script}));
  RAG_ASSIGN_OR_RETURN(
      const Value answer,
      process->child->Ask({{"do", "open"},
                           {"base", base},
                           {"queries", queries},
                           {"metric", workload.data.metric == Metric::kL2 ? "l2" : "ip"},
                           {"k", workload.k},
                           {"threads", workload.threads},
                           {"build_threads", workload.build_threads},
                           {"m", workload.m},
                           {"ef_construction", workload.ef_construction},
                           {"only", Value::Array(options.names.begin(), options.names.end())}},
                          cancel));
  PythonPeers out;
  if (const Value* const systems = answer.Find("systems");
      systems != nullptr && systems->is_array()) {
    for (const Value& value : systems->as_array()) {
      RAG_ASSIGN_OR_RETURN(std::unique_ptr<System> system, ParseSystem(value, workload, process));
      out.systems.push_back(std::move(system));
    }
  }
  if (const Value* const missing = answer.Find("missing");
      missing != nullptr && missing->is_array()) {
    for (const Value& text : missing->as_array()) {
      out.missing.push_back(text.is_string() ? text.as_string() : ToJson(text));
    }
  }
  return out;
}

}  // namespace rag::bench
