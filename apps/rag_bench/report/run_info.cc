#include "apps/rag_bench/report/run_info.h"

#include "apps/rag_bench/measure/machine.h"
#include "lib/base/status.h"

namespace rag::bench {

RunInfo BeginRun(const std::string& command) {
  return {
      .processor = ProcessorName(), .date = UtcNow(), .version = RAG_VERSION, .command = command};
}

void AddRunInfo(const RunInfo& info, Value::Object& out) {
  out.Set("machine", Value::Object{{"processor", info.processor}, {"isa", info.isa}});
  out.Set("date", info.date);
  out.Set("version", info.version);
  out.Set("command", info.command);
  out.Set("complete", info.complete);
  if (!info.missing.empty()) {
    out.Set("missing", Value::Array(info.missing.begin(), info.missing.end()));
  }
}

std::string RunNotes(const RunInfo& info) {
  std::string out;
  for (const std::string& missing : info.missing) out += StrCat("not measured: ", missing, "\n");
  if (!info.complete) out += "Stopped early: this is what was measured.\n";
  return out;
}

}  // namespace rag::bench
