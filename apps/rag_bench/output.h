// What every command does with what it found.
#pragma once

#include <string>

#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag::bench {

// Prints the error; returns kExitFailed.
int Fail(const Status& error);

// A report's forms and where they go: text to standard output, JSON and Markdown into files where a
// path is named. json_path "-": JSON instead of the text. Errors: io_error.
struct ReportOutput {
  Value json;
  std::string text;
  std::string markdown;
  std::string json_path;
  std::string markdown_path;
};
Status WriteReport(const ReportOutput& output);

}  // namespace rag::bench
