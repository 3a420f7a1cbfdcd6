#include "lib/template/item.h"

#include <algorithm>
#include <cmath>

#include "lib/template/text.h"

namespace rag::jinja {
namespace {

Status TooDeep() {
  return ResourceExhaustedError("a value is nested more than ", kMaxItemDepth, " levels deep");
}

Status AppendItems(std::string& out, const std::vector<Item>& items, int depth) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    RAG_RETURN_IF_ERROR(AppendRepr(out, items[i], depth + 1));
  }
  return OkStatus();
}

}  // namespace

std::string_view TypeName(const Item& item) {
  switch (item.kind) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kGenerator:
      return "generator";
    case Kind::kView:
      return item.text;
    case Kind::kDict:
      return "dict";
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kMacro:
      return "Macro";
    case Kind::kFunction:
    case Kind::kMethod:
      return "function";
  }
  return "object";
}

bool IsTrue(const Item& item) {
  switch (item.kind) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
      return item.boolean;
    case Kind::kInt:
      return item.integer != 0;
    case Kind::kFloat:
      return item.number != 0;
    case Kind::kString:
      return !item.text.empty();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kView:
      return !item.list->items.empty();
    case Kind::kDict:
      return !item.dict->members.empty();
    default:
      return true;
  }
}

Status AppendText(std::string& out, const Item& item) {
  if (item.is_string()) {
    out += item.text;
    return OkStatus();
  }
  if (item.is(Kind::kUndefined)) return OkStatus();
  return AppendRepr(out, item);
}

Status AppendRepr(std::string& out, const Item& item, int depth) {
  if (depth > kMaxItemDepth) return TooDeep();
  switch (item.kind) {
    case Kind::kUndefined:
      out += "Undefined";
      return OkStatus();
    case Kind::kNone:
      out += "None";
      return OkStatus();
    case Kind::kBool:
      out += item.boolean ? "True" : "False";
      return OkStatus();
    case Kind::kInt:
      out += std::to_string(item.integer);
      return OkStatus();
    case Kind::kFloat:
      out += FormatFloat(item.number);
      return OkStatus();
    case Kind::kString:
      AppendQuoted(out, item.text);
      return OkStatus();
    case Kind::kList:
      out += '[';
      RAG_RETURN_IF_ERROR(AppendItems(out, item.list->items, depth));
      out += ']';
      return OkStatus();
    case Kind::kTuple:
      out += '(';
      RAG_RETURN_IF_ERROR(AppendItems(out, item.list->items, depth));
      out += item.list->items.size() == 1 ? ",)" : ")";
      return OkStatus();
    case Kind::kView:
      out.append(item.text).append("([");
      RAG_RETURN_IF_ERROR(AppendItems(out, item.list->items, depth));
      out += "])";
      return OkStatus();
    case Kind::kDict: {
      out += '{';
      bool first = true;
      for (const auto& [key, value] : item.dict->members) {
        if (!first) out += ", ";
        first = false;
        RAG_RETURN_IF_ERROR(AppendRepr(out, key, depth + 1));
        out += ": ";
        RAG_RETURN_IF_ERROR(AppendRepr(out, value, depth + 1));
      }
      out += '}';
      return OkStatus();
    }
    default:
      return InvalidArgumentError("a ", TypeName(item), " cannot be printed");
  }
}

Result<bool> Equal(const Item& a, const Item& b, int depth) {
  if (depth > kMaxItemDepth) return TooDeep();
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.as_int() == b.as_int();
    return a.as_double() == b.as_double();
  }
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      return a.text == b.text;
    case Kind::kList:
    case Kind::kTuple: {
      const std::vector<Item>& left = a.list->items;
      const std::vector<Item>& right = b.list->items;
      if (left.size() != right.size()) return false;
      for (size_t i = 0; i < left.size(); ++i) {
        RAG_ASSIGN_OR_RETURN(const bool same, Equal(left[i], right[i], depth + 1));
        if (!same) return false;
      }
      return true;
    }
    case Kind::kDict: {
      if (a.dict->members.size() != b.dict->members.size()) return false;
      for (const auto& [key, value] : a.dict->members) {
        const Item* match = FindMember(*b.dict, key);
        if (match == nullptr) return false;
        RAG_ASSIGN_OR_RETURN(const bool same, Equal(value, *match, depth + 1));
        if (!same) return false;
      }
      return true;
    }
    case Kind::kFunction:
      return a.text == b.text;
    case Kind::kMethod:
      return a.method == b.method;
    default:
      return a.list == b.list;  // the same object
  }
}

