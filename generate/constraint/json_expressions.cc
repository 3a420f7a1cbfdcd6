#include "generate/constraint/json_expressions.h"

#include <algorithm>
#include <map>

#include "generate/constraint/pattern_cursor.h"
#include "lib/base/value.h"

namespace rag {
namespace {

constexpr size_t kMaxIndentation = 20;
constexpr int64_t kLargestInteger = 999'999'999'999'999;  // exact in f64, whatever reads it
constexpr size_t kMaxDigits = 15;

const CharacterSet& Plain() {
  // RFC 8259, section 7: unescaped.
  static const CharacterSet kSet = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, kLastCharacter}};
  return kSet;
}

}  // namespace

JsonExpressions::Id JsonExpressions::Space() {
  if (!space_) {
    space_ = e_.NewRule("space");
    const Id indentation = e_.Repeat(e_.Characters({{' ', ' '}}), 0, kMaxIndentation);
    e_.Define(*space_, e_.Choice({e_.Literal(""), e_.Literal(" "),
                                  e_.Sequence({e_.Literal("\n"), indentation})}));
  }
  return e_.Use(*space_);
}

JsonExpressions::Id JsonExpressions::Boolean() {
  return e_.Choice({e_.Literal("true"), e_.Literal("false")});
}

JsonExpressions::Id JsonExpressions::Digit(char low, char high) {
  return e_.Characters({{static_cast<uint32_t>(low), static_cast<uint32_t>(high)}});
}

JsonExpressions::Id JsonExpressions::Character() {
  if (!character_) {
    character_ = e_.NewRule("character");
    const Id hex = e_.Characters({{'0', '9'}, {'A', 'F'}, {'a', 'f'}});
    // Not the surrogates, which come in pairs alone.
    const Id first = e_.Characters({{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}});
    const Id unicode = e_.Choice(
        {e_.Sequence({first, e_.Repeat(hex, 3, 3)}),
         e_.Sequence({e_.Characters({{'D', 'D'}, {'d', 'd'}}), Digit('0', '7'), hex, hex})});
    const Id simple = e_.Characters({{'"', '"'},
                                     {'/', '/'},
                                     {'\\', '\\'},
                                     {'b', 'b'},
                                     {'f', 'f'},
                                     {'n', 'n'},
                                     {'r', 'r'},
                                     {'t', 't'}});
    const Id escape = e_.Sequence(
        {e_.Literal("\\"), e_.Choice({simple, e_.Sequence({e_.Literal("u"), unicode})})});
    e_.Define(*character_, e_.Choice({e_.Characters(Plain()), escape}));
  }
  return e_.Use(*character_);
}

JsonExpressions::Id JsonExpressions::String(size_t min, size_t max) {
  return e_.Sequence({e_.Literal("\""), e_.Repeat(Character(), min, max), e_.Literal("\"")});
}

JsonExpressions::Id JsonExpressions::EscapedCharacters(const CharacterSet& set) {
  std::vector<Id> forms = {e_.Characters(Intersect(set, Plain()))};
  const std::pair<uint32_t, std::string_view> kEscapes[] = {
      {'"', "\\\""}, {'\\', "\\\\"}, {'\b', "\\b"}, {'\f', "\\f"},
      {'\n', "\\n"}, {'\r', "\\r"},  {'\t', "\\t"}};
  for (const auto& [character, escape] : kEscapes) {
    if (!Intersect(set, {{character, character}}).empty()) forms.push_back(e_.Literal(escape));
  }
  return e_.Choice(std::move(forms));
}

JsonExpressions::Id JsonExpressions::Escape(Id id) {
  const Expressions::Node node = e_.node(id);
  using Kind = Expressions::Kind;
  std::vector<Id> children;
  for (const Id child : node.children) children.push_back(Escape(child));
  switch (node.kind) {
    case Kind::kLiteral: {
      const std::string quoted = ToJson(Value(node.bytes));
      return e_.Literal(std::string_view(quoted).substr(1, quoted.size() - 2));
    }
    case Kind::kCharacters:
      return EscapedCharacters(node.characters);
    case Kind::kSequence:
      return e_.Sequence(std::move(children));
    case Kind::kChoice:
      return e_.Choice(std::move(children));
    case Kind::kRepeat:
      return e_.Repeat(children[0], node.min, node.max);
    case Kind::kRule:
      return id;
  }
  return id;
}

JsonExpressions::Id JsonExpressions::EscapedString(Id content) {
  return e_.Sequence({e_.Literal("\""), Escape(content), e_.Literal("\"")});
}

JsonExpressions::Id JsonExpressions::Key(std::string_view key) {
  return e_.Literal(ToJson(Value(key)));
}

// `keys` share their first `depth` bytes; what comes after these.
JsonExpressions::Id JsonExpressions::NotKeys(const std::vector<std::string>& keys, size_t depth) {
  std::map<uint32_t, std::vector<std::string>> by_next;
  bool ends = false;
  for (const std::string& key : keys) {
    PatternCursor cursor(key);
    cursor.Skip(depth);
    const auto next = cursor.TakeCharacter();
    if (next.ok()) {
      by_next[*next].push_back(key);
    } else {
      ends = true;
    }
  }
  CharacterSet taken;
  std::vector<Id> ways;
  for (const auto& [character, rest] : by_next) {
    taken.push_back({character, character});
    const std::string bytes = EncodeCharacter(character);
    ways.push_back(e_.Sequence({e_.Literal(bytes), NotKeys(rest, depth + bytes.size())}));
  }
  const Id others = e_.Characters(Intersect(Plain(), Complement(taken)));
  ways.push_back(e_.Sequence({others, e_.Repeat(e_.Characters(Plain()), 0, kUnbounded)}));
  if (!ends) ways.push_back(e_.Literal(""));
  return e_.Choice(std::move(ways));
}

