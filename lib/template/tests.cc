// Tests: what stands after "is".
#include <algorithm>

#include "lib/template/machine.h"
#include "lib/template/text.h"

namespace rag::jinja {
namespace {

using Outcome = Result<bool>;

Result<const Item*> OneArgument(const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"other"}));
  if (bound[0] == nullptr) return InvalidArgumentError("needs an argument");
  return bound[0];
}

template <Kind kKind>
Outcome IsKind(Machine&, const Item& value, const CallArguments&) {
  return value.is(kKind);
}

Outcome IsDefined(Machine&, const Item& value, const CallArguments&) {
  return !value.is(Kind::kUndefined);
}
Outcome IsTrueValue(Machine&, const Item& value, const CallArguments&) {
  return value.is(Kind::kBool) && value.boolean;
}
Outcome IsFalseValue(Machine&, const Item& value, const CallArguments&) {
  return value.is(Kind::kBool) && !value.boolean;
}
Outcome IsNumber(Machine&, const Item& value, const CallArguments&) { return value.is_number(); }
// A namespace is no Mapping in Python's eyes.
Outcome IsIterable(Machine&, const Item& value, const CallArguments&) {
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kGenerator:
    case Kind::kView:
    case Kind::kDict:
    case Kind::kLoop:
      return true;
    default:
      return false;
  }
}
// Has a length and __getitem__: also a dict and an undefined value.
Outcome IsSequence(Machine&, const Item& value, const CallArguments&) {
  return value.is_string() || value.is_sequence() || value.is(Kind::kDict) ||
         value.is(Kind::kUndefined);
}
Outcome IsCallable(Machine&, const Item& value, const CallArguments&) {
  return value.is(Kind::kMacro) || value.is(Kind::kFunction) || value.is(Kind::kMethod);
}
Outcome IsEqual(Machine&, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const Item* other, OneArgument(arguments));
  return Equal(value, *other);
}
Outcome IsNotEqual(Machine&, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const Item* other, OneArgument(arguments));
  RAG_ASSIGN_OR_RETURN(const bool same, Equal(value, *other));
  return !same;
}
Outcome IsLess(Machine&, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const Item* other, OneArgument(arguments));
  return Less(value, *other);
}
Outcome IsGreater(Machine&, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const Item* other, OneArgument(arguments));
  return Less(*other, value);
}
Outcome IsAtMost(Machine&, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const Item* other, OneArgument(arguments));
  RAG_ASSIGN_OR_RETURN(const bool greater, Less(*other, value));
  return !greater;
}
Outcome IsAtLeast(Machine&, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const Item* other, OneArgument(arguments));
  RAG_ASSIGN_OR_RETURN(const bool less, Less(value, *other));
  return !less;
}
Outcome IsIn(Machine& machine, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const Item* container, OneArgument(arguments));
  return machine.Contains(*container, value);
}
// Identity: of small values their equality, of containers the same object.
Outcome IsSame(Machine&, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const Item* other, OneArgument(arguments));
  if (value.kind != other->kind) return false;
  if (value.is_sequence() || value.is(Kind::kDict)) return value.list == other->list;
  return Equal(value, *other);
}
Outcome IsOdd(Machine&, const Item& value, const CallArguments&) {
  RAG_ASSIGN_OR_RETURN(const int64_t number, IntArgument(value, "the value"));
  return number % 2 != 0;
}
Outcome IsEven(Machine&, const Item& value, const CallArguments&) {
  RAG_ASSIGN_OR_RETURN(const int64_t number, IntArgument(value, "the value"));
  return number % 2 == 0;
}
Outcome IsDivisibleBy(Machine&, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const Item* other, OneArgument(arguments));
  RAG_ASSIGN_OR_RETURN(const int64_t number, IntArgument(value, "the value"));
  RAG_ASSIGN_OR_RETURN(const int64_t divisor, IntArgument(*other, "the divisor"));
  if (divisor == 0) return InvalidArgumentError("division by zero");
  return divisor == -1 || number % divisor == 0;
}
Outcome IsLower(Machine& machine, const Item& value, const CallArguments&) {
  RAG_ASSIGN_OR_RETURN(const std::string text, machine.ToText(value));
  return IsLowerText(text);
}
Outcome IsUpper(Machine& machine, const Item& value, const CallArguments&) {
  RAG_ASSIGN_OR_RETURN(const std::string text, machine.ToText(value));
  return IsUpperText(text);
}
Outcome IsFilterName(Machine&, const Item& value, const CallArguments&) {
  return value.is_string() && FindFilter(value.text) != nullptr;
}
Outcome IsTestName(Machine&, const Item& value, const CallArguments&) {
  return value.is_string() && FindTest(value.text) != nullptr;
}

struct Entry {
  std::string_view name;
  TestFunction function;
};

constexpr Entry kTests[] = {
    {"defined", IsDefined},
    {"undefined", IsKind<Kind::kUndefined>},
    {"none", IsKind<Kind::kNone>},
    {"boolean", IsKind<Kind::kBool>},
    {"true", IsTrueValue},
    {"false", IsFalseValue},
    {"integer", IsKind<Kind::kInt>},
    {"float", IsKind<Kind::kFloat>},
    {"number", IsNumber},
    {"string", IsKind<Kind::kString>},
    {"mapping", IsKind<Kind::kDict>},
    {"iterable", IsIterable},
    {"sequence", IsSequence},
    {"callable", IsCallable},
    {"sameas", IsSame},
    {"eq", IsEqual},
    {"equalto", IsEqual},
    {"==", IsEqual},
    {"ne", IsNotEqual},
    {"!=", IsNotEqual},
    {"lt", IsLess},
    {"lessthan", IsLess},
    {"<", IsLess},
    {"gt", IsGreater},
    {"greaterthan", IsGreater},
    {">", IsGreater},
    {"le", IsAtMost},
    {"<=", IsAtMost},
    {"ge", IsAtLeast},
    {">=", IsAtLeast},
    {"in", IsIn},
    {"odd", IsOdd},
    {"even", IsEven},
    {"divisibleby", IsDivisibleBy},
    {"lower", IsLower},
    {"upper", IsUpper},
    {"filter", IsFilterName},
    {"test", IsTestName},
};

}  // namespace

TestFunction FindTest(std::string_view name) {
  const auto* found = std::find_if(std::begin(kTests), std::end(kTests),
                                   [name](const Entry& entry) { return entry.name == name; });
  return found == std::end(kTests) ? nullptr : found->function;
}

}  // namespace rag::jinja
