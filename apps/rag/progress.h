// A progress bar on standard error.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "engine/ingest.h"

namespace rag {

// Draws from its own thread while it lives, and only when standard error is a terminal.
class ProgressBar {
 public:
  // progress outlives the bar.
  ProgressBar(const IngestProgress& progress, bool quiet);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

 private:
  void Draw();
  std::string Line() const;

  const IngestProgress& progress_;
  const std::chrono::steady_clock::time_point start_;
  std::mutex mutex_;  // guards done_
  std::condition_variable wake_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace rag
