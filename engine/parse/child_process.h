// A program that is run for its output, under limits.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

struct ChildLimits {
  int timeout_ms = 60'000;
  size_t max_output_bytes = size_t{256} << 20;
  size_t max_memory_bytes = size_t{4} << 30;  // of address space
};

struct ChildOutput {
  std::string output;      // what it wrote to standard output
  std::string error_text;  // the first 4 KiB of standard error
  int exit_code = 0;       // -1: ended by a signal
};

// Runs arguments[0] (looked up in PATH) with `input` as its standard input, an unnamed file in
// memory, and waits for it. It gets no other open file and next to no environment, may write no
// file, and is killed when a limit is passed. Errors: failed_precondition when the program is not
// there, deadline_exceeded, resource_exhausted, cancelled, io_error.
Result<ChildOutput> RunChild(const std::vector<std::string>& arguments, std::string_view input,
                             const ChildLimits& limits, const CancelToken* cancel);

}  // namespace rag
