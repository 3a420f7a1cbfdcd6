// The only file that sees nlohmann/json: its SAX parser fills a Value, so no second tree is built.
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lib/base/value.h"

namespace rag {
namespace {

class ValueBuilder {
 public:
  ValueBuilder(Value& root, int max_depth) : max_depth_(max_depth) { stack_.push_back(&root); }

  bool null() { return Put(Value()); }
  bool boolean(bool value) { return Put(Value(value)); }
  bool number_integer(int64_t value) { return Put(Value(value)); }
  bool number_unsigned(uint64_t value) {
    if (value > static_cast<uint64_t>(INT64_MAX)) return Put(Value(static_cast<double>(value)));
    return Put(Value(static_cast<int64_t>(value)));
  }
  bool number_float(double value, const std::string&) { return Put(Value(value)); }
  bool string(std::string& value) { return Put(Value(std::move(value))); }
  bool binary(nlohmann::json::binary_t&) { return false; }

  bool start_object(size_t) { return Open(Value(Value::Object())); }
  bool end_object() { return Close(); }
  bool start_array(size_t) { return Open(Value(Value::Array())); }
  bool end_array() { return Close(); }
  bool key(std::string& key) {
    // Appended without a look for an earlier equal key, which would make a vocabulary quadratic;
    // Find returns the first of two equal keys.
    slot_ = &stack_.back()->as_object().Append(std::move(key), Value());
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& error) {
    std::string_view what = error.what();
    const size_t colon = what.find(": ");
    if (colon != std::string_view::npos) what.remove_prefix(colon + 2);
    status_ = InvalidArgumentError("JSON at byte ", position, ": ", what);
    return false;
  }
  const Status& status() const { return status_; }

 private:
  Value* Slot() {
    if (stack_.size() == 1) return stack_[0];
    if (stack_.back()->is_array()) return &stack_.back()->as_array().emplace_back();
    return slot_;
  }
  bool Put(Value value) {
    *Slot() = std::move(value);
    return true;
  }
  bool Open(Value value) {
    if (static_cast<int>(stack_.size()) > max_depth_) {
      status_ = ResourceExhaustedError("JSON nested deeper than ", max_depth_, " levels");
      return false;
    }
    Value* slot = Slot();
    *slot = std::move(value);
    stack_.push_back(slot);
    return true;
  }
  bool Close() {
    stack_.pop_back();
    return true;
  }

  int max_depth_;
  std::vector<Value*> stack_;  // [0] is the root's place, the last the container being filled
  Value* slot_ = nullptr;      // where the value of the key just read goes
  Status status_;
};

// Broken UTF-8 would make nlohmann's serializer fail, hence error_handler_t::replace.
void AppendString(std::string& out, const std::string& text) {
  out += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void Append(std::string& out, const Value& value, int indent, int depth) {
  const auto new_line = [&](int level) {
    if (indent < 0) return;
    out += '\n';
    out.append(static_cast<size_t>(indent) * static_cast<size_t>(level), ' ');
  };
  if (value.is_null()) {
    out += "null";
  } else if (value.is_bool()) {
    out += value.as_bool() ? "true" : "false";
  } else if (value.is_int()) {
    out += std::to_string(value.as_int());
  } else if (value.is_double()) {
    out += std::isfinite(value.as_double()) ? nlohmann::json(value.as_double()).dump() : "null";
  } else if (value.is_string()) {
    AppendString(out, value.as_string());
  } else if (value.is_array()) {
    out += '[';
    bool first = true;
    for (const Value& item : value.as_array()) {
      if (!first) out += ',';
      first = false;
      new_line(depth + 1);
      Append(out, item, indent, depth + 1);
    }
    if (!first) new_line(depth);
    out += ']';
  } else {
    out += '{';
    bool first = true;
    for (const auto& [key, item] : value.as_object()) {
      if (!first) out += ',';
      first = false;
      new_line(depth + 1);
      AppendString(out, key);
      out += indent < 0 ? ":" : ": ";
      Append(out, item, indent, depth + 1);
    }
    if (!first) new_line(depth);
    out += '}';
  }
}

}  // namespace

Result<Value> ParseJson(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return ResourceExhaustedError("JSON text of ", text.size(), " bytes is over the limit of ",
                                  limits.max_bytes);
  }
  Value root;
  ValueBuilder builder(root, limits.max_depth);
  if (!nlohmann::json::sax_parse(text, &builder)) {
    if (!builder.status().ok()) return builder.status();
    return InvalidArgumentError("JSON text is not valid");
  }
  return root;
}

std::string ToJson(const Value& value, int indent) {
  std::string out;
  Append(out, value, indent, 0);
  return out;
}

}  // namespace rag
