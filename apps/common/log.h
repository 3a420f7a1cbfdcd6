// The programs' log: one line an event on standard error, as text or JSON, through spdlog.
#pragma once

#include <memory>
#include <string_view>

#include "lib/base/log.h"
#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

enum class LogFormat { kText, kJson };

// Thread-safe.
class AppLog : public LogSink {
 public:
  // level: "debug", "info", "warning" or "error"; format: "text" or "json". Errors:
  // invalid_argument.
  static Result<std::unique_ptr<AppLog>> Create(std::string_view level, std::string_view format);
  ~AppLog() override;

  void Write(LogLevel level, std::string_view message) override;
  // With fields: `message key=value …`, or members of the JSON object. Control characters in the
  // values are escaped, so that no text from outside can forge a line.
  void Write(LogLevel level, std::string_view message, const Value::Object& fields);

 private:
  struct Impl;
  explicit AppLog(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rag
