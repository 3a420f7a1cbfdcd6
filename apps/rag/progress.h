// A progress bar on standard error.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "engine/engine.h"

namespace rag {

// Draws from its own thread while it lives, and only when standard error is a terminal.
class ProgressBar {
 public:
  // line: what to show after so many seconds; called from the bar's thread.
  ProgressBar(std::function<std::string(double seconds)> line, bool quiet);
  // progress outlives the bar.
  ProgressBar(const IngestProgress& progress, bool quiet);
  // `work` names it: "backup". progress outlives the bar.
  ProgressBar(std::string work, const CareProgress& progress, bool quiet);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

 private:
  void Draw();

  const std::function<std::string(double seconds)> line_;
  const std::chrono::steady_clock::time_point start_;
  std::mutex mutex_;  // guards done_
  std::condition_variable wake_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace rag
