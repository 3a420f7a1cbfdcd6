// RunInfo: what every run of rag-bench says of itself.
#pragma once

#include <string>
#include <vector>

#include "lib/base/value.h"

namespace rag::bench {

struct RunInfo {
  std::string processor;
  std::string isa;
  std::string date;
  std::string version;
  std::string command;
  bool complete = true;              // false: stopped, this is what was measured
  std::vector<std::string> missing;  // peers that could not be run, with the reason
};

// Of this processor, now. The instruction set is left to whoever computes.
RunInfo BeginRun(const std::string& command);

// "machine", "date", "version", "command" and "complete"; "missing" where there is any.
void AddRunInfo(const RunInfo& info, Value::Object& out);
// What was not measured, a line each.
std::string RunNotes(const RunInfo& info);

}  // namespace rag::bench
