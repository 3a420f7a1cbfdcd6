// SchemaParser: strings, numbers, arrays and objects.
#include <algorithm>
#include <cmath>

#include "generate/constraint/languages.h"
#include "generate/constraint/schema_parser.h"

namespace rag {
namespace {

using Id = Expressions::Id;

constexpr int64_t kMaxCount = 100'000;  // of items or characters that a schema asks for

// What is followed item by item and character by character.
constexpr size_t kMaxPrefixItems = 256;
constexpr size_t kMaxKeyBytes = 256;

struct Format {
  std::string_view name;
  std::string_view pattern;
};
// The formats whose values are regular, none of them outside of what the RFCs allow.
constexpr Format kFormats[] = {
    {"date", "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"},
    {"time",
     "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]"
     ")"},
    {"date-time",
     "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
     "(\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"},
    {"uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"},
    {"ipv4",
     "((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9]"
     ")"},
    {"email",
     "[A-Za-z0-9_]{1,32}(\\.[A-Za-z0-9_]{1,32}){0,3}@[A-Za-z0-9]{1,32}(\\.[A-Za-z]{2,16}){1,3}"},
};

}  // namespace

Result<size_t> SchemaParser::Count(Schema& schema, std::string_view key, size_t fallback) {
  const Value* value = schema.Take(key);
  if (value == nullptr) return fallback;
  if (!value->is_int() || value->as_int() < 0 || value->as_int() > kMaxCount) {
    return schema.Wrong(key, StrCat("an integer between 0 and ", kMaxCount));
  }
  return static_cast<size_t>(value->as_int());
}

Result<Id> SchemaParser::ParseString(Schema& schema) {
  const Value* pattern = schema.Take("pattern");
  const Value* format = schema.Take("format");
  RAG_ASSIGN_OR_RETURN(const size_t min, Count(schema, "minLength", 0));
  RAG_ASSIGN_OR_RETURN(const size_t max, Count(schema, "maxLength", kUnbounded));
  if (max < min) return schema.Wrong("maxLength", "at least minLength");
  std::string_view known;
  if (format != nullptr && format->is_string()) {
    for (const Format& candidate : kFormats) {
      if (candidate.name == format->as_string()) known = candidate.pattern;
    }
    if (known.empty()) return schema.Unknown(StrCat("format: ", format->as_string()));
  }
  if (pattern == nullptr && known.empty()) return json_.String(min, max);
  if (min > 0 || max != kUnbounded || (pattern != nullptr && !known.empty())) {
    return UnsupportedError(schema.place,
                            ": 'pattern' and 'format' are not supported with one another or "
                            "with lengths");
  }
  if (pattern != nullptr && !pattern->is_string()) return schema.Wrong("pattern", "a string");
  const std::string_view text = pattern != nullptr ? pattern->as_string() : known;
  auto parsed = ParseRegex(text, e());
  if (!parsed.ok()) {
    return std::move(parsed).status().WithContext(StrCat(schema.place, ": 'pattern'"));
  }
  const bool whole = pattern == nullptr;  // a pattern matches anywhere in the string
  const Id any = e().Repeat(e().Characters({{0x20, kLastCharacter}}), 0, kUnbounded);
  std::vector<Id> parts;
  if (!whole && !parsed->anchored_start) parts.push_back(any);
  parts.push_back(parsed->id);
  if (!whole && !parsed->anchored_end) parts.push_back(any);
  return json_.EscapedString(e().Sequence(std::move(parts)));
}

Status SchemaParser::Bound(Schema& schema, std::string_view key, bool lower, bool exclusive,
                           std::optional<int64_t>& bound) {
  const Value* value = schema.Take(key);
  if (value == nullptr) return OkStatus();
  if (!value->is_number() || !(std::fabs(value->as_double()) < 1e15)) {
    return schema.Wrong(key, "a number below 10^15");
  }
  const double number = value->as_double();
  double whole = lower ? std::ceil(number) : std::floor(number);
  if (exclusive && whole == number) whole += lower ? 1 : -1;
  const int64_t found = static_cast<int64_t>(whole);
  if (!bound) {
    bound = found;
  } else {
    bound = lower ? std::max(*bound, found) : std::min(*bound, found);
  }
  return OkStatus();
}

Result<Id> SchemaParser::ParseNumber(Schema& schema, bool integer) {
  std::optional<int64_t> low, high;
  RAG_RETURN_IF_ERROR(Bound(schema, "minimum", true, false, low));
  RAG_RETURN_IF_ERROR(Bound(schema, "exclusiveMinimum", true, true, low));
  RAG_RETURN_IF_ERROR(Bound(schema, "maximum", false, false, high));
  RAG_RETURN_IF_ERROR(Bound(schema, "exclusiveMaximum", false, true, high));
  const Value* multiple = schema.Take("multipleOf");
  if (multiple != nullptr && !(integer && *multiple == Value(1))) {
    return schema.Unknown("multipleOf");
  }
  if (!low && !high) return integer ? json_.Integer() : json_.Number();
  if (low && high && *low > *high) {
    return UnsupportedError(schema.place, ": no whole number lies between the bounds");
  }
  const Id whole = json_.IntegerBetween(low, high);
  if (integer) return whole;
  // With a fraction a number moves away from 0, so its whole part stays inside of the bounds.
  const Id fraction =
      e().Sequence({e().Literal("."), e().Repeat(e().Characters({{'0', '9'}}), 1, 15)});
  std::vector<Id> ways = {whole};
  const int64_t from = std::max<int64_t>(low.value_or(0), 0);
  if (!high || *high > from) {
    const auto below = high ? std::optional<int64_t>(*high - 1) : std::nullopt;
    ways.push_back(e().Sequence({json_.IntegerBetween(from, below), fraction}));
  }
  const int64_t to = std::min<int64_t>(high.value_or(-1), -1);
  if (!low || *low < to) {
    const auto above = low ? std::optional<int64_t>(*low + 1) : std::nullopt;
    ways.push_back(e().Sequence({json_.IntegerBetween(above, to), fraction}));
  }
  return e().Choice(std::move(ways));
}

Result<Id> SchemaParser::ParseArray(Schema& schema, int depth) {
  RAG_ASSIGN_OR_RETURN(const size_t min, Count(schema, "minItems", 0));
  RAG_ASSIGN_OR_RETURN(const size_t max, Count(schema, "maxItems", kUnbounded));
  if (max < min) return schema.Wrong("maxItems", "at least minItems");
  const Value* unique = schema.Take("uniqueItems");
  if (unique != nullptr && *unique == Value(true) && max > 1) return schema.Unknown("uniqueItems");
  std::vector<Id> first;
  if (const Value* prefix = schema.Take("prefixItems")) {
    if (!prefix->is_array() || prefix->as_array().size() > kMaxPrefixItems) {
      return schema.Wrong("prefixItems", StrCat("a list of at most ", kMaxPrefixItems, " schemas"));
    }
    for (size_t i = 0; i < prefix->as_array().size(); ++i) {
      RAG_ASSIGN_OR_RETURN(const Id item, UseOf(prefix->as_array()[i],
                                                StrCat(schema.place, "/prefixItems/", i), depth));
      first.push_back(item);
    }
  }
  const Value* items = schema.Take("items");
  const bool more = items == nullptr ? first.empty() || min > first.size() : *items != Value(false);
  Id item = 0;
  if (more && items != nullptr) {
    RAG_ASSIGN_OR_RETURN(item, UseOf(*items, StrCat(schema.place, "/items"), depth));
  } else if (more) {
    item = json_.AnyValue();
  }
  return e().Sequence({e().Literal("["), json_.Space(), Items(first, 0, item, more, min, max),
                       json_.Space(), e().Literal("]")});
}

Id SchemaParser::Items(const std::vector<Id>& first, size_t index, Id item, bool more, size_t min,
                       size_t max) {
  const Id nothing = e().Literal("");
  if (index >= max) return nothing;
  if (index == first.size()) {
    if (!more) return min > index ? e().Choice({}) : nothing;
    const Id next = e().Sequence({json_.Comma(), item});
    const size_t at_most = max == kUnbounded ? kUnbounded : max - index;
    const size_t at_least = min > index ? min - index : 0;
    if (index > 0) return e().Repeat(next, at_least, at_most);
    const Id some =
        e().Sequence({item, e().Repeat(next, at_least > 0 ? at_least - 1 : 0,
                                       at_most == kUnbounded ? kUnbounded : at_most - 1)});
    return at_least > 0 ? some : e().Optional(some);
  }
  std::vector<Id> parts;
  if (index > 0) parts.push_back(json_.Comma());
  parts.push_back(first[index]);
  parts.push_back(Items(first, index + 1, item, more, min, max));
  const Id some = e().Sequence(std::move(parts));
  return index < min ? some : e().Optional(some);
}

std::string SchemaParser::EscapedName(std::string_view name) {
  std::string escaped;
  for (const char c : name) {
    escaped += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  }
  return escaped;
}

Result<Id> SchemaParser::ParseObject(Schema& schema, int depth) {
  std::vector<Property> properties;
  std::set<std::string> required;
  if (const Value* list = schema.Take("required")) {
    if (!list->is_array()) return schema.Wrong("required", "a list of names");
    for (const Value& name : list->as_array()) {
      if (!name.is_string()) return schema.Wrong("required", "a list of names");
      required.insert(name.as_string());
    }
  }
  const auto add = [&](const std::string& name, Id value) {
    properties.push_back(
        {name, e().Sequence({json_.Key(name), json_.Colon(), value}), required.count(name) != 0});
  };
  const Value* declared = schema.Take("properties");
  if (declared != nullptr) {
    if (!declared->is_object()) return schema.Wrong("properties", "an object");
    for (const auto& [name, property] : declared->as_object()) {
      if (property == Value(false)) continue;
      RAG_ASSIGN_OR_RETURN(
          const Id value,
          UseOf(property, StrCat(schema.place, "/properties/", EscapedName(name)), depth));
      add(name, value);
    }
  }
  const Value* additional = schema.Take("additionalProperties");
  for (const std::string& name : required) {
    const bool known = std::any_of(properties.begin(), properties.end(),
                                   [&](const Property& p) { return p.name == name; });
    if (known) continue;
    if (additional != nullptr && additional->is_object()) {
      RAG_ASSIGN_OR_RETURN(
          const Id value, UseOf(*additional, StrCat(schema.place, "/additionalProperties"), depth));
      add(name, value);
    } else {
      add(name,
          additional == nullptr || *additional == Value(true) ? json_.AnyValue() : e().Choice({}));
    }
  }
  // Where nothing is said about properties, any may come; where some are named, they alone.
  const bool open = additional == nullptr ? properties.empty() && declared == nullptr
                                          : *additional != Value(false);
  Id other = 0;
  if (open) {
    Id value = 0;
    if (additional != nullptr && additional->is_object()) {
      RAG_ASSIGN_OR_RETURN(
          value, UseOf(*additional, StrCat(schema.place, "/additionalProperties"), depth));
    } else {
      value = json_.AnyValue();
    }
    std::vector<std::string> names;
    for (const Property& property : properties) names.push_back(property.name);
    if (declared != nullptr) {
      for (const auto& [name, property] : declared->as_object()) {
        if (property == Value(false)) names.push_back(name);
      }
    }
    for (const std::string& name : names) {
      if (name.size() <= kMaxKeyBytes) continue;
      return ResourceExhaustedError(schema.place, ": a property's name of ", name.size(),
                                    " bytes is over the limit of ", kMaxKeyBytes,
                                    " where others may come too");
    }
    other = e().Sequence({json_.OtherKey(names), json_.Colon(), value});
  }
  return e().Sequence({e().Literal("{"), json_.Space(), Members(properties, other, open),
                       json_.Space(), e().Literal("}")});
}

Id SchemaParser::Members(const std::vector<Property>& properties, Id other, bool open) {
  const Id more =
      open ? e().Repeat(e().Sequence({json_.Comma(), other}), 0, kUnbounded) : e().Literal("");
  Id after = more;  // what follows when a member stands before
  Id alone = open ? e().Optional(e().Sequence({other, more})) : e().Literal("");
  for (size_t i = properties.size(); i-- > 0;) {
    const Property& property = properties[i];
    const Id with_comma = e().Sequence({json_.Comma(), property.pair, after});
    const Id first = e().Sequence({property.pair, after});
    const Id next_after = property.required ? with_comma : e().Choice({with_comma, after});
    const Id next_alone = property.required ? first : e().Choice({first, alone});
    const size_t after_rule = e().NewRule(StrCat("after ", property.name));
    e().Define(after_rule, next_after);
    after = e().Use(after_rule);
    const size_t alone_rule = e().NewRule(StrCat("first ", property.name));
    e().Define(alone_rule, next_alone);
    alone = e().Use(alone_rule);
  }
  return alone;
}

}  // namespace rag
