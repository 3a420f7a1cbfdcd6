// Methods of strings, dicts, lists and loops, as Python has them. Those that would modify their
// object are refused, as by jinja2's ImmutableSandboxedEnvironment.
#include <algorithm>
#include <cmath>

#include "lib/template/machine.h"
#include "lib/template/text.h"
#include "lib/text/unicode.h"
#include "lib/text/utf8.h"

namespace rag::jinja {
namespace {

constexpr std::string_view kStringMethods[] = {
    "strip",        "lstrip",      "rstrip",    "split",   "rsplit",     "splitlines", "startswith",
    "endswith",     "upper",       "lower",     "title",   "capitalize", "casefold",   "swapcase",
    "replace",      "join",        "find",      "rfind",   "index",      "rindex",     "count",
    "isdigit",      "isdecimal",   "isnumeric", "isalpha", "isalnum",    "isspace",    "isupper",
    "islower",      "zfill",       "ljust",     "rjust",   "center",     "partition",  "rpartition",
    "removeprefix", "removesuffix"};
constexpr std::string_view kDictMethods[] = {"get",    "items", "keys",  "values",     "copy",
                                             "update", "pop",   "clear", "setdefault", "popitem"};
constexpr std::string_view kListMethods[] = {"index",  "count",   "copy",   "append",
                                             "extend", "insert",  "remove", "pop",
                                             "clear",  "reverse", "sort"};
constexpr std::string_view kLoopMethods[] = {"cycle", "changed"};

template <size_t kSize>
bool Has(const std::string_view (&names)[kSize], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

Result<Item> Strip(Machine&, std::string_view text, const CallArguments& arguments, bool left,
                   bool right) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"chars"}));
  if (bound[0] != nullptr && !bound[0]->is(Kind::kNone)) {
    RAG_ASSIGN_OR_RETURN(const std::string_view chars, StringArgument(*bound[0], "chars"));
    return StringItem(StripChars(text, chars, left, right));
  }
  if (left) text = StripLeft(text);
  if (right) text = StripRight(text);
  return StringItem(text);
}

Result<Item> Strings(Machine& machine, const std::vector<std::string_view>& parts, Kind kind) {
  std::vector<Item> items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) items.push_back(StringItem(part));
  return machine.MakeList(std::move(items), kind);
}

Result<Item> Split(Machine& machine, std::string_view text, const CallArguments& arguments,
                   bool from_right) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"sep", "maxsplit"}));
  int64_t limit = -1;
  if (bound[1] != nullptr) {
    RAG_ASSIGN_OR_RETURN(limit, IntArgument(*bound[1], "maxsplit"));
  }
  RAG_RETURN_IF_ERROR(machine.SpendBytes(text.size()));
  if (bound[0] == nullptr || bound[0]->is(Kind::kNone)) {
    return Strings(machine, SplitSpace(text, limit, from_right), Kind::kList);
  }
  RAG_ASSIGN_OR_RETURN(const std::string_view separator, StringArgument(*bound[0], "sep"));
  if (separator.empty()) return InvalidArgumentError("the separator is empty");
  return Strings(machine, SplitOn(text, separator, limit, from_right), Kind::kList);
}

Result<Item> StartsOrEnds(std::string_view text, const CallArguments& arguments, bool starts) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"affix"}));
  if (bound[0] == nullptr) return InvalidArgumentError("needs an argument");
  std::vector<Item> affixes = {*bound[0]};
  if (bound[0]->is(Kind::kTuple)) affixes = bound[0]->list->items;
  for (const Item& affix : affixes) {
    RAG_ASSIGN_OR_RETURN(const std::string_view part, StringArgument(affix, "the argument"));
    if (starts ? text.starts_with(part) : text.ends_with(part)) return BoolItem(true);
  }
  return BoolItem(false);
}

