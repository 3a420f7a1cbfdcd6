// Value: a JSON-like value, the one dynamic type of the project (metadata, configuration files,
// template variables, GGUF and tokenizer files, wire messages), and its JSON text form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "lib/base/status.h"

namespace rag {

class Value {
 public:
  using Array = std::vector<Value>;
  using Member = std::pair<std::string, Value>;
  // Keeps the order of insertion; keys are unique (a later one replaces the value in place).
  class Object {
   public:
    Object() = default;
    Object(std::initializer_list<Member> members);
    // Null when there is no such key. Linear: objects here are small. (ParseJson keeps large
    // objects usable through iteration; vocabularies are read that way.)
    const Value* Find(std::string_view key) const;
    Value* Find(std::string_view key);
    Value& Set(std::string_view key, Value value);
    // Without looking for an earlier key: for a caller that knows that it is new.
    Value& Append(std::string key, Value value);
    bool Erase(std::string_view key);
    size_t size() const { return members_.size(); }
    bool empty() const { return members_.empty(); }
    auto begin() const { return members_.begin(); }
    auto end() const { return members_.end(); }
    auto begin() { return members_.begin(); }
    auto end() { return members_.end(); }
    bool operator==(const Object& other) const;

   private:
    std::vector<Member> members_;
  };

  Value() = default;                                                  // null
  Value(std::nullptr_t) {}                                            // NOLINT: implicit by design
  Value(bool value) : data_(value) {}                                 // NOLINT
  Value(int value) : data_(static_cast<int64_t>(value)) {}            // NOLINT
  Value(unsigned value) : data_(static_cast<int64_t>(value)) {}       // NOLINT
  Value(long value) : data_(static_cast<int64_t>(value)) {}           // NOLINT
  Value(long long value) : data_(static_cast<int64_t>(value)) {}      // NOLINT
  Value(unsigned long value) : data_(static_cast<int64_t>(value)) {}  // NOLINT
  Value(unsigned long long value) : data_(static_cast<int64_t>(value)) {}  // NOLINT
  Value(double value) : data_(value) {}                                    // NOLINT
  Value(float value) : data_(static_cast<double>(value)) {}                // NOLINT
  Value(const char* value) : data_(std::string(value)) {}                  // NOLINT
  Value(std::string_view value) : data_(std::string(value)) {}             // NOLINT
  Value(std::string value) : data_(std::move(value)) {}                    // NOLINT
  Value(Array value) : data_(std::move(value)) {}                          // NOLINT
  Value(Object value) : data_(std::move(value)) {}                         // NOLINT

  bool is_null() const { return data_.index() == 0; }
  bool is_bool() const { return data_.index() == 1; }
  bool is_int() const { return data_.index() == 2; }
  bool is_double() const { return data_.index() == 3; }
  bool is_number() const { return is_int() || is_double(); }
  bool is_string() const { return data_.index() == 4; }
  bool is_array() const { return data_.index() == 5; }
  bool is_object() const { return data_.index() == 6; }
  // "null", "bool", "int", "double", "string", "array" or "object".
  std::string_view type_name() const;

  // Each needs its is_…() to hold.
  bool as_bool() const { return std::get<bool>(data_); }
  int64_t as_int() const { return std::get<int64_t>(data_); }
  double as_double() const {
    return is_int() ? static_cast<double>(as_int()) : std::get<double>(data_);
  }
  const std::string& as_string() const { return std::get<std::string>(data_); }
  const Array& as_array() const { return std::get<Array>(data_); }
  Array& as_array() { return std::get<Array>(data_); }
  const Object& as_object() const { return std::get<Object>(data_); }
  Object& as_object() { return std::get<Object>(data_); }

  // The member of an object, or null when this is no object or has no such key.
  const Value* Find(std::string_view key) const {
    return is_object() ? as_object().Find(key) : nullptr;
  }

  // The member `key` of an object as a type, or `fallback` when it is absent or null; an
  // invalid_argument naming the key when it is there and of another type.
  Result<bool> GetBool(std::string_view key, bool fallback) const;
  Result<int64_t> GetInt(std::string_view key, int64_t fallback) const;
  Result<double> GetDouble(std::string_view key, double fallback) const;
  Result<std::string> GetString(std::string_view key, std::string_view fallback) const;

  // Numbers compare by value (1 == 1.0), everything else by type and value.
  bool operator==(const Value& other) const;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> data_;
};

// Bounds on what ParseJson accepts.
struct JsonLimits {
  size_t max_bytes = size_t{256} << 20;
  int max_depth = 128;
};

// Parses one JSON text (RFC 8259; UTF-8). Numbers without fraction or exponent that fit are ints.
// Errors: invalid_argument with the byte offset; resource_exhausted past a limit.
Result<Value> ParseJson(std::string_view text, const JsonLimits& limits = {});

// indent < 0: one line. Broken UTF-8 in strings is written as U+FFFD; non-finite numbers as null.
std::string ToJson(const Value& value, int indent = -1);

}  // namespace rag
