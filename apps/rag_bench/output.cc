#include "apps/rag_bench/output.h"

#include <cstdio>

#include "apps/rag_bench/command.h"
#include "lib/base/file.h"

namespace rag::bench {

int Fail(const Status& error) {
  std::fflush(stdout);
  std::fprintf(stderr, "rag-bench: %s\n", error.message().c_str());
  return kExitFailed;
}

Status WriteReport(const ReportOutput& output) {
  const std::string json = ToJson(output.json, 2) + "\n";
  const bool json_only = output.json_path == "-";
  const std::string& text = json_only ? json : output.text;
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (!json_only && !output.json_path.empty()) {
    RAG_RETURN_IF_ERROR(WriteFileAtomic(output.json_path, json));
  }
  if (output.markdown_path.empty()) return OkStatus();
  return WriteFileAtomic(output.markdown_path, output.markdown);
}

}  // namespace rag::bench