Result<Item> Find(std::string_view text, const CallArguments& arguments, bool from_right,
                  bool must_be_there) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"sub"}));
  if (bound[0] == nullptr) return InvalidArgumentError("needs an argument");
  RAG_ASSIGN_OR_RETURN(const std::string_view part, StringArgument(*bound[0], "the argument"));
  const size_t found = from_right ? text.rfind(part) : text.find(part);
  if (found != std::string_view::npos) {
    return IntItem(static_cast<int64_t>(CountChars(text.substr(0, found))));
  }
  if (must_be_there) return InvalidArgumentError("substring not found");
  return IntItem(-1);
}

Result<Item> CountIn(std::string_view text, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"sub"}));
  if (bound[0] == nullptr) return InvalidArgumentError("needs an argument");
  RAG_ASSIGN_OR_RETURN(const std::string_view part, StringArgument(*bound[0], "the argument"));
  if (part.empty()) return IntItem(static_cast<int64_t>(CountChars(text)) + 1);
  int64_t count = 0;
  for (size_t i = text.find(part); i != std::string_view::npos;
       i = text.find(part, i + part.size())) {
    ++count;
  }
  return IntItem(count);
}

// Every character fulfils `body`, and there is one.
template <class Body>
Item AllOf(std::string_view text, Body body) {
  for (size_t i = 0; i < text.size();) {
    const DecodedChar c = DecodeChar(text, i);
    if (!body(c.code_point)) return BoolItem(false);
    i += c.length;
  }
  return BoolItem(!text.empty());
}

bool IsDecimal(char32_t c) { return CategoryOf(c) == Category::kDecimalNumber; }

Result<Item> Justify(Machine& machine, std::string_view text, std::string_view method,
                     const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"width", "fillchar"}));
  if (bound[0] == nullptr) return InvalidArgumentError("needs a width");
  RAG_ASSIGN_OR_RETURN(const int64_t width, IntArgument(*bound[0], "the width"));
  std::string_view fill = method == "zfill" ? "0" : " ";
  if (bound[1] != nullptr) {
    RAG_ASSIGN_OR_RETURN(fill, StringArgument(*bound[1], "the fill character"));
    if (CountChars(fill) != 1) return InvalidArgumentError("the fill character is not one");
  }
  const auto count = static_cast<int64_t>(CountChars(text));
  if (width <= count) return StringItem(text);
  const int64_t missing = width - count;
  if (missing > (int64_t{64} << 20)) {
    return ResourceExhaustedError("a width of ", width, " is over the limit of 64 Mi characters");
  }
  int64_t left = 0;
  if (method == "rjust" || method == "zfill") left = missing;
  // CPython's rule for the odd one.
  if (method == "center") left = missing / 2 + (missing & width & 1);
  std::string out;
  if (method == "zfill" && (text.starts_with('-') || text.starts_with('+'))) {
    out += text[0];
    text.remove_prefix(1);
  }
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (int64_t i = left; i < missing; ++i) out += fill;
  return machine.MakeString(std::move(out));
}

Result<Item> Partition(Machine& machine, std::string_view text, const CallArguments& arguments,
                       bool from_right) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"sep"}));
  if (bound[0] == nullptr) return InvalidArgumentError("needs a separator");
  RAG_ASSIGN_OR_RETURN(const std::string_view separator, StringArgument(*bound[0], "sep"));
  if (separator.empty()) return InvalidArgumentError("the separator is empty");
  const size_t found = from_right ? text.rfind(separator) : text.find(separator);
  if (found == std::string_view::npos) {
    if (from_right) return Strings(machine, {"", "", text}, Kind::kTuple);
    return Strings(machine, {text, "", ""}, Kind::kTuple);
  }
  return Strings(machine, {text.substr(0, found), separator, text.substr(found + separator.size())},
                 Kind::kTuple);
}

Result<Item> Replace(Machine& machine, std::string_view text, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"old", "new", "count"}));
  if (bound[0] == nullptr || bound[1] == nullptr) {
    return InvalidArgumentError("needs what to replace and what with");
  }
  RAG_ASSIGN_OR_RETURN(const std::string_view from, StringArgument(*bound[0], "old"));
  RAG_ASSIGN_OR_RETURN(const std::string_view to, StringArgument(*bound[1], "new"));
  int64_t count = -1;
  if (bound[2] != nullptr) {
    RAG_ASSIGN_OR_RETURN(count, IntArgument(*bound[2], "count"));
  }
  RAG_RETURN_IF_ERROR(machine.SpendReplacement(text, from, to));
  return machine.MakeString(ReplaceAll(text, from, to, count));
}

