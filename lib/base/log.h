// Where the library says what happened besides its results. It never prints: the application gives
// a sink (the apps use spdlog), and without one nothing is said.
#pragma once

#include <string_view>

namespace rag {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

class LogSink {
 public:
  virtual ~LogSink() = default;
  // Called from any thread; must not call back into the library.
  virtual void Write(LogLevel level, std::string_view message) = 0;
};

}  // namespace rag
