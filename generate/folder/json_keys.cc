#include "generate/folder/json_keys.h"

#include <cmath>

namespace rag {
namespace {

constexpr size_t kMaxShownBytes = 200;

}  // namespace

const Value* JsonKeys::Find(Names names) const {
  for (const std::string_view name : names) {
    const Value* value = object_.Find(name);
    if (value != nullptr && !value->is_null()) return value;
  }
  return nullptr;
}

Status JsonKeys::Wrong(Names names, std::string_view what) const {
  for (const std::string_view name : names) {
    const Value* value = object_.Find(name);
    if (value == nullptr || value->is_null()) continue;
    std::string shown = ToJson(*value);
    if (shown.size() > kMaxShownBytes) shown = StrCat("of type ", value->type_name());
    return InvalidArgumentError(where_, ": key '", name, "' is ", shown, ", not ", what);
  }
  return InvalidArgumentError(where_, ": key '", *names.begin(), "' is missing; it should be ",
                              what);
}

Result<int64_t> JsonKeys::Size(Names names, int64_t max, std::optional<int64_t> fallback) const {
  const Value* value = Find(names);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_int() || value->as_int() < 1 || value->as_int() > max) {
    return Wrong(names, StrCat("an integer between 1 and ", max));
  }
  return value->as_int();
}

Result<double> JsonKeys::Positive(Names names, std::optional<double> fallback) const {
  const Value* value = Find(names);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_number() || !std::isfinite(value->as_double()) ||
      !(value->as_double() > 0)) {
    return Wrong(names, "a number above 0");
  }
  return value->as_double();
}

Result<bool> JsonKeys::Flag(Names names, bool fallback) const {
  const Value* value = Find(names);
  if (value == nullptr) return fallback;
  if (!value->is_bool()) return Wrong(names, "true or false");
  return value->as_bool();
}

Result<std::string> JsonKeys::Text(Names names, std::string_view fallback) const {
  const Value* value = Find(names);
  if (value == nullptr) return std::string(fallback);
  if (!value->is_string()) return Wrong(names, "a string");
  return value->as_string();
}

}  // namespace rag
