#include "apps/common/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <string>

namespace rag {
namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// Bare when it is one plain word, else as a JSON string, which escapes quotes and control
// characters.
void AppendField(std::string& line, const Value& value) {
  const auto plain = [](unsigned char c) {
    return c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\';
  };
  if (value.is_string()) {
    const std::string& text = value.as_string();
    bool bare = !text.empty();
    for (char c : text) bare = bare && plain(static_cast<unsigned char>(c));
    if (bare) {
      line += text;
      return;
    }
  }
  line += ToJson(value);
}

// The message of a text line: it may have spaces, but no control characters.
void AppendMessage(std::string& line, std::string_view message) {
  static constexpr char kHex[] = "0123456789abcdef";
  for (char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      line += c;
    } else if (c == '\n') {
      line += "\\n";
    } else {
      line += "\\x";
      line += kHex[byte >> 4];
      line += kHex[byte & 15];
    }
  }
}

}  // namespace

struct AppLog::Impl {
  Impl(LogFormat log_format, LogLevel level)
      : format(log_format), logger("rag", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    logger.set_pattern(format == LogFormat::kJson
                           ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})"
                           : "%Y-%m-%dT%H:%M:%S.%eZ %l %v",
                       spdlog::pattern_time_type::utc);
    logger.set_level(ToSpdlog(level));
    logger.flush_on(spdlog::level::trace);
    // A full disk or closed standard error must not be answered on standard error.
    logger.set_error_handler([](const std::string&) {});
  }
  const LogFormat format;
  spdlog::logger logger;
};

AppLog::AppLog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AppLog::~AppLog() = default;

Result<std::unique_ptr<AppLog>> AppLog::Create(std::string_view level, std::string_view format) {
  LogLevel parsed_level;
  if (level == "debug") {
    parsed_level = LogLevel::kDebug;
  } else if (level == "info") {
    parsed_level = LogLevel::kInfo;
  } else if (level == "warning") {
    parsed_level = LogLevel::kWarning;
  } else if (level == "error") {
    parsed_level = LogLevel::kError;
  } else {
    return InvalidArgumentError("log level '", level, "' is not debug, info, warning or error");
  }
  if (format != "text" && format != "json") {
    return InvalidArgumentError("log format '", format, "' is not text or json");
  }
  return std::unique_ptr<AppLog>(new AppLog(std::make_unique<Impl>(
      format == "json" ? LogFormat::kJson : LogFormat::kText, parsed_level)));
}

void AppLog::Write(LogLevel level, std::string_view message) { Write(level, message, {}); }

void AppLog::Write(LogLevel level, std::string_view message, const Value::Object& fields) {
  const spdlog::level::level_enum spdlog_level = ToSpdlog(level);
  if (!impl_->logger.should_log(spdlog_level)) return;
  std::string line;
  if (impl_->format == LogFormat::kJson) {
    line = "\"message\":" + ToJson(Value(message));
    for (const auto& [key, value] : fields) line += "," + ToJson(Value(key)) + ":" + ToJson(value);
  } else {
    AppendMessage(line, message);
    for (const auto& [key, value] : fields) {
      line += ' ';
      line += key;
      line += '=';
      AppendField(line, value);
    }
  }
  impl_->logger.log(spdlog_level, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace rag
