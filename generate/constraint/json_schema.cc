// JSON Schema -> Language: what is written is valid by construction, so a keyword that could not be
// kept is an error. Here what holds for every type; schema_types.cc has the types.
#include <algorithm>

#include "generate/constraint/languages.h"
#include "generate/constraint/schema_parser.h"

namespace rag {
namespace {

using Id = Expressions::Id;

constexpr int kMaxSchemaDepth = 64;

// Keywords that say nothing about what is valid.
constexpr std::string_view kAnnotations[] = {
    "title",    "description", "default",    "examples", "$schema",     "$id",    "$comment",
    "readOnly", "writeOnly",   "deprecated", "$defs",    "definitions", "$anchor"};

}  // namespace

Result<Language> SchemaParser::Run() {
  RAG_ASSIGN_OR_RETURN(language_.root, RuleOf(root_, "#", 0));
  return std::move(language_);
}

Result<size_t> SchemaParser::RuleOf(const Value& schema, const std::string& place, int depth) {
  const auto known = rules_.find(place);
  if (known != rules_.end()) return known->second;
  if (depth > kMaxSchemaDepth) {
    return ResourceExhaustedError(place, ": schemas are nested deeper than ", kMaxSchemaDepth);
  }
  const size_t rule = e().NewRule(place);
  rules_.emplace(place, rule);
  RAG_ASSIGN_OR_RETURN(const Id body, Parse(schema, place, depth));
  e().Define(rule, body);
  return rule;
}

Result<Id> SchemaParser::UseOf(const Value& schema, const std::string& place, int depth) {
  RAG_ASSIGN_OR_RETURN(const size_t rule, RuleOf(schema, place, depth + 1));
  return e().Use(rule);
}

Result<Id> SchemaParser::Parse(const Value& value, const std::string& place, int depth) {
  if (value.is_bool()) {
    return value.as_bool() ? json_.AnyValue() : e().Choice({});
  }
  if (!value.is_object()) return InvalidArgumentError(place, ": a schema is no object");
  Schema schema{value, place, {}};
  RAG_ASSIGN_OR_RETURN(const Id id, ParseKind(schema, depth));
  for (const auto& [key, ignored] : value.as_object()) {
    const bool annotation =
        std::find(std::begin(kAnnotations), std::end(kAnnotations), key) != std::end(kAnnotations);
    if (!annotation && schema.used.count(key) == 0) return schema.Unknown(key);
  }
  return id;
}

Result<Id> SchemaParser::ParseKind(Schema& schema, int depth) {
  if (const Value* reference = schema.Take("$ref"))
    return ParseReference(schema, *reference, depth);
  if (const Value* constant = schema.Take("const")) return Literals(schema, {*constant});
  if (const Value* list = schema.Take("enum")) {
    if (!list->is_array() || list->as_array().empty()) return schema.Wrong("enum", "a list");
    return Literals(schema, list->as_array());
  }
  for (const std::string_view key : {"anyOf", "oneOf", "allOf"}) {
    if (const Value* list = schema.Take(key)) return ParseBranches(schema, key, *list, depth);
  }
  return ParseTypes(schema, depth);
}

bool SchemaParser::HasType(const Value& value, std::string_view type) {
  if (type == "integer") return value.is_int();
  if (type == "number") return value.is_number();
  return value.type_name() == (type == "boolean" ? "bool" : type);
}

Result<Id> SchemaParser::Literals(Schema& schema, const Value::Array& values) {
  RAG_ASSIGN_OR_RETURN(const std::vector<std::string> types, TypeNames(schema));
  std::vector<Id> ways;
  for (const Value& value : values) {
    const bool fits =
        types.empty() || std::any_of(types.begin(), types.end(),
                                     [&](const std::string& type) { return HasType(value, type); });
    if (fits) ways.push_back(e().Literal(ToJson(value)));
  }
  return e().Choice(std::move(ways));
}

Result<std::vector<std::string>> SchemaParser::TypeNames(Schema& schema) {
  std::vector<std::string> names;
  const Value* type = schema.Take("type");
  if (type == nullptr) return names;
  const Value::Array list = type->is_array() ? type->as_array() : Value::Array{*type};
  for (const Value& item : list) {
    if (!item.is_string()) return schema.Wrong("type", "a name or a list of names");
    names.push_back(item.as_string());
  }
  if (names.empty()) return schema.Wrong("type", "a name or a list of names");
  return names;
}

Result<Id> SchemaParser::ParseReference(Schema& schema, const Value& reference, int depth) {
  if (!reference.is_string() || !reference.as_string().starts_with("#")) {
    return schema.Wrong("$ref", "a place in the same schema (\"#/$defs/name\")");
  }
  const std::string& target = reference.as_string();
  const Value* found = &root_;
  for (size_t at = 1; at < target.size() && found != nullptr;) {
    const size_t end = std::min(target.find('/', at + 1), target.size());
    std::string part = target.substr(at + 1, end - at - 1);
    for (const auto& [from, to] : {std::pair{"~1", "/"}, std::pair{"~0", "~"}}) {
      for (size_t i = part.find(from); i != std::string::npos; i = part.find(from, i + 1)) {
        part.replace(i, 2, to);
      }
    }
    found = found->Find(part);
    at = end;
  }
  if (found == nullptr) {
    return InvalidArgumentError(schema.place, ": '$ref' names '", target, "', which is not there");
  }
  RAG_ASSIGN_OR_RETURN(const size_t rule, RuleOf(*found, target, depth + 1));
  return e().Use(rule);
}

std::set<std::string> SchemaParser::TypesOf(const Value& branch) {
  std::set<std::string> types;
  const Value* constant = branch.Find("const");
  // Of numbers several texts can be one value.
  if (constant != nullptr && constant->is_string()) return {ToJson(*constant)};
  if (constant != nullptr) return types;
  const Value* type = branch.Find("type");
  if (type == nullptr) return types;
  if (type->is_string()) types.insert(type->as_string());
  if (type->is_array()) {
    for (const Value& item : type->as_array()) {
      if (item.is_string()) types.insert(item.as_string());
    }
  }
  if (types.count("integer") != 0) types.insert("number");
  return types;
}

Result<Id> SchemaParser::ParseBranches(Schema& schema, std::string_view key, const Value& list,
                                       int depth) {
  if (!list.is_array() || list.as_array().empty()) return schema.Wrong(key, "a list of schemas");
  if (key == "allOf" && list.as_array().size() > 1) {
    return UnsupportedError(schema.place, ": 'allOf' of several schemas is not supported");
  }
  std::set<std::string> seen;
  bool constants = false;
  bool others = false;
  std::vector<Id> ways;
  for (size_t i = 0; i < list.as_array().size(); ++i) {
    const Value& branch = list.as_array()[i];
    if (key == "oneOf" && list.as_array().size() > 1) {
      // A value that two branches allow would be invalid.
      const std::set<std::string> types = TypesOf(branch);
      (branch.Find("const") != nullptr ? constants : others) = true;
      bool apart = !types.empty() && !(constants && others);
      for (const std::string& type : types) apart = apart && seen.insert(type).second;
      if (!apart) {
        return UnsupportedError(schema.place,
                                ": 'oneOf' is only supported where its branches "
                                "have types, or constants, that differ");
      }
    }
    RAG_ASSIGN_OR_RETURN(const Id way,
                         UseOf(branch, StrCat(schema.place, "/", key, "/", i), depth));
    ways.push_back(way);
  }
  return e().Choice(std::move(ways));
}

Result<Id> SchemaParser::ParseTypes(Schema& schema, int depth) {
  RAG_ASSIGN_OR_RETURN(std::vector<std::string> types, TypeNames(schema));
  if (types.empty()) {
    // Without a type the keywords say for which they are.
    const auto has = [&](std::initializer_list<std::string_view> keys) {
      return std::any_of(keys.begin(), keys.end(),
                         [&](std::string_view key) { return schema.value.Find(key) != nullptr; });
    };
    if (has({"properties", "required", "additionalProperties"})) {
      types = {"object"};
    } else if (has({"items", "prefixItems", "minItems", "maxItems"})) {
      types = {"array"};
    } else if (has({"pattern", "minLength", "maxLength", "format"})) {
      types = {"string"};
    } else if (has({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})) {
      types = {"number"};
    } else {
      return json_.AnyValue();
    }
  }
  std::vector<Id> ways;
  for (const std::string& type : types) {
    RAG_ASSIGN_OR_RETURN(const Id way, ParseType(schema, type, depth));
    ways.push_back(way);
  }
  return e().Choice(std::move(ways));
}

Result<Id> SchemaParser::ParseType(Schema& schema, const std::string& type, int depth) {
  if (type == "null") return e().Literal("null");
  if (type == "boolean") return json_.Boolean();
  if (type == "string") return ParseString(schema);
  if (type == "integer" || type == "number") return ParseNumber(schema, type == "integer");
  if (type == "array") return ParseArray(schema, depth);
  if (type == "object") return ParseObject(schema, depth);
  return InvalidArgumentError(schema.place, ": the type '", type, "' does not exist");
}

Result<Language> ParseJsonSchema(std::string_view text) {
  RAG_ASSIGN_OR_RETURN(const Value schema, ParseJson(text));
  return SchemaParser(schema).Run();
}

}  // namespace rag