Result<Item> Join(Machine& machine, std::string_view text, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"iterable"}));
  if (bound[0] == nullptr) return InvalidArgumentError("needs what to join");
  RAG_ASSIGN_OR_RETURN(const std::vector<Item> items, machine.Iterate(*bound[0]));
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    RAG_ASSIGN_OR_RETURN(const std::string_view part, StringArgument(items[i], "a joined item"));
    if (i > 0) out += text;
    out += part;
    RAG_RETURN_IF_ERROR(machine.SpendBytes(part.size() + text.size()));
  }
  return machine.MakeString(std::move(out));
}

Result<Item> StringMethod(Machine& machine, std::string_view text, std::string_view method,
                          const CallArguments& arguments) {
  if (method == "strip") return Strip(machine, text, arguments, true, true);
  if (method == "lstrip") return Strip(machine, text, arguments, true, false);
  if (method == "rstrip") return Strip(machine, text, arguments, false, true);
  if (method == "split") return Split(machine, text, arguments, false);
  if (method == "rsplit") return Split(machine, text, arguments, true);
  if (method == "startswith") return StartsOrEnds(text, arguments, true);
  if (method == "endswith") return StartsOrEnds(text, arguments, false);
  if (method == "replace") return Replace(machine, text, arguments);
  if (method == "join") return Join(machine, text, arguments);
  if (method == "find") return Find(text, arguments, false, false);
  if (method == "rfind") return Find(text, arguments, true, false);
  if (method == "index") return Find(text, arguments, false, true);
  if (method == "rindex") return Find(text, arguments, true, true);
  if (method == "count") return CountIn(text, arguments);
  if (method == "zfill" || method == "ljust" || method == "rjust" || method == "center") {
    return Justify(machine, text, method, arguments);
  }
  if (method == "partition") return Partition(machine, text, arguments, false);
  if (method == "rpartition") return Partition(machine, text, arguments, true);
  if (method == "splitlines") {
    RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"keepends"}));
    return Strings(machine, SplitLines(text, bound[0] != nullptr && IsTrue(*bound[0])),
                   Kind::kList);
  }
  if (method == "removeprefix" || method == "removesuffix") {
    RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"affix"}));
    if (bound[0] == nullptr) return InvalidArgumentError("needs an argument");
    RAG_ASSIGN_OR_RETURN(const std::string_view affix, StringArgument(*bound[0], "the argument"));
    if (method == "removeprefix" && text.starts_with(affix)) text.remove_prefix(affix.size());
    if (method == "removesuffix" && text.ends_with(affix)) text.remove_suffix(affix.size());
    return StringItem(text);
  }
  RAG_ASSIGN_OR_RETURN(const auto none, arguments.Bind({}));
  if (method == "upper") return machine.MakeString(Upper(text));
  if (method == "lower" || method == "casefold") return machine.MakeString(Lower(text));
  if (method == "title") return machine.MakeString(TitleWords(text));
  if (method == "capitalize") return machine.MakeString(Capitalize(text));
  if (method == "swapcase") {
    std::string out;
    for (size_t i = 0; i < text.size();) {
      const DecodedChar c = DecodeChar(text, i);
      const std::string_view one = text.substr(i, c.length);
      out += CategoryOf(c.code_point) == Category::kUppercase ? Lower(one) : Upper(one);
      i += c.length;
    }
    return machine.MakeString(std::move(out));
  }
  if (method == "isdigit" || method == "isdecimal") return AllOf(text, IsDecimal);
  if (method == "isnumeric") return AllOf(text, IsNumber);
  if (method == "isalpha") return AllOf(text, IsLetter);
  if (method == "isalnum") {
    return AllOf(text, [](char32_t c) { return IsLetter(c) || IsNumber(c); });
  }
  if (method == "isspace") return AllOf(text, IsPythonSpace);
  if (method == "isupper") return BoolItem(IsUpperText(text));
  return BoolItem(IsLowerText(text));
}

