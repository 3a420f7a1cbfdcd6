#include "embed/config_file.h"

#include <filesystem>

#include "lib/base/file.h"

namespace rag {
namespace {

// More than the longest lists of labels take; what is parsed may take forty times as much.
constexpr size_t kMaxConfigBytes = size_t{1} << 20;

}  // namespace

bool ConfigFile::Has(std::string_view key) const {
  const Value* found = value_.Find(key);
  return found != nullptr && !found->is_null();
}

Result<size_t> ConfigFile::Size(std::string_view key, int64_t low, int64_t high,
                                std::optional<int64_t> fallback) const {
  const Value* found = value_.Find(key);
  if (found == nullptr || found->is_null()) {
    if (fallback.has_value()) return static_cast<size_t>(*fallback);
    return InvalidArgumentError(path_, ": '", key, "' is missing");
  }
  if (!found->is_int()) {
    return InvalidArgumentError(path_, ": '", key, "' is a ", found->type_name(),
                                ", not an integer");
  }
  if (found->as_int() < low || found->as_int() > high) {
    return InvalidArgumentError(path_, ": '", key, "' ", found->as_int(), " is not between ", low,
                                " and ", high);
  }
  return static_cast<size_t>(found->as_int());
}

Result<double> ConfigFile::Number(std::string_view key, double low, double high,
                                  double fallback) const {
  Result<double> found = value_.GetDouble(key, fallback);
  if (!found.ok()) return found.status().WithContext(path_);
  if (!(*found >= low && *found <= high)) {
    return InvalidArgumentError(path_, ": '", key, "' ", *found, " is not between ", low, " and ",
                                high);
  }
  return found;
}

Result<bool> ConfigFile::Bool(std::string_view key, bool fallback) const {
  Result<bool> found = value_.GetBool(key, fallback);
  if (!found.ok()) return found.status().WithContext(path_);
  return found;
}

Result<std::string> ConfigFile::String(std::string_view key, std::string_view fallback) const {
  Result<std::string> found = value_.GetString(key, fallback);
  if (!found.ok()) return found.status().WithContext(path_);
  return found;
}

bool FileExists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

std::string JoinPath(const std::string& folder, std::string_view name) {
  return (std::filesystem::path(folder) / name).string();
}

Result<Value> ReadJsonFile(const std::string& path, std::string& source_bytes) {
  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxConfigBytes));
  source_bytes += StrCat(std::filesystem::path(path).filename().string(), '\n', text.size(), '\n');
  source_bytes += text;
  Result<Value> value = ParseJson(text);
  if (!value.ok()) return value.status().WithContext(path);
  return value;
}

Result<ConfigFile> ReadConfigFile(const std::string& path, std::string& source_bytes) {
  RAG_ASSIGN_OR_RETURN(Value value, ReadJsonFile(path, source_bytes));
  if (!value.is_object()) {
    return InvalidArgumentError(path, ": a JSON ", value.type_name(), ", not an object");
  }
  return ConfigFile(path, std::move(value));
}

}  // namespace rag