JsonExpressions::Id JsonExpressions::OtherKey(const std::vector<std::string>& keys) {
  return e_.Sequence({e_.Literal("\""), NotKeys(keys, 0), e_.Literal("\"")});
}

JsonExpressions::Id JsonExpressions::Integer() {
  const Id digits = e_.Sequence({Digit('1', '9'), e_.Repeat(Digit('0', '9'), 0, kMaxDigits - 1)});
  return e_.Sequence({e_.Optional(e_.Literal("-")), e_.Choice({e_.Literal("0"), digits})});
}

JsonExpressions::Id JsonExpressions::Number() {
  const Id fraction = e_.Sequence({e_.Literal("."), e_.Repeat(Digit('0', '9'), 1, kMaxDigits)});
  const Id exponent = e_.Sequence({e_.Characters({{'E', 'E'}, {'e', 'e'}}),
                                   e_.Optional(e_.Characters({{'+', '+'}, {'-', '-'}})),
                                   e_.Repeat(Digit('0', '9'), 1, 2)});
  return e_.Sequence({Integer(), e_.Optional(fraction), e_.Optional(exponent)});
}

// Numbers of one length without sign, digit by digit.
JsonExpressions::Id JsonExpressions::DigitsBetween(const std::string& low,
                                                   const std::string& high) {
  const size_t n = low.size();
  if (n == 1) return Digit(low[0], high[0]);
  // All numbers of this length: below, both ends would be followed at every digit.
  if (low == std::string(n, '0') && high == std::string(n, '9')) {
    return e_.Repeat(Digit('0', '9'), n, n);
  }
  if (low[0] == high[0]) {
    return e_.Sequence({Digit(low[0], low[0]), DigitsBetween(low.substr(1), high.substr(1))});
  }
  std::vector<Id> ways;
  const Id rest = e_.Repeat(Digit('0', '9'), n - 1, n - 1);
  ways.push_back(
      e_.Sequence({Digit(low[0], low[0]), DigitsBetween(low.substr(1), std::string(n - 1, '9'))}));
  if (low[0] + 1 < high[0]) {
    ways.push_back(
        e_.Sequence({Digit(static_cast<char>(low[0] + 1), static_cast<char>(high[0] - 1)), rest}));
  }
  ways.push_back(e_.Sequence(
      {Digit(high[0], high[0]), DigitsBetween(std::string(n - 1, '0'), high.substr(1))}));
  return e_.Choice(std::move(ways));
}

JsonExpressions::Id JsonExpressions::UnsignedBetween(int64_t low, int64_t high) {
  std::vector<Id> ways;
  const std::string last = std::to_string(high);
  for (size_t digits = std::to_string(low).size(); digits <= last.size(); ++digits) {
    const std::string smallest = digits == std::to_string(low).size()
                                     ? std::to_string(low)
                                     : "1" + std::string(digits - 1, '0');
    const std::string largest = digits == last.size() ? last : std::string(digits, '9');
    ways.push_back(DigitsBetween(smallest, largest));
  }
  return e_.Choice(std::move(ways));
}

JsonExpressions::Id JsonExpressions::IntegerBetween(std::optional<int64_t> low,
                                                    std::optional<int64_t> high) {
  const int64_t from = std::max(low.value_or(-kLargestInteger), -kLargestInteger);
  const int64_t to = std::min(high.value_or(kLargestInteger), kLargestInteger);
  std::vector<Id> ways;
  if (from <= to && to >= 0) ways.push_back(UnsignedBetween(std::max<int64_t>(from, 0), to));
  if (from <= to && from < 0) {
    ways.push_back(
        e_.Sequence({e_.Literal("-"), UnsignedBetween(std::max<int64_t>(-to, 1), -from)}));
  }
  return e_.Choice(std::move(ways));
}

void JsonExpressions::DefineAny() {
  if (value_) return;
  const auto list = [&](std::string_view open, Id item, std::string_view close) {
    const Id more = e_.Repeat(e_.Sequence({Comma(), item}), 0, kUnbounded);
    return e_.Sequence({e_.Literal(open), Space(), e_.Optional(e_.Sequence({item, more, Space()})),
                        e_.Literal(close)});
  };
  const size_t scalar = e_.NewRule("scalar");
  e_.Define(scalar, e_.Choice({String(0, kUnbounded), Number(), Boolean(), e_.Literal("null")}));
  size_t value = scalar;
  for (size_t depth = 0; depth < kMaxAnyDepth; ++depth) {
    object_ = e_.NewRule("object");
    e_.Define(object_,
              list("{", e_.Sequence({String(0, kUnbounded), Colon(), e_.Use(value)}), "}"));
    const Id array = list("[", e_.Use(value), "]");
    value = e_.NewRule("value");
    e_.Define(value, e_.Choice({e_.Use(object_), array, e_.Use(scalar)}));
  }
  value_ = value;
}

JsonExpressions::Id JsonExpressions::AnyValue() {
  DefineAny();
  return e_.Use(*value_);
}

JsonExpressions::Id JsonExpressions::AnyObject() {
  DefineAny();
  return e_.Use(object_);
}

}  // namespace rag
