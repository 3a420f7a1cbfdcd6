#include "lib/model/gguf_keys.h"

#include <cmath>

namespace rag {
namespace {

// Far above every number that a model has, and low enough that it is one as an f32 too.
constexpr double kMaxNumber = 1e12;

std::string Shown(const Value& value) {
  if (value.is_array() || value.is_object()) return StrCat("of type ", value.type_name());
  // JSON has no NaN.
  return value.is_double() ? StrCat(value.as_double()) : ToJson(value);
}

}  // namespace

Status GgufKeys::Wrong(std::string_view name, std::string_view what) const {
  const Value* value = Find(name);
  if (value == nullptr) {
    return InvalidArgumentError(file_.path(), ": key '", prefix_, name, "' is missing");
  }
  return InvalidArgumentError(file_.path(), ": key '", prefix_, name, "' is ", Shown(*value),
                              ", not ", what);
}

Result<size_t> GgufKeys::Size(std::string_view name, int64_t min, int64_t max,
                              int64_t fallback) const {
  const Value* value = Find(name);
  if (value == nullptr && fallback >= 0) return static_cast<size_t>(fallback);
  if (value == nullptr || !value->is_int()) return Wrong(name, "one integer");
  if (value->as_int() < min || value->as_int() > max) {
    return Wrong(name, StrCat("between ", min, " and ", max));
  }
  return static_cast<size_t>(value->as_int());
}

Result<double> GgufKeys::Number(std::string_view name, double fallback, bool zero) const {
  const Value* value = Find(name);
  if (value == nullptr && !std::isnan(fallback)) return fallback;
  const bool fits = value != nullptr && value->is_number() && value->as_double() <= kMaxNumber &&
                    (value->as_double() > 0 || (zero && value->as_double() == 0));
  if (!fits) {
    return Wrong(name, StrCat(zero ? "a number between 0 and " : "a number above 0 and at most ",
                              kMaxNumber));
  }
  return value->as_double();
}

Result<double> GgufKeys::Positive(std::string_view name, double fallback) const {
  return Number(name, fallback, false);
}

Result<double> GgufKeys::NonNegative(std::string_view name, double fallback) const {
  return Number(name, fallback, true);
}

Result<std::string> GgufKeys::Text(std::string_view name, std::string_view fallback) const {
  const Value* value = Find(name);
  if (value == nullptr) return std::string(fallback);
  if (!value->is_string()) return Wrong(name, "a string");
  return value->as_string();
}

Result<bool> GgufKeys::Flag(std::string_view name, bool fallback) const {
  const Value* value = Find(name);
  if (value == nullptr) return fallback;
  if (!value->is_bool()) return Wrong(name, "true or false");
  return value->as_bool();
}

Result<std::vector<bool>> GgufKeys::Flags(std::string_view name, size_t count) const {
  const Value* value = Find(name);
  std::vector<bool> flags;
  if (value == nullptr || !value->is_array()) return flags;
  for (const Value& item : value->as_array()) {
    // Converters write truth values as numbers too.
    if (!item.is_bool() && !item.is_int()) return Wrong(name, "an array of flags");
    flags.push_back(item.is_bool() ? item.as_bool() : item.as_int() != 0);
  }
  if (flags.size() != count) return Wrong(name, StrCat("an array of ", count, " flags"));
  return flags;
}

}  // namespace rag
