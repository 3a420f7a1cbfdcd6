#include "apps/rag_bench/progress.h"

#include <unistd.h>

#include <cstdio>

#include "apps/rag_bench/measure/machine.h"

namespace rag::bench {
namespace {

constexpr double kIntervalSeconds = 0.1;

}  // namespace

ProgressLine::ProgressLine(bool quiet) : shown_(!quiet && ::isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
  if (shown_ && last_ != 0) std::fputs("\r\x1b[K", stderr);
}

void ProgressLine::Show(const std::string& what, double share) {
  // A line without a share begins something long and is never left out.
  if (!shown_ || (share >= 0 && Now() - last_ < kIntervalSeconds)) return;
  last_ = Now();
  if (share < 0) {
    std::fprintf(stderr, "\r\x1b[K%s", what.c_str());
  } else {
    std::fprintf(stderr, "\r\x1b[K%3.0f%%  %s", share * 100, what.c_str());
  }
  std::fflush(stderr);
}

}  // namespace rag::bench
