// rag-bench: the benchmarks that users run.
#include <csignal>

#include "apps/rag_bench/search.h"

namespace {

rag::CancelToken cancel_token;

extern "C" void OnSignal(int) { cancel_token.Cancel(); }

// The first SIGINT or SIGTERM ends the run with what was measured; the handler is gone then, so a
// second one ends the process at once.
void InstallSignalHandlers() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // A peer's process that died is an error of its own, not the end of this one.
  std::signal(SIGPIPE, SIG_IGN);
}

}  // namespace

int main(int argc, char** argv) {
  rag::bench::SearchBenchOptions options;
  const int code = rag::bench::ParseCommandLine(argc, argv, options);
  if (code >= 0) return code;
  InstallSignalHandlers();
  return rag::bench::RunSearch(options, cancel_token);
}
