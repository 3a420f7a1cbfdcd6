// Filters: what stands after "|". Behaviour is that of jinja2/filters.py, with transformers'
// tojson.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "lib/template/machine.h"
#include "lib/template/text.h"
#include "lib/text/utf8.h"

namespace rag::jinja {
namespace {

using Outcome = Result<Item>;

template <std::string (*kMap)(std::string_view)>
Outcome MapText(Machine& machine, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto none, arguments.Bind({}));
  RAG_ASSIGN_OR_RETURN(const std::string text, machine.ToText(value));
  return machine.MakeString(kMap(text));
}

// Words begin after white space and after - ( { [ <.
std::string Title(std::string_view text) {
  std::string out;
  size_t begin = 0;
  const auto add = [&](size_t end) {
    if (end > begin) out += Capitalize(text.substr(begin, end - begin));
    begin = end;
  };
  for (size_t i = 0; i < text.size();) {
    const DecodedChar c = DecodeChar(text, i);
    const bool separator =
        IsPythonSpace(c.code_point) ||
        (c.code_point < 0x80 &&
         std::string_view("-({[<").find(static_cast<char>(c.code_point)) != std::string_view::npos);
    if (separator) {
      add(i);
      out += text.substr(i, c.length);
      begin = i + c.length;
    }
    i += c.length;
  }
  add(text.size());
  return out;
}

std::string Same(std::string_view text) { return std::string(text); }

Outcome Trim(Machine& machine, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"chars"}));
  RAG_ASSIGN_OR_RETURN(const std::string text, machine.ToText(value));
  if (bound[0] == nullptr || bound[0]->is(Kind::kNone)) {
    return machine.MakeString(std::string(StripLeft(StripRight(text))));
  }
  RAG_ASSIGN_OR_RETURN(const std::string_view chars, StringArgument(*bound[0], "chars"));
  return machine.MakeString(std::string(StripChars(text, chars, true, true)));
}

Outcome Safe(Machine&, const Item& value, const CallArguments&) { return value; }

Outcome Length(Machine&, const Item& value, const CallArguments&) {
  switch (value.kind) {
    case Kind::kUndefined:
      return IntItem(0);
    case Kind::kString:
      return IntItem(static_cast<int64_t>(CountChars(value.text)));
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kView:
      return IntItem(static_cast<int64_t>(value.list->items.size()));
    case Kind::kDict:
      return IntItem(static_cast<int64_t>(value.dict->members.size()));
    default:
      return InvalidArgumentError("a ", TypeName(value), " has no length");
  }
}

Outcome Join(Machine& machine, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"d", "attribute"}));
  std::string separator;
  if (bound[0] != nullptr) {
    RAG_ASSIGN_OR_RETURN(separator, machine.ToText(*bound[0]));
  }
  RAG_ASSIGN_OR_RETURN(const std::vector<Item> items, machine.Iterate(value));
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    Item item = items[i];
    if (bound[1] != nullptr && !bound[1]->is(Kind::kNone)) {
      RAG_ASSIGN_OR_RETURN(item, machine.GetPath(item, *bound[1]));
    }
    if (i > 0) out += separator;
    RAG_ASSIGN_OR_RETURN(const std::string text, machine.ToText(item));
    out += text;
    RAG_RETURN_IF_ERROR(machine.SpendBytes(separator.size()));
  }
  return machine.MakeString(std::move(out));
}

Outcome Default(Machine&, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"default_value", "boolean"}));
  const bool by_truth = bound[1] != nullptr && IsTrue(*bound[1]);
  if (value.is(Kind::kUndefined) || (by_truth && !IsTrue(value))) {
    return bound[0] != nullptr ? *bound[0] : StringItem("");
  }
  return value;
}

