// JSON schemas: random tokens of real vocabularies write what a validator of our own, which knows
// nothing of grammars, accepts.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "lib/base/value.h"
#include "tests/generate/constraint_support.h"

namespace rag {
namespace {

using Kind = OutputConstraint::Kind;
using Catch::Matchers::Contains;

// The keywords that the random schemas below have, after json-schema.org's validation draft.
class Validator {
 public:
  explicit Validator(const Value& root) : root_(root) {}

  bool Valid(const Value& schema, const Value& value) const {
    if (schema.is_bool()) return schema.as_bool();
    if (const Value* reference = schema.Find("$ref")) {
      const std::string& target = reference->as_string();
      if (target == "#") return Valid(root_, value);
      return Valid(*root_.Find("$defs")->Find(target.substr(8)), value);
    }
    if (const Value* constant = schema.Find("const"); constant && !(*constant == value))
      return false;
    if (const Value* list = schema.Find("enum");
        list && !Any(*list, [&](const Value& item) { return item == value; })) {
      return false;
    }
    if (const Value* list = schema.Find("anyOf");
        list && !Any(*list, [&](const Value& branch) { return Valid(branch, value); })) {
      return false;
    }
    if (const Value* list = schema.Find("oneOf")) {
      int matching = 0;
      for (const Value& branch : list->as_array()) matching += Valid(branch, value) ? 1 : 0;
      if (matching != 1) return false;
    }
    if (const Value* type = schema.Find("type")) {
      const bool fits =
          type->is_string()
              ? HasType(value, type->as_string())
              : Any(*type, [&](const Value& t) { return HasType(value, t.as_string()); });
      if (!fits) return false;
    }
    return NumberValid(schema, value) && StringValid(schema, value) && ArrayValid(schema, value) &&
           ObjectValid(schema, value);
  }

 private:
  template <class F>
  static bool Any(const Value& list, F f) {
    for (const Value& item : list.as_array()) {
      if (f(item)) return true;
    }
    return false;
  }
  static double Bound(const Value& schema, std::string_view key, double fallback) {
    const Value* found = schema.Find(key);
    return found == nullptr ? fallback : found->as_double();
  }
  static bool HasType(const Value& value, const std::string& type) {
    if (type == "integer") return value.is_int();
    if (type == "number") return value.is_number();
    if (type == "boolean") return value.is_bool();
    return value.type_name() == type;
  }
  static bool NumberValid(const Value& schema, const Value& value) {
    if (!value.is_number()) return true;
    const double number = value.as_double();
    return number >= Bound(schema, "minimum", -INFINITY) &&
           number <= Bound(schema, "maximum", INFINITY) &&
           number > Bound(schema, "exclusiveMinimum", -INFINITY) &&
           number < Bound(schema, "exclusiveMaximum", INFINITY);
  }
  static bool StringValid(const Value& schema, const Value& value) {
    if (!value.is_string()) return true;
    double length = 0;
    for (const char c : value.as_string()) length += (c & 0xC0) != 0x80 ? 1 : 0;
    return length >= Bound(schema, "minLength", 0) &&
           length <= Bound(schema, "maxLength", INFINITY);
  }
  bool ArrayValid(const Value& schema, const Value& value) const {
    if (!value.is_array()) return true;
    const double size = static_cast<double>(value.as_array().size());
    if (size < Bound(schema, "minItems", 0) || size > Bound(schema, "maxItems", INFINITY)) {
      return false;
    }
    const Value* items = schema.Find("items");
    const Value* prefix = schema.Find("prefixItems");
    for (size_t i = 0; i < value.as_array().size(); ++i) {
      const bool first = prefix != nullptr && i < prefix->as_array().size();
      const Value* own = first ? &prefix->as_array()[i] : items;
      if (own != nullptr && !Valid(*own, value.as_array()[i])) return false;
    }
    return true;
  }
  bool ObjectValid(const Value& schema, const Value& value) const {
    if (!value.is_object()) return true;
    if (const Value* required = schema.Find("required")) {
      for (const Value& name : required->as_array()) {
        if (value.Find(name.as_string()) == nullptr) return false;
      }
    }
    const Value* properties = schema.Find("properties");
    const Value* additional = schema.Find("additionalProperties");
    for (const auto& [name, member] : value.as_object()) {
      const Value* own = properties == nullptr ? nullptr : properties->Find(name);
      if (own == nullptr) own = additional;
      if (own != nullptr && !Valid(*own, member)) return false;
    }
    return true;
  }

