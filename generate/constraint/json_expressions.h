// The parts of JSON texts as expressions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/constraint/expressions.h"
#include "lib/base/status.h"

namespace rag {

class JsonExpressions {
 public:
  using Id = Expressions::Id;
  explicit JsonExpressions(Expressions& expressions) : e_(expressions) {}

  // One space, or a line break with indentation, or nothing.
  Id Space();
  Id Comma() { return e_.Sequence({e_.Literal(","), Space()}); }
  Id Colon() { return e_.Sequence({e_.Literal(":"), Space()}); }
  Id Boolean();
  // Of min to max characters.
  Id String(size_t min, size_t max);
  // A string whose content `content` matches, `content` being of plain characters: what JSON
  // escapes is escaped. Rules are not followed into.
  Id EscapedString(Id content);
  // A string that is none of `keys`, without escapes.
  Id OtherKey(const std::vector<std::string>& keys);
  Id Key(std::string_view key);
  Id Number();
  Id Integer();
  // Whole numbers from low to high, both included, of up to 15 digits.
  Id IntegerBetween(std::optional<int64_t> low, std::optional<int64_t> high);
  // Any value or object, nested at most kMaxAnyDepth deep: other programs' parsers have limits.
  static constexpr size_t kMaxAnyDepth = 32;
  Id AnyValue();
  Id AnyObject();

 private:
  Id Character();
  Id Escape(Id content);
  Id EscapedCharacters(const CharacterSet& set);
  Id NotKeys(const std::vector<std::string>& keys, size_t depth);
  Id DigitsBetween(const std::string& low, const std::string& high);
  Id UnsignedBetween(int64_t low, int64_t high);
  Id Digit(char low, char high);
  void DefineAny();

  Expressions& e_;
  std::optional<size_t> space_;
  std::optional<size_t> character_;
  std::optional<size_t> value_;
  size_t object_ = 0;  // defined with value_
};

}  // namespace rag