Outcome ToJsonText(Machine& machine, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound,
                       arguments.Bind({"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  if (bound[0] != nullptr && IsTrue(*bound[0])) {
    return InvalidArgumentError("ensure_ascii is not supported");
  }
  if (bound[1] != nullptr && !bound[1]->is(Kind::kNone)) {
    style.indented = true;
    style.item_separator = ",";
    if (bound[1]->is_string()) {
      style.indent = bound[1]->text;
    } else {
      RAG_ASSIGN_OR_RETURN(const int64_t indent, IntArgument(*bound[1], "indent"));
      if (indent > 64) return ResourceExhaustedError("an indent of ", indent, " is over 64");
      style.indent.assign(static_cast<size_t>(std::max<int64_t>(indent, 0)), ' ');
    }
  }
  if (bound[2] != nullptr && !bound[2]->is(Kind::kNone)) {
    RAG_ASSIGN_OR_RETURN(const std::vector<Item> two, machine.Iterate(*bound[2]));
    if (two.size() != 2 || !two[0].is_string() || !two[1].is_string()) {
      return InvalidArgumentError("separators must be two strings");
    }
    style.item_separator = two[0].text;
    style.key_separator = two[1].text;
  }
  style.sort_keys = bound[3] != nullptr && IsTrue(*bound[3]);
  std::string out;
  RAG_RETURN_IF_ERROR(AppendJson(out, value, style));
  return machine.MakeString(std::move(out));
}

Outcome Replace(Machine& machine, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"old", "new", "count"}));
  if (bound[0] == nullptr || bound[1] == nullptr) {
    return InvalidArgumentError("needs what to replace and what with");
  }
  RAG_ASSIGN_OR_RETURN(const std::string text, machine.ToText(value));
  RAG_ASSIGN_OR_RETURN(const std::string from, machine.ToText(*bound[0]));
  RAG_ASSIGN_OR_RETURN(const std::string to, machine.ToText(*bound[1]));
  int64_t count = -1;
  if (bound[2] != nullptr && !bound[2]->is(Kind::kNone)) {
    RAG_ASSIGN_OR_RETURN(count, IntArgument(*bound[2], "count"));
  }
  RAG_RETURN_IF_ERROR(machine.SpendReplacement(text, from, to));
  return machine.MakeString(ReplaceAll(text, from, to, count));
}

Outcome First(Machine& machine, const Item& value, const CallArguments&) {
  RAG_ASSIGN_OR_RETURN(const std::vector<Item> items, machine.Iterate(value));
  return items.empty() ? UndefinedItem("there is no first item, the sequence is empty")
                       : items.front();
}

Outcome Last(Machine& machine, const Item& value, const CallArguments&) {
  if (value.is(Kind::kGenerator)) return InvalidArgumentError("a generator cannot be reversed");
  RAG_ASSIGN_OR_RETURN(const std::vector<Item> items, machine.Iterate(value));
  return items.empty() ? UndefinedItem("there is no last item, the sequence is empty")
                       : items.back();
}

Outcome ListOf(Machine& machine, const Item& value, const CallArguments&) {
  RAG_ASSIGN_OR_RETURN(std::vector<Item> items, machine.Iterate(value));
  return machine.MakeList(std::move(items));
}

Outcome Map(Machine& machine, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const std::vector<Item> items, machine.Iterate(value));
  std::vector<Item> out;
  if (arguments.positional.empty()) {
    RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"attribute", "default"}));
    if (bound[0] == nullptr) return InvalidArgumentError("needs a filter or an attribute");
    for (const Item& item : items) {
      RAG_ASSIGN_OR_RETURN(const Item part, machine.GetPath(item, *bound[0], bound[1]));
      out.push_back(part);
    }
  } else {
    RAG_ASSIGN_OR_RETURN(const std::string_view filter,
                         StringArgument(arguments.positional[0], "the filter's name"));
    CallArguments rest = arguments;
    rest.positional.erase(rest.positional.begin());
    for (const Item& item : items) {
      RAG_ASSIGN_OR_RETURN(const Item mapped, machine.ApplyFilter(filter, item, rest));
      out.push_back(mapped);
    }
  }
  return machine.MakeList(std::move(out), Kind::kGenerator);
}

