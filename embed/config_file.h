// The JSON files of a model's folder, with errors that name file and key.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

// One JSON object. Every error is an invalid_argument with the file's path and the key.
class ConfigFile {
 public:
  ConfigFile(std::string path, Value value) : path_(std::move(path)), value_(std::move(value)) {}

  const Value& value() const { return value_; }
  const std::string& path() const { return path_; }
  // Whether `key` is there and not null.
  bool Has(std::string_view key) const;

  // The integer `key`, or `fallback` when it is absent; without a fallback it must be there.
  Result<size_t> Size(std::string_view key, int64_t low, int64_t high,
                      std::optional<int64_t> fallback = std::nullopt) const;
  // A number from low to high, or `fallback` when it is absent.
  Result<double> Number(std::string_view key, double low, double high, double fallback) const;
  Result<bool> Bool(std::string_view key, bool fallback = false) const;
  Result<std::string> String(std::string_view key, std::string_view fallback) const;

 private:
  std::string path_;
  Value value_;
};

bool FileExists(const std::string& path);
std::string JoinPath(const std::string& folder, std::string_view name);

// Reads a JSON file and adds its name and bytes to `source_bytes`. Errors: those of ReadFile;
// invalid_argument naming the file.
Result<Value> ReadJsonFile(const std::string& path, std::string& source_bytes);
// The same for a file that must hold an object.
Result<ConfigFile> ReadConfigFile(const std::string& path, std::string& source_bytes);

}  // namespace rag
