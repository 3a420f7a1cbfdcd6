#include "apps/rag/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "engine/json.h"

namespace rag {
namespace {

bool WantsColours() {
  static const bool wants = StdoutIsTerminal() && std::getenv("NO_COLOR") == nullptr;
  return wants;
}

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

}  // namespace

void Print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void PrintJson(const Value& value) {
  Print(ToJson(value));
  Print("\n");
}

Value ErrorValue(const Status& error) { return ToValue(error); }

int Fail(const Status& error, bool json) {
  if (json) {
    PrintJson(ErrorValue(error));
  } else {
    std::fflush(stdout);
    std::fprintf(stderr, "rag: %s\n", Printable(error.message()).c_str());
  }
  return kExitFailed;
}

int FinishOutput(int code) {
  const bool lost = std::ferror(stdout) != 0;
  const bool flushed = std::fflush(stdout) == 0;
  if (flushed && !lost) return code;
  std::fprintf(stderr, "rag: cannot write to standard output%s%s\n", flushed ? "" : ": ",
               flushed ? "" : std::strerror(errno));
  return kExitFailed;
}

bool StdoutIsTerminal() { return ::isatty(STDOUT_FILENO) == 1; }
bool StderrIsTerminal() { return ::isatty(STDERR_FILENO) == 1; }

std::string Bold(std::string_view text) {
  return WantsColours() ? StrCat("\x1b[1m", text, "\x1b[0m") : std::string(text);
}

std::string Dim(std::string_view text) {
  return WantsColours() ? StrCat("\x1b[2m", text, "\x1b[0m") : std::string(text);
}

std::string Printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // The C1 controls are two bytes, 0xC2 and 0x80 to 0x9F.
    const bool c1 = byte == 0xc2 && i + 1 < text.size() &&
                    static_cast<unsigned char>(text[i + 1]) >= 0x80 &&
                    static_cast<unsigned char>(text[i + 1]) <= 0x9f;
    if (c1) ++i;
    const bool control = c1 || (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f;
    if (control) {
      if (byte != '\r') out += "\xef\xbf\xbd";
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string Snippet(std::string_view text, size_t max_characters) {
  std::string line;
  bool space = false;
  for (const char c : Printable(text)) {
    if (c == ' ' || c == '\n' || c == '\t') {
      space = !line.empty();
      continue;
    }
    if (space) line += ' ';
    space = false;
    line += c;
  }
  size_t characters = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if (IsContinuation(line[i])) continue;
    if (++characters > max_characters) {
      line.resize(i);
      return line + "…";
    }
  }
  return line;
}

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

}  // namespace rag
