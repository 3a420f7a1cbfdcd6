// Typed, bounded reads of a GGUF file's metadata.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/model/model_file.h"

namespace rag {

// Keys that begin with one prefix. Every error is invalid_argument and names the file and the whole
// key. `file` outlives this.
class GgufKeys {
 public:
  GgufKeys(const GgufFile& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  bool Has(std::string_view name) const { return Find(name) != nullptr; }

  // An integer in [min, max]; `fallback` < 0 means that the key must be there.
  Result<size_t> Size(std::string_view name, int64_t min, int64_t max, int64_t fallback) const;
  // A number above 0 and at most 1e12; a NaN fallback means that the key must be there.
  Result<double> Positive(std::string_view name, double fallback) const;
  // A number between 0 and 1e12.
  Result<double> NonNegative(std::string_view name, double fallback) const;
  Result<std::string> Text(std::string_view name, std::string_view fallback) const;
  Result<bool> Flag(std::string_view name, bool fallback) const;
  // `count` flags: an array of that many, else empty when the key is absent or no array.
  Result<std::vector<bool>> Flags(std::string_view name, size_t count) const;

 private:
  const Value* Find(std::string_view name) const {
    return file_.FindMetadata(prefix_ + std::string(name));
  }
  Result<double> Number(std::string_view name, double fallback, bool zero) const;
  Status Wrong(std::string_view name, std::string_view what) const;

  const GgufFile& file_;
  const std::string prefix_;
};

}  // namespace rag