  const Value& root_;
};

class SchemaMaker {
 public:
  explicit SchemaMaker(std::mt19937& random) : random_(random) {}

  Value Make(int depth) {
    const size_t kind = Pick(depth > 0 ? 12 : 7);
    switch (kind) {
      case 0:
        return Value::Object{{"type", "null"}};
      case 1:
        return Value::Object{{"type", "boolean"}};
      case 2:
        return Number("integer");
      case 3:
        return Number("number");
      case 4:
        return String();
      case 5:
        return Value::Object{{"enum", Value::Array{"a \"b\"", 3, nullptr, "\xC3\xA9", -2.5, true}}};
      case 6:
        return Value::Object{{"const", Value::Object{{"k", Value::Array{1, "x"}}}}};
      case 7:
      case 8:
        return Array(depth);
      case 9:
      case 10:
        return Object(depth);
      default:
        return Branches(depth);
    }
  }

 private:
  size_t Pick(size_t count) { return random_() % count; }
  bool Coin() { return Pick(2) == 0; }

  Value Number(const char* type) {
    Value::Object schema = {{"type", type}};
    const int low = static_cast<int>(Pick(2000)) - 1000;
    if (Coin()) schema.Set(Coin() ? "minimum" : "exclusiveMinimum", low);
    if (Coin()) {
      schema.Set(Coin() ? "maximum" : "exclusiveMaximum", low + 3 + static_cast<int>(Pick(500)));
    }
    return schema;
  }
  Value String() {
    Value::Object schema = {{"type", "string"}};
    const size_t min = Pick(5);
    if (Coin()) schema.Set("minLength", min);
    if (Coin()) schema.Set("maxLength", min + Pick(9));
    return schema;
  }
  Value Array(int depth) {
    Value::Object schema = {{"type", "array"}};
    const size_t min = Pick(3);
    if (Coin()) schema.Set("minItems", min);
    if (Coin()) schema.Set("maxItems", min + Pick(4));
    if (Coin()) schema.Set("prefixItems", Value::Array{Make(depth - 1), Make(depth - 1)});
    if (Coin()) schema.Set("items", Make(depth - 1));
    return schema;
  }
  Value Object(int depth) {
    Value::Object properties;
    Value::Array required;
    const char* names[] = {"a", "ab", "key with \"quotes\"", "\xED\x95\x9C", "", "z/~"};
    for (const char* name : names) {
      if (Coin()) continue;
      properties.Set(name, Make(depth - 1));
      if (Coin()) required.emplace_back(name);
    }
    Value::Object schema = {{"type", "object"}, {"properties", std::move(properties)}};
    if (Coin()) required.emplace_back("more");
    if (!required.empty()) schema.Set("required", std::move(required));
    if (Pick(3) == 0) schema.Set("additionalProperties", Make(depth - 1));
    return schema;
  }
  Value Branches(int depth) {
    if (Coin()) {
      return Value::Object{{"anyOf", Value::Array{Make(depth - 1), Make(depth - 1)}}};
    }
    return Value::Object{{"oneOf", Value::Array{Number("integer"), String(),
                                                Value::Object{{"type", "null"}}, Array(depth)}}};
  }

