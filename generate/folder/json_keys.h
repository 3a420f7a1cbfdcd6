// Typed, bounded reads of a config.json.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

// Each read takes the names under which models of different families have a setting; the first that
// is there and not null counts. Every error is invalid_argument and names the file, the key and its
// value. `object` outlives this.
class JsonKeys {
 public:
  using Names = std::initializer_list<std::string_view>;

  JsonKeys(const Value& object, std::string where) : object_(object), where_(std::move(where)) {}

  // Null when none is there.
  const Value* Find(Names names) const;
  bool Has(Names names) const { return Find(names) != nullptr; }

  // An integer in [1, max]; without a fallback it must be there.
  Result<int64_t> Size(Names names, int64_t max, std::optional<int64_t> fallback = {}) const;
  // A finite number above 0.
  Result<double> Positive(Names names, std::optional<double> fallback = {}) const;
  Result<bool> Flag(Names names, bool fallback) const;
  Result<std::string> Text(Names names, std::string_view fallback) const;

  Status Wrong(Names names, std::string_view what) const;
  const std::string& where() const { return where_; }

 private:
  const Value& object_;
  const std::string where_;
};

}  // namespace rag
