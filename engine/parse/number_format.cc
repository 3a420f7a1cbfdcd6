#include "engine/parse/number_format.h"

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>

namespace rag {
namespace {

constexpr int64_t kDaySeconds = 86'400;
constexpr double kMaxDays = 2'958'466;  // 10000-01-01
constexpr int64_t kFalseLeapDay = 60;   // 1900-02-29

char Lower(char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); }

std::string ClockText(int64_t seconds) {
  char text[40];
  std::snprintf(text, sizeof text, "%02lld:%02lld:%02lld", static_cast<long long>(seconds / 3'600),
                static_cast<long long>(seconds / 60 % 60), static_cast<long long>(seconds % 60));
  return text;
}

}  // namespace

DateParts DatePartsOf(std::string_view code) {
  DateParts parts;
  bool months_or_minutes = false;
  for (size_t i = 0; i < code.size() && code[i] != ';'; ++i) {
    const char c = Lower(code[i]);
    if (c == '"') {
      i = code.find('"', i + 1);
      if (i == std::string_view::npos) break;
    } else if (c == '\\' || c == '_' || c == '*') {
      ++i;  // the next character is shown, or its width kept
    } else if (c == '[') {
      const size_t end = code.find(']', i);
      if (end == std::string_view::npos) break;
      // [h], [mm] and [s] count on; [Red], [$-409] and [<1] are of no interest.
      const std::string_view inside = code.substr(i + 1, end - i - 1);
      if (!inside.empty() &&
          (Lower(inside[0]) == 'h' || Lower(inside[0]) == 'm' || Lower(inside[0]) == 's') &&
          inside.find_first_not_of(inside[0]) == std::string_view::npos) {
        parts.time = true;
        parts.duration = true;
      }
      i = end;
    } else if (c == 'y' || c == 'd') {
      parts.date = true;
    } else if (c == 'h' || c == 's') {
      parts.time = true;
    } else if (c == 'm') {
      months_or_minutes = true;
    } else if (c == 'g' && code.substr(i, 7) == "General") {
      return {};
    } else if (c == 'e' && i + 1 < code.size() && (code[i + 1] == '+' || code[i + 1] == '-')) {
      return {};  // a power of ten
    }
  }
  parts.date = parts.date || (months_or_minutes && !parts.time);
  return parts;
}

DateParts BuiltInDateParts(int id) {
  if (id == 22) return {true, true, false};
  if (id == 46) return {false, true, true};
  if ((id >= 18 && id <= 21) || id == 45 || id == 47 || (id >= 32 && id <= 35)) {
    return {false, true, false};
  }
  // 27 to 58 are the East Asian ones.
  if ((id >= 14 && id <= 17) || (id >= 27 && id <= 36) || (id >= 50 && id <= 58)) {
    return {true, false, false};
  }
  return {};
}

std::string DateText(double days, DateParts parts, bool system_1904) {
  if (!(days >= 0) || days >= kMaxDays) return "";
  const int64_t seconds = std::llround(days * kDaySeconds);
  if (parts.duration) return ClockText(seconds);
  const std::string clock = ClockText(seconds % kDaySeconds);
  // A moment of day 0 is a time, whatever its format shows.
  if (!parts.date || (!system_1904 && seconds < kDaySeconds)) return clock;
  int64_t day = seconds / kDaySeconds;
  std::string date = "1900-02-29";
  if (system_1904 || day != kFalseLeapDay) {
    using std::chrono::sys_days;
    using std::chrono::year;
    const sys_days first =
        system_1904 ? sys_days(year(1904) / 1 / 1) : sys_days(year(1899) / 12 / 30);
    if (!system_1904 && day < kFalseLeapDay) ++day;
    const std::chrono::year_month_day ymd(first + std::chrono::days(day));
    char text[40];
    std::snprintf(text, sizeof text, "%04d-%02u-%02u", static_cast<int>(ymd.year()),
                  static_cast<unsigned>(ymd.month()), static_cast<unsigned>(ymd.day()));
    date = text;
  }
  return parts.time ? date + " " + clock : date;
}

}  // namespace rag