  std::mt19937& random_;
};

// With RAG_SCHEMA_OUTPUTS each schema and text is appended to that file too, for another validator.
void Record(const Value& schema, const std::string& text) {
  const char* path = std::getenv("RAG_SCHEMA_OUTPUTS");
  if (path == nullptr) return;
  std::ofstream(path, std::ios::app)
      << ToJson(Value::Object{{"schema", schema}, {"text", text}}) << "\n";
}

TEST_CASE("whatever random tokens write under 1,000 random schemas parses and validates") {
  const auto vocabularies = test::SharedVocabularies();
  if (vocabularies.empty()) RAG_SKIP("no tok-llamacpp in the shared data");
  const size_t count = test::Workload(1000, 40, "random schemas");
  std::mt19937 random(17);
  size_t tried = 0;
  for (size_t i = 0; tried < count; ++i) {
    REQUIRE(i < 3 * count);
    const Value schema = SchemaMaker(random).Make(3);
    const auto& vocabulary = *vocabularies[i % vocabularies.size()];
    const OutputConstraint constraint = {Kind::kJsonSchema, ToJson(schema), {}};
    auto compiled = CompiledConstraint::Compile(constraint, vocabulary.table, test::AmpleMemory());
    INFO(ToJson(schema));
    if (!compiled.ok()) {
      // A number without a whole one between its bounds; required, but nothing is allowed.
      INFO(compiled.status().ToString());
      REQUIRE((compiled.status().code() == StatusCode::kUnsupported ||
               compiled.status().message().find("nothing can be written") != std::string::npos));
      continue;
    }
    ++tried;
    TokenConstraint tokens(std::move(compiled).value());
    const size_t budget = tokens.shortest() + 5 + random() % 60;
    const std::string text = test::DrawText(tokens, vocabulary.tokens, random, budget);
    INFO(text);
    const auto value = ParseJson(text);
    REQUIRE_OK(value);
    CHECK(Validator(schema).Valid(schema, *value));
    Record(schema, text);
  }
}

TEST_CASE("schemas of real use: references, patterns, formats, any JSON") {
  const auto vocabularies = test::SharedVocabularies();
  if (vocabularies.empty()) RAG_SKIP("no tok-llamacpp in the shared data");
  const char* schemas[] = {
      R"({"$defs": {"node": {"type": "object", "properties": {"value": {"type": "integer"},
          "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
          "required": ["value", "next"]}}, "$ref": "#/$defs/node"})",
      R"({"type": "array", "items": {"$ref": "#"}, "maxItems": 3})",
      R"({"type": "object"})",
      R"({})",
      R"({"type": "object", "properties": {"answer": {"type": "string"}, "sources": {"type":
          "array", "items": {"type": "integer", "minimum": 1, "maximum": 12}}},
          "required": ["answer", "sources"], "additionalProperties": false})",
      R"({"type": ["string", "null"], "maxLength": 4, "title": "a name", "default": null})",
  };
  std::mt19937 random(19);
  for (const char* text : schemas) {
    const auto schema = ParseJson(text);
    REQUIRE_OK(schema);
    for (const auto& vocabulary : vocabularies) {
      const auto compiled = test::MustCompile({Kind::kJsonSchema, text, {}}, vocabulary->table);
      for (int i = 0; i < 5; ++i) {
        const std::string written =
            test::DrawText(*compiled, vocabulary->tokens, random, compiled->shortest() + 30);
        INFO(text << "\n" << written);
        const auto value = ParseJson(written);
        REQUIRE_OK(value);
        CHECK(Validator(*schema).Valid(*schema, *value));
        Record(*schema, written);
      }
    }
  }
}

TEST_CASE("keywords that could not be kept are named, with their place") {
  const auto fails = [](const char* schema, StatusCode code, const char* message) {
    const Status status = ValidateConstraint({Kind::kJsonSchema, schema, {}});
    INFO(schema << ": " << status.ToString());
    CHECK(status.code() == code);
    CHECK_THAT(status.message(), Contains(message));
  };
  constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
  constexpr StatusCode kUnknown = StatusCode::kUnsupported;
  fails("{", kInvalid, "JSON schema");
  fails("5", kInvalid, "#: a schema is no object");
  fails(R"({"properties": {"a": {"not": {}}}})", kUnknown, "#/properties/a: the keyword 'not'");
  fails(R"({"type": "float"})", kInvalid, "'float' does not exist");
  fails(R"({"type": "integer", "multipleOf": 3})", kUnknown, "multipleOf");
  fails(R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", kUnknown, "oneOf");
  fails(R"({"allOf": [{}, {}]})", kUnknown, "allOf");
  fails(R"({"$ref": "#/$defs/none"})", kInvalid, "#/$defs/none");
  fails(R"({"$ref": "http://x"})", kInvalid, "$ref");
  fails(R"({"$ref": "#"})", kInvalid, "nothing can be written");
  fails(R"({"type": "string", "minLength": 5, "maxLength": 3})", kInvalid, "maxLength");
  fails(R"s({"type": "string", "pattern": "a(?=b)"})s", kUnknown, "'pattern'");
  fails(R"({"type": "string", "format": "hostname"})", kUnknown, "hostname");
  fails(R"({"type": "integer", "const": "x"})", kInvalid, "nothing can be written");
  fails(R"({"type": "integer", "enum": [1], "minimum": 5})", kUnknown, "minimum");
  fails(R"({"type": "array", "uniqueItems": true})", kUnknown, "uniqueItems");
}

}  // namespace
}  // namespace rag