Result<bool> Less(const Item& a, const Item& b, int depth) {
  if (depth > kMaxItemDepth) return TooDeep();
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.as_int() < b.as_int();
    return a.as_double() < b.as_double();
  }
  // UTF-8 keeps the order of code points.
  if (a.is_string() && b.is_string()) return a.text < b.text;
  if (a.is_sequence() && a.kind == b.kind) {
    const std::vector<Item>& left = a.list->items;
    const std::vector<Item>& right = b.list->items;
    for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      RAG_ASSIGN_OR_RETURN(const bool same, Equal(left[i], right[i], depth + 1));
      if (!same) return Less(left[i], right[i], depth + 1);
    }
    return left.size() < right.size();
  }
  if (a.is(Kind::kUndefined) || b.is(Kind::kUndefined)) {
    return InvalidArgumentError(a.is(Kind::kUndefined) ? a.text : b.text);
  }
  return InvalidArgumentError("'<' and '>' are not supported between ", TypeName(a), " and ",
                              TypeName(b));
}

const Item* FindMember(const DictObject& dict, const Item& key) {
  for (const auto& [name, value] : dict.members) {
    const Result<bool> same = Equal(name, key);
    if (same.ok() && *same) return &value;
  }
  return nullptr;
}

const Item* FindMember(const DictObject& dict, std::string_view key) {
  for (const auto& [name, value] : dict.members) {
    if (name.is_string() && name.text == key) return &value;
  }
  return nullptr;
}

void SetMember(DictObject& dict, const Item& key, const Item& value) {
  if (const Item* found = FindMember(dict, key)) {
    *const_cast<Item*>(found) = value;
  } else {
    dict.members.emplace_back(key, value);
  }
}

namespace {

void AppendBreak(std::string& out, const JsonStyle& style, int depth) {
  if (!style.indented) return;
  out += '\n';
  for (int i = 0; i < depth; ++i) out += style.indent;
}

Status AppendJsonKey(std::string& out, const Item& key) {
  switch (key.kind) {
    case Kind::kString:
      AppendJsonString(out, key.text);
      return OkStatus();
    case Kind::kNone:
      out += "\"null\"";
      return OkStatus();
    case Kind::kBool:
      out += key.boolean ? "\"true\"" : "\"false\"";
      return OkStatus();
    case Kind::kInt:
    case Kind::kFloat:
      out += '"';
      RAG_RETURN_IF_ERROR(AppendRepr(out, key));
      out += '"';
      return OkStatus();
    default:
      return InvalidArgumentError("tojson: a ", TypeName(key), " cannot be a key");
  }
}

}  // namespace

Status AppendJson(std::string& out, const Item& item, const JsonStyle& style, int depth) {
  if (depth > kMaxItemDepth) return TooDeep();
  switch (item.kind) {
    case Kind::kNone:
      out += "null";
      return OkStatus();
    case Kind::kBool:
      out += item.boolean ? "true" : "false";
      return OkStatus();
    case Kind::kInt:
      out += std::to_string(item.integer);
      return OkStatus();
    case Kind::kFloat:
      if (std::isnan(item.number)) {
        out += "NaN";
      } else if (std::isinf(item.number)) {
        out += item.number > 0 ? "Infinity" : "-Infinity";
      } else {
        out += FormatFloat(item.number);
      }
      return OkStatus();
    case Kind::kString:
      AppendJsonString(out, item.text);
      return OkStatus();
    case Kind::kList:
    case Kind::kTuple: {
      if (item.list->items.empty()) {
        out += "[]";
        return OkStatus();
      }
      out += '[';
      bool first = true;
      for (const Item& member : item.list->items) {
        if (!first) out += style.item_separator;
        first = false;
        AppendBreak(out, style, depth + 1);
        RAG_RETURN_IF_ERROR(AppendJson(out, member, style, depth + 1));
      }
      AppendBreak(out, style, depth);
      out += ']';
      return OkStatus();
    }
    case Kind::kDict: {
      std::vector<std::pair<Item, Item>> members = item.dict->members;
      if (members.empty()) {
        out += "{}";
        return OkStatus();
      }
      if (style.sort_keys) {
        Status problem;
        std::stable_sort(members.begin(), members.end(), [&](const auto& a, const auto& b) {
          const Result<bool> less = Less(a.first, b.first);
          if (!less.ok()) problem = less.status();
          return less.ok() && *less;
        });
        RAG_RETURN_IF_ERROR(problem);
      }
      out += '{';
      bool first = true;
      for (const auto& [key, value] : members) {
        if (!first) out += style.item_separator;
        first = false;
        AppendBreak(out, style, depth + 1);
        RAG_RETURN_IF_ERROR(AppendJsonKey(out, key));
        out += style.key_separator;
        RAG_RETURN_IF_ERROR(AppendJson(out, value, style, depth + 1));
      }
      AppendBreak(out, style, depth);
      out += '}';
      return OkStatus();
    }
    default:
      return InvalidArgumentError("tojson: a ", TypeName(item), " cannot be written as JSON");
  }
}

}  // namespace rag::jinja