Outcome Choose(Machine& machine, const Item& value, const CallArguments& arguments,
               bool by_attribute, bool keep) {
  RAG_ASSIGN_OR_RETURN(const std::vector<Item> items, machine.Iterate(value));
  CallArguments rest = arguments;
  Item path;
  if (by_attribute) {
    if (rest.positional.empty()) return InvalidArgumentError("needs an attribute");
    path = rest.positional[0];
    rest.positional.erase(rest.positional.begin());
  }
  std::string_view test;
  if (!rest.positional.empty()) {
    RAG_ASSIGN_OR_RETURN(test, StringArgument(rest.positional[0], "the test's name"));
    rest.positional.erase(rest.positional.begin());
  }
  std::vector<Item> out;
  for (const Item& item : items) {
    Item part = item;
    if (by_attribute) {
      RAG_ASSIGN_OR_RETURN(part, machine.GetPath(item, path));
    }
    bool holds = IsTrue(part);
    if (!test.empty()) {
      RAG_ASSIGN_OR_RETURN(holds, machine.ApplyTest(test, part, rest));
    }
    if (holds == keep) out.push_back(item);
  }
  return machine.MakeList(std::move(out), Kind::kGenerator);
}

template <bool kByAttribute, bool kKeep>
Outcome ChooseItems(Machine& machine, const Item& value, const CallArguments& arguments) {
  return Choose(machine, value, arguments, kByAttribute, kKeep);
}

// The number at the beginning of a text that is all number, white space around it allowed.
template <class Number, class... Base>
std::optional<Number> ParseNumber(std::string_view text, Base... base) {
  text = StripLeft(StripRight(text));
  if (text.starts_with('+')) text.remove_prefix(1);
  Number number{};
  const auto [rest, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, base...);
  if (error != std::errc() || rest != text.data() + text.size()) return std::nullopt;
  return number;
}

Outcome ToInt(Machine&, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"default", "base"}));
  const Item fallback = bound[0] != nullptr ? *bound[0] : IntItem(0);
  int64_t base = 10;
  if (bound[1] != nullptr) {
    RAG_ASSIGN_OR_RETURN(base, IntArgument(*bound[1], "base"));
    if (base < 2 || base > 36) return InvalidArgumentError("base ", base, " is not in 2 .. 36");
  }
  std::optional<double> number;
  if (value.is_integral()) return IntItem(value.as_int());
  if (value.is(Kind::kFloat)) number = value.number;
  if (value.is_string()) {
    std::string_view text = StripLeft(StripRight(value.text));
    if (base == 16 && (text.starts_with("0x") || text.starts_with("0X"))) text.remove_prefix(2);
    if (const auto parsed = ParseNumber<int64_t>(text, static_cast<int>(base))) {
      return IntItem(*parsed);
    }
    number = ParseNumber<double>(text);
  }
  // 2^63 is the first double that does not fit.
  if (!number.has_value() || !(std::abs(*number) < 9223372036854775808.0)) return fallback;
  return IntItem(static_cast<int64_t>(*number));
}

Outcome ToFloat(Machine&, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"default"}));
  if (value.is_number()) return FloatItem(value.as_double());
  if (value.is_string()) {
    if (const auto parsed = ParseNumber<double>(value.text)) return FloatItem(*parsed);
  }
  return bound[0] != nullptr ? *bound[0] : FloatItem(0);
}

Outcome Indent(Machine& machine, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"width", "first", "blank"}));
  std::string indent(4, ' ');
  if (bound[0] != nullptr) {
    if (bound[0]->is_string()) {
      indent = bound[0]->text;
    } else {
      RAG_ASSIGN_OR_RETURN(const int64_t width, IntArgument(*bound[0], "width"));
      if (width > 1000) return ResourceExhaustedError("a width of ", width, " is over 1000");
      indent.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
  }
  const bool first = bound[1] != nullptr && IsTrue(*bound[1]);
  const bool blank = bound[2] != nullptr && IsTrue(*bound[2]);
  RAG_ASSIGN_OR_RETURN(std::string text, machine.ToText(value));
  text += '\n';  // so that a last line end counts as the beginning of a line
  std::string out;
  size_t count = 0;
  for (const std::string_view line : SplitLines(text, false)) {
    if (count > 0) out += '\n';
    if ((count > 0 && (blank || !line.empty())) || (count == 0 && first)) out += indent;
    out += line;
    RAG_RETURN_IF_ERROR(machine.SpendBytes(indent.size() + line.size()));
    ++count;
  }
  return machine.MakeString(std::move(out));
}

