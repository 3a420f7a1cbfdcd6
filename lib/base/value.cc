#include "lib/base/value.h"

#include <algorithm>

namespace rag {

Value::Object::Object(std::initializer_list<Member> members) {
  members_.reserve(members.size());
  for (const Member& member : members) Set(member.first, member.second);
}

const Value* Value::Object::Find(std::string_view key) const {
  for (const Member& member : members_) {
    if (member.first == key) return &member.second;
  }
  return nullptr;
}

Value* Value::Object::Find(std::string_view key) {
  return const_cast<Value*>(std::as_const(*this).Find(key));
}

Value& Value::Object::Set(std::string_view key, Value value) {
  if (Value* found = Find(key)) {
    *found = std::move(value);
    return *found;
  }
  return Append(std::string(key), std::move(value));
}

Value& Value::Object::Append(std::string key, Value value) {
  members_.emplace_back(std::move(key), std::move(value));
  return members_.back().second;
}

bool Value::Object::Erase(std::string_view key) {
  return std::erase_if(members_, [key](const Member& member) { return member.first == key; }) > 0;
}

bool Value::Object::operator==(const Object& other) const {
  if (size() != other.size()) return false;
  for (const auto& [key, value] : members_) {
    const Value* match = other.Find(key);
    if (match == nullptr || !(*match == value)) return false;
  }
  return true;
}

std::string_view Value::type_name() const {
  static constexpr std::string_view kNames[] = {"null",   "bool",  "int",   "double",
                                                "string", "array", "object"};
  return kNames[data_.index()];
}

bool Value::operator==(const Value& other) const {
  if (is_number() && other.is_number()) {
    if (is_int() && other.is_int()) return as_int() == other.as_int();
    return as_double() == other.as_double();
  }
  return data_ == other.data_;
}

static Status WrongType(std::string_view key, std::string_view wanted, const Value& found) {
  return InvalidArgumentError("'", key, "' must be ", wanted, ", not ", found.type_name());
}

Result<bool> Value::GetBool(std::string_view key, bool fallback) const {
  const Value* found = Find(key);
  if (found == nullptr || found->is_null()) return fallback;
  if (!found->is_bool()) return WrongType(key, "true or false", *found);
  return found->as_bool();
}

Result<int64_t> Value::GetInt(std::string_view key, int64_t fallback) const {
  const Value* found = Find(key);
  if (found == nullptr || found->is_null()) return fallback;
  if (!found->is_int()) return WrongType(key, "an integer", *found);
  return found->as_int();
}

Result<double> Value::GetDouble(std::string_view key, double fallback) const {
  const Value* found = Find(key);
  if (found == nullptr || found->is_null()) return fallback;
  if (!found->is_number()) return WrongType(key, "a number", *found);
  return found->as_double();
}

Result<std::string> Value::GetString(std::string_view key, std::string_view fallback) const {
  const Value* found = Find(key);
  if (found == nullptr || found->is_null()) return std::string(fallback);
  if (!found->is_string()) return WrongType(key, "a string", *found);
  return found->as_string();
}

}  // namespace rag
