// SchemaParser: a JSON schema -> Language, keyword by keyword.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "generate/constraint/expressions.h"
#include "generate/constraint/json_expressions.h"
#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

// Made for one schema, which outlives it, and run once.
class SchemaParser {
 public:
  explicit SchemaParser(const Value& schema) : root_(schema), json_(language_.expressions) {}

  Result<Language> Run();

 private:
  using Id = Expressions::Id;

  // The keywords of one schema, checked off as they are understood.
  struct Schema {
    const Value& value;
    const std::string& place;
    std::set<std::string, std::less<>> used;

    const Value* Take(std::string_view key) {
      const Value* found = value.Find(key);
      if (found != nullptr) used.emplace(key);
      return found;
    }
    Status Wrong(std::string_view key, std::string_view what) const {
      return InvalidArgumentError(place, ": '", key, "' is not ", what);
    }
    Status Unknown(std::string_view key) const {
      return UnsupportedError(place, ": the keyword '", key, "' is not supported here");
    }
  };

  Expressions& e() { return language_.expressions; }

  // One rule for each place, so that $ref can be recursive.
  Result<size_t> RuleOf(const Value& schema, const std::string& place, int depth);
  Result<Id> UseOf(const Value& schema, const std::string& place, int depth);

  Result<Id> Parse(const Value& value, const std::string& place, int depth);

  Result<Id> ParseKind(Schema& schema, int depth);

  static bool HasType(const Value& value, std::string_view type);

  // Those of the values that have the schema's type.
  Result<Id> Literals(Schema& schema, const Value::Array& values);

  // What "type" says: empty when it is not there.
  static Result<std::vector<std::string>> TypeNames(Schema& schema);

  Result<Id> ParseReference(Schema& schema, const Value& reference, int depth);

  // The types that a branch can have, and whether they are all that it says, for oneOf.
  static std::set<std::string> TypesOf(const Value& branch);

  Result<Id> ParseBranches(Schema& schema, std::string_view key, const Value& list, int depth);

  Result<Id> ParseTypes(Schema& schema, int depth);

  Result<Id> ParseType(Schema& schema, const std::string& type, int depth);

  Result<size_t> Count(Schema& schema, std::string_view key, size_t fallback);

  Result<Id> ParseString(Schema& schema);

  // The nearest whole number inside of a bound.
  Status Bound(Schema& schema, std::string_view key, bool lower, bool exclusive,
               std::optional<int64_t>& bound);

  Result<Id> ParseNumber(Schema& schema, bool integer);

  Result<Id> ParseArray(Schema& schema, int depth);

  // Items from the index-th on, where `min` to `max` are asked for in all.
  Id Items(const std::vector<Id>& first, size_t index, Id item, bool more, size_t min, size_t max);

  // As a part of a JSON pointer (RFC 6901), so that no two places have one name.
  static std::string EscapedName(std::string_view name);

  struct Property {
    std::string name;
    Id pair = 0;
    bool required = false;
  };

  Result<Id> ParseObject(Schema& schema, int depth);

  // Two rules for each place in the list: nothing was written before it, or something was.
  Id Members(const std::vector<Property>& properties, Id other, bool open);

  const Value& root_;
  Language language_;
  JsonExpressions json_;
  std::map<std::string, size_t> rules_;
};

}  // namespace rag