Result<Item> DictMethod(Machine& machine, const Item& self, std::string_view method,
                        const CallArguments& arguments) {
  const DictObject& dict = *self.dict;
  if (method == "get") {
    RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"key", "default"}));
    if (bound[0] == nullptr) return InvalidArgumentError("needs a key");
    RAG_RETURN_IF_ERROR(machine.Spend(dict.members.size() / 16));
    if (const Item* found = FindMember(dict, *bound[0])) return *found;
    return bound[1] != nullptr ? *bound[1] : NoneItem();
  }
  if (method == "copy") {
    Item copy = self;
    copy.dict = machine.arena().NewDict();
    RAG_RETURN_IF_ERROR(machine.Spend(dict.members.size()));
    *copy.dict = dict;
    return copy;
  }
  std::vector<Item> items;
  std::string_view name = "dict_items";
  if (method == "keys" || method == "values") {
    name = method == "keys" ? "dict_keys" : "dict_values";
    for (const auto& [key, value] : dict.members) items.push_back(method == "keys" ? key : value);
  } else if (method == "items") {
    for (const auto& [key, value] : dict.members) {
      RAG_ASSIGN_OR_RETURN(const Item pair, machine.MakeList({key, value}, Kind::kTuple));
      items.push_back(pair);
    }
  } else {
    return InvalidArgumentError("refused, because it would modify its object");
  }
  RAG_ASSIGN_OR_RETURN(Item view, machine.MakeList(std::move(items), Kind::kView));
  view.text = name;
  return view;
}

Result<Item> ListMethod(Machine& machine, const Item& self, std::string_view method,
                        const CallArguments& arguments) {
  const std::vector<Item>& items = self.list->items;
  if (method == "copy") return machine.MakeList(items);
  if (method != "index" && method != "count") {
    return InvalidArgumentError("refused, because it would modify its object");
  }
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"value"}));
  if (bound[0] == nullptr) return InvalidArgumentError("needs an argument");
  RAG_RETURN_IF_ERROR(machine.Spend(items.size()));
  int64_t count = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    RAG_ASSIGN_OR_RETURN(const bool same, Equal(items[i], *bound[0]));
    if (same && method == "index") return IntItem(static_cast<int64_t>(i));
    if (same) ++count;
  }
  if (method == "index") return InvalidArgumentError("the value is not in the list");
  return IntItem(count);
}

Result<Item> LoopMethod(LoopObject& loop, std::string_view method, const CallArguments& arguments) {
  if (method == "cycle") {
    if (arguments.positional.empty()) return InvalidArgumentError("no items for cycling given");
    return arguments.positional[loop.index % arguments.positional.size()];
  }
  bool changed = !loop.changed_before || loop.last_changed.size() != arguments.positional.size();
  for (size_t i = 0; !changed && i < loop.last_changed.size(); ++i) {
    RAG_ASSIGN_OR_RETURN(const bool same, Equal(loop.last_changed[i], arguments.positional[i]));
    changed = !same;
  }
  loop.changed_before = true;
  loop.last_changed = arguments.positional;
  return BoolItem(changed);
}

}  // namespace

bool HasMethod(const Item& self, std::string_view name) {
  switch (self.kind) {
    case Kind::kString:
      return Has(kStringMethods, name);
    case Kind::kDict:
      return Has(kDictMethods, name);
    case Kind::kList:
      return Has(kListMethods, name);
    case Kind::kTuple:
      return name == "index" || name == "count";
    case Kind::kLoop:
      return Has(kLoopMethods, name);
    default:
      return false;
  }
}

Result<Item> Machine::CallMethod(const Item& self, std::string_view method,
                                 const CallArguments& arguments) {
  switch (self.kind) {
    case Kind::kString:
      return StringMethod(*this, self.text, method, arguments);
    case Kind::kDict:
      return DictMethod(*this, self, method, arguments);
    case Kind::kLoop:
      return LoopMethod(*self.loop, method, arguments);
    default:
      return ListMethod(*this, self, method, arguments);
  }
}

}  // namespace rag::jinja