Outcome Items(Machine& machine, const Item& value, const CallArguments&) {
  std::vector<Item> out;
  if (value.is(Kind::kDict)) {
    for (const auto& [key, member] : value.dict->members) {
      RAG_ASSIGN_OR_RETURN(const Item pair, machine.MakeList({key, member}, Kind::kTuple));
      out.push_back(pair);
    }
  } else if (!value.is(Kind::kUndefined)) {
    return InvalidArgumentError("needs a mapping, not ", TypeName(value));
  }
  return machine.MakeList(std::move(out), Kind::kGenerator);
}

// What sort and its kin compare: strings without regard to case unless asked.
Result<Item> SortKey(Machine& machine, const Item& item, const Item* attribute,
                     bool case_sensitive) {
  Item key = item;
  if (attribute != nullptr && !attribute->is(Kind::kNone)) {
    RAG_ASSIGN_OR_RETURN(key, machine.GetPath(item, *attribute));
  }
  if (!case_sensitive && key.is_string()) return machine.MakeString(Lower(key.text));
  return key;
}

// Stable, by the keys. Errors: the first comparison that has no order.
Status SortByKeys(std::vector<std::pair<Item, Item>>& keyed, bool reverse) {
  Status problem;
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    const Result<bool> less = reverse ? Less(b.first, a.first) : Less(a.first, b.first);
    if (!less.ok() && problem.ok()) problem = less.status();
    return less.ok() && *less;
  });
  return problem;
}

Outcome Sort(Machine& machine, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound,
                       arguments.Bind({"reverse", "case_sensitive", "attribute"}));
  RAG_ASSIGN_OR_RETURN(const std::vector<Item> items, machine.Iterate(value));
  std::vector<std::pair<Item, Item>> keyed;
  for (const Item& item : items) {
    RAG_ASSIGN_OR_RETURN(
        const Item key, SortKey(machine, item, bound[2], bound[1] != nullptr && IsTrue(*bound[1])));
    keyed.emplace_back(key, item);
  }
  RAG_RETURN_IF_ERROR(SortByKeys(keyed, bound[0] != nullptr && IsTrue(*bound[0])));
  std::vector<Item> out;
  for (const auto& [key, item] : keyed) out.push_back(item);
  return machine.MakeList(std::move(out));
}

Outcome DictSort(Machine& machine, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"case_sensitive", "by", "reverse"}));
  if (!value.is(Kind::kDict)) return InvalidArgumentError("needs a dict, not ", TypeName(value));
  bool by_value = false;
  if (bound[1] != nullptr) {
    RAG_ASSIGN_OR_RETURN(const std::string_view by, StringArgument(*bound[1], "by"));
    if (by != "key" && by != "value") return InvalidArgumentError("by must be 'key' or 'value'");
    by_value = by == "value";
  }
  std::vector<std::pair<Item, Item>> keyed;
  for (const auto& [key, member] : value.dict->members) {
    RAG_ASSIGN_OR_RETURN(const Item pair, machine.MakeList({key, member}, Kind::kTuple));
    RAG_ASSIGN_OR_RETURN(const Item sort_key, SortKey(machine, by_value ? member : key, nullptr,
                                                      bound[0] != nullptr && IsTrue(*bound[0])));
    keyed.emplace_back(sort_key, pair);
  }
  RAG_RETURN_IF_ERROR(SortByKeys(keyed, bound[2] != nullptr && IsTrue(*bound[2])));
  std::vector<Item> out;
  for (const auto& [key, item] : keyed) out.push_back(item);
  return machine.MakeList(std::move(out));
}

