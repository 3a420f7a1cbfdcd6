// One line on standard error that says what is being measured, when that is a terminal.
#pragma once

#include <string>

namespace rag::bench {

class ProgressLine {
 public:
  explicit ProgressLine(bool quiet);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // Drawn at most ten times a second, so that it costs the measurement nothing. A share below 0 is
  // not shown.
  void Show(const std::string& what, double share = -1);

 private:
  const bool shown_;
  double last_ = 0;
};

}  // namespace rag::bench
