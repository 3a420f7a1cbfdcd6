// llama-bench, of llama.cpp or a fork of it: a process for each measurement, on the same file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag::bench {

struct LlamaBench {
  std::string name;                  // unique in a run
  std::vector<std::string> command;  // "env", "X=1", "path/llama-bench", "-mmp", "0"
  // It has -gp DEPTH,TOKENS (ik_llama.cpp's) instead of -d DEPTH (llama.cpp's).
  bool takes_pairs = false;
};

// "NAME=COMMAND", the command's words parted by spaces. Errors: invalid_argument.
Result<LlamaBench> ParseLlamaBench(std::string_view text);

// Starts it for what its help says, and sets takes_pairs. Errors: as RunLlamaBench.
Status AskForHelp(LlamaBench& peer, const CancelToken& cancel);

struct LlamaBenchWork {
  std::string model;
  int threads = 1;
  size_t prompt = 0;  // tokens of a prefill; 0: none
  size_t tokens = 0;  // decoded one after another; 0: none
  size_t depth = 0;   // tokens in the cache before they are decoded
};

// Tokens a second, once after a warm-up; 0 for what was not asked for.
struct LlamaBenchRates {
  double prefill = 0;
  double decode = 0;
};

// Errors: io_error when it cannot be started; unavailable when it fails, or prints something else
// than its JSON; resource_exhausted for over 1 MiB of it; cancelled, after which it has been
// killed.
Result<LlamaBenchRates> RunLlamaBench(const LlamaBench& peer, const LlamaBenchWork& work,
                                      const CancelToken& cancel);

}  // namespace rag::bench