Outcome Unique(Machine& machine, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"case_sensitive", "attribute"}));
  RAG_ASSIGN_OR_RETURN(const std::vector<Item> items, machine.Iterate(value));
  std::vector<Item> seen;
  std::vector<Item> out;
  for (const Item& item : items) {
    RAG_ASSIGN_OR_RETURN(
        const Item key, SortKey(machine, item, bound[1], bound[0] != nullptr && IsTrue(*bound[0])));
    bool known = false;
    RAG_RETURN_IF_ERROR(machine.Spend(seen.size()));
    for (const Item& other : seen) {
      RAG_ASSIGN_OR_RETURN(known, Equal(other, key));
      if (known) break;
    }
    if (known) continue;
    seen.push_back(key);
    out.push_back(item);
  }
  return machine.MakeList(std::move(out), Kind::kGenerator);
}

template <bool kSmallest>
Outcome Extreme(Machine& machine, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"case_sensitive", "attribute"}));
  RAG_ASSIGN_OR_RETURN(const std::vector<Item> items, machine.Iterate(value));
  if (items.empty()) return UndefinedItem("there is no item, the sequence is empty");
  Item best = items[0];
  Item best_key;
  for (size_t i = 0; i < items.size(); ++i) {
    RAG_ASSIGN_OR_RETURN(const Item key, SortKey(machine, items[i], bound[1],
                                                 bound[0] != nullptr && IsTrue(*bound[0])));
    bool better = i == 0;
    if (!better) {
      RAG_ASSIGN_OR_RETURN(better, kSmallest ? Less(key, best_key) : Less(best_key, key));
    }
    if (better) {
      best = items[i];
      best_key = key;
    }
  }
  return best;
}

Outcome Sum(Machine& machine, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"attribute", "start"}));
  RAG_ASSIGN_OR_RETURN(const std::vector<Item> items, machine.Iterate(value));
  Item total = bound[1] != nullptr ? *bound[1] : IntItem(0);
  for (const Item& item : items) {
    Item part = item;
    if (bound[0] != nullptr && !bound[0]->is(Kind::kNone)) {
      RAG_ASSIGN_OR_RETURN(part, machine.GetPath(item, *bound[0]));
    }
    RAG_ASSIGN_OR_RETURN(total, machine.Add(total, part));
  }
  return total;
}

Outcome Reverse(Machine& machine, const Item& value, const CallArguments&) {
  if (value.is_string()) {
    const std::vector<size_t> offsets = CharOffsets(value.text);
    std::string out;
    for (size_t i = offsets.size() - 1; i > 0; --i) {
      out += value.text.substr(offsets[i - 1], offsets[i] - offsets[i - 1]);
    }
    return machine.MakeString(std::move(out));
  }
  RAG_ASSIGN_OR_RETURN(std::vector<Item> items, machine.Iterate(value));
  std::reverse(items.begin(), items.end());
  return machine.MakeList(std::move(items), Kind::kGenerator);
}

Outcome Round(Machine&, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"precision", "method"}));
  if (!value.is_number()) return InvalidArgumentError("needs a number, not ", TypeName(value));
  int64_t precision = 0;
  if (bound[0] != nullptr) {
    RAG_ASSIGN_OR_RETURN(precision, IntArgument(*bound[0], "precision"));
    if (precision < -300 || precision > 300) {
      return InvalidArgumentError("precision ", precision, " is not in -300 .. 300");
    }
  }
  std::string_view method = "common";
  if (bound[1] != nullptr) {
    RAG_ASSIGN_OR_RETURN(method, StringArgument(*bound[1], "method"));
  }
  const double number = value.as_double();
  if (method == "ceil" || method == "floor") {
    const double scale = std::pow(10.0, static_cast<double>(precision));
    const double scaled = number * scale;
    return FloatItem((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
  }
  if (method != "common") return InvalidArgumentError("unknown method '", method, "'");
  if (value.is_integral() && precision >= 0) return IntItem(value.as_int());
  // Round half to even on the exact decimal expansion, as Python does: through the digits.
  if (precision >= 0) {
    char buffer[1024];
    const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, number,
                                            std::chars_format::fixed, static_cast<int>(precision));
    double rounded = number;
    if (error == std::errc()) std::from_chars(buffer, end, rounded);
    return FloatItem(rounded);
  }
  const double scale = std::pow(10.0, static_cast<double>(-precision));
  const double rounded = std::nearbyint(number / scale) * scale;
  if (value.is_integral()) return IntItem(static_cast<int64_t>(rounded));
  return FloatItem(rounded);
}

Outcome Abs(Machine&, const Item& value, const CallArguments&) {
  if (value.is(Kind::kFloat)) return FloatItem(std::abs(value.number));
  RAG_ASSIGN_OR_RETURN(const int64_t number, IntArgument(value, "the value"));
  if (number == INT64_MIN) return InvalidArgumentError("an integer does not fit in 64 bits");
  return IntItem(std::abs(number));
}

Outcome Batch(Machine& machine, const Item& value, const CallArguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"linecount", "fill_with"}));
  if (bound[0] == nullptr) return InvalidArgumentError("needs a count");
  RAG_ASSIGN_OR_RETURN(const int64_t count, IntArgument(*bound[0], "linecount"));
  if (count < 1) return InvalidArgumentError("a batch of ", count, " items");
  RAG_ASSIGN_OR_RETURN(const std::vector<Item> items, machine.Iterate(value));
  std::vector<Item> out;
  for (size_t begin = 0; begin < items.size(); begin += static_cast<size_t>(count)) {
    const size_t end = std::min(items.size(), begin + static_cast<size_t>(count));
    std::vector<Item> line(items.begin() + static_cast<ptrdiff_t>(begin),
                           items.begin() + static_cast<ptrdiff_t>(end));
    if (bound[1] != nullptr && !bound[1]->is(Kind::kNone)) {
      RAG_RETURN_IF_ERROR(machine.Spend(static_cast<size_t>(count) - line.size()));
      line.resize(static_cast<size_t>(count), *bound[1]);
    }
    RAG_ASSIGN_OR_RETURN(const Item list, machine.MakeList(std::move(line)));
    out.push_back(list);
    if (end == items.size()) break;
  }
  return machine.MakeList(std::move(out), Kind::kGenerator);
}

Outcome WordCount(Machine& machine, const Item& value, const CallArguments&) {
  RAG_ASSIGN_OR_RETURN(const std::string text, machine.ToText(value));
  return IntItem(static_cast<int64_t>(SplitSpace(text, -1, false).size()));
}

struct Entry {
  std::string_view name;
  FilterFunction function;
};

constexpr Entry kFilters[] = {
    {"abs", Abs},
    {"batch", Batch},
    {"capitalize", MapText<Capitalize>},
    {"count", Length},
    {"d", Default},
    {"default", Default},
    {"dictsort", DictSort},
    {"e", MapText<EscapeHtml>},
    {"escape", MapText<EscapeHtml>},
    {"first", First},
    {"float", ToFloat},
    {"indent", Indent},
    {"int", ToInt},
    {"items", Items},
    {"join", Join},
    {"last", Last},
    {"length", Length},
    {"list", ListOf},
    {"lower", MapText<Lower>},
    {"map", Map},
    {"max", Extreme<false>},
    {"min", Extreme<true>},
    {"reject", ChooseItems<false, false>},
    {"rejectattr", ChooseItems<true, false>},
    {"replace", Replace},
    {"reverse", Reverse},
    {"round", Round},
    {"safe", Safe},
    {"select", ChooseItems<false, true>},
    {"selectattr", ChooseItems<true, true>},
    {"sort", Sort},
    {"string", MapText<Same>},
    {"sum", Sum},
    {"title", MapText<Title>},
    {"tojson", ToJsonText},
    {"trim", Trim},
    {"unique", Unique},
    {"upper", MapText<Upper>},
    {"wordcount", WordCount},
};

}  // namespace

FilterFunction FindFilter(std::string_view name) {
  const auto* found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                   [name](const Entry& entry) { return entry.name == name; });
  return found == std::end(kFilters) ? nullptr : found->function;
}

}  // namespace rag::jinja
