#include "lib/template/machine.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "lib/template/text.h"
#include "lib/text/utf8.h"

namespace rag::jinja {
namespace {

// Evaluate and RunBlock calls on the stack at one time, macros included. The deepest frames (with
// sanitizers) stay within a thread's usual 8 MiB.
constexpr int kMaxDepth = 500;
// As jinja2.sandbox.
constexpr int64_t kMaxRange = 100'000;

class DepthGuard {
 public:
  explicit DepthGuard(int& depth) : depth_(depth) { ++depth_; }
  ~DepthGuard() { --depth_; }

 private:
  int& depth_;
};

Status TypeError(std::string_view op, const Item& a, const Item& b) {
  if (a.is(Kind::kUndefined)) return InvalidArgumentError(a.text);
  if (b.is(Kind::kUndefined)) return InvalidArgumentError(b.text);
  return InvalidArgumentError("'", op, "' is not supported between ", TypeName(a), " and ",
                              TypeName(b));
}

Status Overflow() { return InvalidArgumentError("an integer does not fit in 64 bits"); }

}  // namespace

Result<std::vector<const Item*>> CallArguments::Bind(
    std::initializer_list<std::string_view> names) const {
  std::vector<const Item*> bound(names.size(), nullptr);
  if (positional.size() > names.size()) {
    return InvalidArgumentError("takes at most ", names.size(), " arguments, got ",
                                positional.size());
  }
  for (size_t i = 0; i < positional.size(); ++i) bound[i] = &positional[i];
  for (const auto& [key, item] : named) {
    const auto* found = std::find(names.begin(), names.end(), key);
    if (found == names.end()) return InvalidArgumentError("has no argument '", key, "'");
    const Item*& slot = bound[found - names.begin()];
    if (slot != nullptr) return InvalidArgumentError("argument '", key, "' is given twice");
    slot = &item;
  }
  return bound;
}

Result<std::string_view> StringArgument(const Item& item, std::string_view what) {
  if (item.is_string()) return item.text;
  return InvalidArgumentError(what, " must be a string, not ", TypeName(item));
}

Result<int64_t> IntArgument(const Item& item, std::string_view what) {
  if (item.is_integral()) return item.as_int();
  return InvalidArgumentError(what, " must be an integer, not ", TypeName(item));
}

Status Machine::Spend(size_t steps) {
  steps_ += steps;
  if (steps_ > limits_.max_steps) {
    return ResourceExhaustedError("more than ", limits_.max_steps, " steps");
  }
  return OkStatus();
}

Status Machine::Locate(Status status, int line) {
  if (located_) return status;
  located_ = true;
  return std::move(status).WithContext(StrCat(name_, ":", line));
}

Status Machine::SpendReplacement(std::string_view text, std::string_view from,
                                 std::string_view to) {
  size_t matches = from.empty() ? text.size() + 1 : 0;
  for (size_t i = from.empty() ? std::string_view::npos : text.find(from);
       i != std::string_view::npos; i = text.find(from, i + from.size())) {
    ++matches;
  }
  if (to.size() > 0 && matches > limits_.max_output_bytes / to.size()) {
    return ResourceExhaustedError("a string of more than ", limits_.max_output_bytes, " bytes");
  }
  return SpendBytes(text.size() + matches * to.size());
}

Result<Item> Machine::MakeString(std::string text) {
  if (text.size() > limits_.max_output_bytes) {
    return ResourceExhaustedError("a string of more than ", limits_.max_output_bytes, " bytes");
  }
  RAG_RETURN_IF_ERROR(SpendBytes(text.size()));
  return StringItem(arena_.Own(std::move(text)));
}

Result<Item> Machine::MakeList(std::vector<Item> items, Kind kind) {
  RAG_RETURN_IF_ERROR(Spend(items.size()));
  Item item;
  item.kind = kind;
  item.list = arena_.NewList();
  item.list->items = std::move(items);
  return item;
}

Result<std::string> Machine::ToText(const Item& item) {
  std::string out;
  RAG_RETURN_IF_ERROR(AppendText(out, item));
  RAG_RETURN_IF_ERROR(SpendBytes(out.size()));
  return out;
}

Result<std::vector<Item>> Machine::Iterate(const Item& item) {
  switch (item.kind) {
    case Kind::kUndefined:
      return std::vector<Item>();
    case Kind::kString: {
      const std::vector<size_t> offsets = CharOffsets(item.text);
      std::vector<Item> chars;
      chars.reserve(offsets.size() - 1);
      for (size_t i = 0; i + 1 < offsets.size(); ++i) {
        chars.push_back(StringItem(item.text.substr(offsets[i], offsets[i + 1] - offsets[i])));
      }
      RAG_RETURN_IF_ERROR(Spend(chars.size()));
      return chars;
    }
    case Kind::kGenerator:
      if (std::exchange(item.list->consumed, true)) return std::vector<Item>();
      [[fallthrough]];
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kView:
      RAG_RETURN_IF_ERROR(Spend(item.list->items.size()));
      return item.list->items;
    case Kind::kDict: {
      std::vector<Item> keys;
      for (const auto& [key, value] : item.dict->members) keys.push_back(key);
      RAG_RETURN_IF_ERROR(Spend(keys.size()));
      return keys;
    }
    default:
      return InvalidArgumentError("a ", TypeName(item), " cannot be iterated over");
  }
}

Result<Item> Machine::LoopAttribute(const LoopObject& loop, std::string_view name) {
  const auto count = static_cast<int64_t>(loop.items->size());
  const auto index = static_cast<int64_t>(loop.index);
  if (name == "index") return IntItem(index + 1);
  if (name == "index0") return IntItem(index);
  if (name == "revindex") return IntItem(count - index);
  if (name == "revindex0") return IntItem(count - index - 1);
  if (name == "first") return BoolItem(index == 0);
  if (name == "last") return BoolItem(index + 1 == count);
  if (name == "length") return IntItem(count);
  if (name == "depth") return IntItem(1);  // counts the levels of recursive loops
  if (name == "depth0") return IntItem(0);
  if (name == "previtem") {
    return index > 0 ? (*loop.items)[index - 1] : UndefinedItem("there is no previous item");
  }
  if (name == "nextitem") {
    return index + 1 < count ? (*loop.items)[index + 1] : UndefinedItem("there is no next item");
  }
  return Undefined(StrCat("'loop' has no attribute '", name, "'"));
}

Result<Item> Machine::GetAttribute(const Item& object, std::string_view name) {
  switch (object.kind) {
    case Kind::kUndefined:
      return InvalidArgumentError(object.text);
    case Kind::kNamespace:
      if (const Item* found = FindMember(*object.dict, name)) return *found;
      break;
    case Kind::kLoop:
      if (name != "cycle" && name != "changed") return LoopAttribute(*object.loop, name);
      break;
    default:
      break;
  }
  if (HasMethod(object, name)) {
    Item method;
    method.kind = Kind::kMethod;
    method.method = arena_.NewMethod();
    method.method->self = object;
    method.text = arena_.Own(std::string(name));
    return method;
  }
  if (object.is(Kind::kDict)) {
    RAG_RETURN_IF_ERROR(Spend(object.dict->members.size() / 16));
    if (const Item* found = FindMember(*object.dict, name)) return *found;
  }
  return Undefined(StrCat("'", TypeName(object), " object' has no attribute '", name, "'"));
}

Result<Item> Machine::GetItem(const Item& object, const Item& key) {
  if (object.is(Kind::kUndefined)) return InvalidArgumentError(object.text);
  if (object.is(Kind::kDict)) {
    RAG_RETURN_IF_ERROR(Spend(object.dict->members.size() / 16));
    if (const Item* found = FindMember(*object.dict, key)) return *found;
  } else if (key.is_integral() && (object.is_sequence() || object.is_string())) {
    std::vector<size_t> offsets;
    if (object.is_string()) {
      offsets = CharOffsets(object.text);
      RAG_RETURN_IF_ERROR(SpendBytes(object.text.size()));
    }
    const auto count =
        static_cast<int64_t>(object.is_string() ? offsets.size() - 1 : object.list->items.size());
    const int64_t index = key.as_int() < 0 ? key.as_int() + count : key.as_int();
    if (index >= 0 && index < count) {
      if (object.is_sequence()) return object.list->items[index];
      return StringItem(object.text.substr(offsets[index], offsets[index + 1] - offsets[index]));
    }
  }
  if (key.is_string()) return GetAttribute(object, key.text);
  std::string printed;
  RAG_RETURN_IF_ERROR(AppendRepr(printed, key));
  return Undefined(StrCat("'", TypeName(object), " object' has no element ", printed));
}

Result<Item> Machine::GetPath(const Item& object, const Item& path, const Item* fallback) {
  std::vector<Item> steps = {path};
  if (path.is_string()) {
    steps.clear();
    for (const std::string_view part : SplitOn(path.text, ".", -1, false)) {
      const bool is_index =
          !part.empty() && part.size() < 10 &&
          std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
      steps.push_back(is_index ? IntItem(std::stoll(std::string(part))) : StringItem(part));
    }
  }
  Item item = object;
  for (const Item& step : steps) {
    RAG_ASSIGN_OR_RETURN(item, GetItem(item, step));
    if (item.is(Kind::kUndefined) && fallback != nullptr) item = *fallback;
  }
  return item;
}

Result<bool> Machine::Contains(const Item& container, const Item& item) {
  switch (container.kind) {
    case Kind::kString:
      if (!item.is_string()) {
        if (item.is(Kind::kUndefined)) return InvalidArgumentError(item.text);
        return InvalidArgumentError("'in' a string needs a string, not ", TypeName(item));
      }
      RAG_RETURN_IF_ERROR(SpendBytes(container.text.size()));
      return container.text.find(item.text) != std::string_view::npos;
    case Kind::kDict:
      RAG_RETURN_IF_ERROR(Spend(container.dict->members.size() / 16));
      return FindMember(*container.dict, item) != nullptr;
    default: {
      RAG_ASSIGN_OR_RETURN(const std::vector<Item> items, Iterate(container));
      for (const Item& candidate : items) {
        RAG_ASSIGN_OR_RETURN(const bool same, Equal(candidate, item));
        if (same) return true;
      }
      return false;
    }
  }
}

Result<Item> Machine::Repeat(const Item& sequence, int64_t count) {
  const size_t times = count > 0 ? static_cast<size_t>(count) : 0;
  const size_t size = sequence.is_string() ? sequence.text.size() : sequence.list->items.size();
  const size_t bound = sequence.is_string() ? limits_.max_output_bytes : limits_.max_steps;
  if (size > 0 && times > bound / size) {
    return ResourceExhaustedError("a repetition of ", size, " by ", count, " is over the limit of ",
                                  bound);
  }
  if (sequence.is_string()) {
    std::string text;
    text.reserve(size * times);
    for (size_t i = 0; size > 0 && i < times; ++i) text += sequence.text;
    return MakeString(std::move(text));
  }
  RAG_RETURN_IF_ERROR(Spend(size * times));
  std::vector<Item> items;
  for (size_t i = 0; size > 0 && i < times; ++i) {
    items.insert(items.end(), sequence.list->items.begin(), sequence.list->items.end());
  }
  return MakeList(std::move(items), sequence.kind);
}

// `first` and `doubled` spell the operator: + - * / // % **.
Result<Item> Machine::Binary(char first, bool doubled, const Item& a, const Item& b) {
  const std::string op = doubled ? std::string(2, first) : std::string(1, first);
  if (first == '+' && a.is_string() && b.is_string()) {
    if (a.text.size() + b.text.size() > limits_.max_output_bytes) {
      return ResourceExhaustedError("a string of more than ", limits_.max_output_bytes, " bytes");
    }
    return MakeString(StrCat(a.text, b.text));
  }
  if (first == '+' && a.is_sequence() && a.kind == b.kind) {
    RAG_RETURN_IF_ERROR(Spend(a.list->items.size() + b.list->items.size()));
    std::vector<Item> items = a.list->items;
    items.insert(items.end(), b.list->items.begin(), b.list->items.end());
    return MakeList(std::move(items), a.kind);
  }
  if (op == "*") {
    if ((a.is_string() || a.is_sequence()) && b.is_integral()) return Repeat(a, b.as_int());
    if ((b.is_string() || b.is_sequence()) && a.is_integral()) return Repeat(b, a.as_int());
  }
  if (!a.is_number() || !b.is_number()) return TypeError(op, a, b);

  if (first == '/' || first == '%') {
    if (b.as_double() == 0) return InvalidArgumentError("division by zero");
  }
  const bool integral = a.is_integral() && b.is_integral();
  if (op == "/") return FloatItem(a.as_double() / b.as_double());
  if (op == "**") {
    if (!integral || b.as_int() < 0) return FloatItem(std::pow(a.as_double(), b.as_double()));
    int64_t result = 1;
    int64_t base = a.as_int();
    for (int64_t exponent = b.as_int(); exponent > 0; exponent >>= 1) {
      if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return Overflow();
      if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return Overflow();
    }
    return IntItem(result);
  }
  if (integral) {
    const int64_t x = a.as_int();
    const int64_t y = b.as_int();
    int64_t result = 0;
    if (op == "+") {
      if (__builtin_add_overflow(x, y, &result)) return Overflow();
    } else if (op == "-") {
      if (__builtin_sub_overflow(x, y, &result)) return Overflow();
    } else if (op == "*") {
      if (__builtin_mul_overflow(x, y, &result)) return Overflow();
    } else if (y == -1) {
      // INT64_MIN // -1 traps on the processor.
      if (op == "%") return IntItem(0);
      if (__builtin_sub_overflow(int64_t{0}, x, &result)) return Overflow();
    } else {
      // Python rounds down, C towards zero.
      const int64_t remainder = x % y;
      const bool adjust = remainder != 0 && (remainder < 0) != (y < 0);
      result = op == "%" ? remainder + (adjust ? y : 0) : x / y - (adjust ? 1 : 0);
    }
    return IntItem(result);
  }
  const double x = a.as_double();
  const double y = b.as_double();
  if (op == "+") return FloatItem(x + y);
  if (op == "-") return FloatItem(x - y);
  if (op == "*") return FloatItem(x * y);
  double remainder = std::fmod(x, y);
  if (remainder != 0 && (remainder < 0) != (y < 0)) remainder += y;
  if (op == "%") return FloatItem(remainder == 0 ? std::copysign(0.0, y) : remainder);
  return FloatItem(std::floor((x - remainder) / y + 0.5));
}

Result<Item> Machine::Call(const Item& callee, const CallArguments& arguments) {
  switch (callee.kind) {
    case Kind::kUndefined:
      return InvalidArgumentError(callee.text);
    case Kind::kMacro:
      return CallMacro(*callee.macro, arguments, nullptr);
    case Kind::kFunction:
      return CallFunction(callee.text, arguments);
    case Kind::kMethod: {
      auto result = CallMethod(callee.method->self, callee.text, arguments);
      if (!result.ok()) {
        return std::move(result).status().WithContext(
            StrCat(TypeName(callee.method->self), ".", callee.text));
      }
      return result;
    }
    default:
      return InvalidArgumentError("a ", TypeName(callee), " cannot be called");
  }
}

Result<Item> Machine::CallFunction(std::string_view function, const CallArguments& arguments) {
  if (function == "raise_exception") {
    RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"message"}));
    if (bound[0] == nullptr) return InvalidArgumentError("raise_exception needs a message");
    RAG_ASSIGN_OR_RETURN(std::string message, ToText(*bound[0]));
    return InvalidArgumentError(message);
  }
  if (function == "range") {
    RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"a", "b", "c"}));
    if (bound[0] == nullptr) return InvalidArgumentError("range needs an argument");
    RAG_ASSIGN_OR_RETURN(int64_t start, IntArgument(*bound[0], "range"));
    int64_t stop = start;
    int64_t step = 1;
    if (bound[1] == nullptr) {
      start = 0;
    } else {
      RAG_ASSIGN_OR_RETURN(stop, IntArgument(*bound[1], "range"));
    }
    if (bound[2] != nullptr) {
      RAG_ASSIGN_OR_RETURN(step, IntArgument(*bound[2], "range"));
    }
    if (step == 0) return InvalidArgumentError("range: the step is zero");
    std::vector<Item> items;
    int64_t value = start;
    while (step > 0 ? value < stop : value > stop) {
      if (static_cast<int64_t>(items.size()) >= kMaxRange) {
        return ResourceExhaustedError("range: more than ", kMaxRange, " numbers");
      }
      items.push_back(IntItem(value));
      if (__builtin_add_overflow(value, step, &value)) break;
    }
    return MakeList(std::move(items));
  }
  if (function == "dict" || function == "namespace") {
    Item item;
    item.kind = function == "dict" ? Kind::kDict : Kind::kNamespace;
    item.dict = arena_.NewDict();
    if (arguments.positional.size() > 1) {
      return InvalidArgumentError(function, " takes at most one argument");
    }
    if (arguments.positional.size() == 1) {
      const Item& from = arguments.positional[0];
      if (from.is(Kind::kDict)) {
        RAG_RETURN_IF_ERROR(Spend(from.dict->members.size()));
        item.dict->members = from.dict->members;
      } else {
        RAG_ASSIGN_OR_RETURN(const std::vector<Item> pairs, Iterate(from));
        for (const Item& pair : pairs) {
          RAG_ASSIGN_OR_RETURN(const std::vector<Item> two, Iterate(pair));
          if (two.size() != 2) return InvalidArgumentError(function, " needs pairs");
          RAG_RETURN_IF_ERROR(Spend(item.dict->members.size() / 16));
          SetMember(*item.dict, two[0], two[1]);
        }
      }
    }
    for (const auto& [key, value] : arguments.named) {
      SetMember(*item.dict, StringItem(key), value);
    }
    return item;
  }
  if (function == "strftime_now") {
    RAG_ASSIGN_OR_RETURN(const auto bound, arguments.Bind({"format"}));
    if (bound[0] == nullptr) return InvalidArgumentError("strftime_now needs a format");
    RAG_ASSIGN_OR_RETURN(const std::string_view format,
                         StringArgument(*bound[0], "strftime_now's format"));
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    // strftime gives 0 both for an empty result and for a small buffer; the added blank tells.
    if (format.size() > 1024) return InvalidArgumentError("strftime_now: the format is too long");
    char buffer[16 * 1024];
    const size_t size = std::strftime(buffer, sizeof buffer, StrCat(format, " ").c_str(), &local);
    return MakeString(std::string(buffer, size > 0 ? size - 1 : 0));
  }
  return InvalidArgumentError("unknown function '", function, "'");
}

Result<Item> Machine::CallMacro(const MacroObject& object, const CallArguments& arguments,
                                const Item* caller) {
  const Macro& macro = *object.macro;
  Scope* scope = arena_.NewScope(object.scope);
  CallArguments rest;
  for (size_t i = macro.parameters.size(); i < arguments.positional.size(); ++i) {
    rest.positional.push_back(arguments.positional[i]);
  }
  if (!rest.positional.empty() && !macro.uses_varargs) {
    return InvalidArgumentError("macro '", macro.name, "' takes at most ", macro.parameters.size(),
                                " arguments, got ", arguments.positional.size());
  }
  std::vector<const Item*> given(macro.parameters.size(), nullptr);
  for (size_t i = 0; i < std::min(given.size(), arguments.positional.size()); ++i) {
    given[i] = &arguments.positional[i];
  }
  for (const auto& named : arguments.named) {
    const auto found = std::find(macro.parameters.begin(), macro.parameters.end(), named.first);
    if (found != macro.parameters.end()) {
      given[found - macro.parameters.begin()] = &named.second;
    } else if (named.first == "caller" && macro.uses_caller) {
      caller = &named.second;
    } else if (macro.uses_kwargs) {
      rest.named.push_back(named);
    } else {
      return InvalidArgumentError("macro '", macro.name, "' has no argument '", named.first, "'");
    }
  }
  const size_t first_default = macro.parameters.size() - macro.defaults.size();
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    Item value;
    if (given[i] != nullptr) {
      value = *given[i];
    } else if (i >= first_default) {
      RAG_ASSIGN_OR_RETURN(value, Evaluate(*macro.defaults[i - first_default], scope));
    } else {
      value = Undefined(StrCat("parameter '", macro.parameters[i], "' was not provided"));
    }
    scope->names.emplace_back(macro.parameters[i], value);
  }
  if (macro.uses_varargs) {
    RAG_ASSIGN_OR_RETURN(const Item varargs, MakeList(std::move(rest.positional), Kind::kTuple));
    scope->names.emplace_back("varargs", varargs);
  }
  if (macro.uses_kwargs) {
    Item kwargs;
    kwargs.kind = Kind::kDict;
    kwargs.dict = arena_.NewDict();
    for (const auto& [key, value] : rest.named) SetMember(*kwargs.dict, StringItem(key), value);
    scope->names.emplace_back("kwargs", kwargs);
  }
  if (macro.uses_caller) {
    scope->names.emplace_back("caller",
                              caller != nullptr ? *caller : UndefinedItem("no caller defined"));
  }
  std::string out;
  auto flow = RunBlock(macro.body, scope, out);
  if (!flow.ok()) return std::move(flow).status();
  return MakeString(std::move(out));
}

Result<Item> Machine::ApplyFilter(std::string_view filter, const Item& value,
                                  const CallArguments& arguments) {
  const FilterFunction function = FindFilter(filter);
  if (function == nullptr) return InvalidArgumentError("unknown filter '", filter, "'");
  RAG_RETURN_IF_ERROR(Spend(1));
  auto result = function(*this, value, arguments);
  if (!result.ok()) return std::move(result).status().WithContext(StrCat("filter ", filter));
  return result;
}

Result<bool> Machine::ApplyTest(std::string_view test, const Item& value,
                                const CallArguments& arguments) {
  const TestFunction function = FindTest(test);
  if (function == nullptr) return InvalidArgumentError("unknown test '", test, "'");
  RAG_RETURN_IF_ERROR(Spend(1));
  auto result = function(*this, value, arguments);
  if (!result.ok()) return std::move(result).status().WithContext(StrCat("test ", test));
  return result;
}

// --- expressions ---

Item Machine::Lookup(std::string_view name, const Scope* scope) {
  for (; scope != nullptr; scope = scope->parent) {
    for (auto it = scope->names.rbegin(); it != scope->names.rend(); ++it) {
      if (it->first == name) return it->second;
    }
  }
  for (const std::string_view function :
       {"range", "dict", "namespace", "raise_exception", "strftime_now"}) {
    if (name == function) {
      Item item;
      item.kind = Kind::kFunction;
      item.text = function;
      return item;
    }
  }
  return Undefined(StrCat("'", name, "' is undefined"));
}

Result<Item> Machine::Evaluate(const Expr& expr, Scope* scope) {
  const DepthGuard guard(depth_);
  if (depth_ > kMaxDepth) {
    return Locate(ResourceExhaustedError("evaluated more than ", kMaxDepth, " levels deep"),
                  expr.line);
  }
  Status status = Spend(1);
  if (!status.ok()) return Locate(std::move(status), expr.line);
  Result<Item> result = EvaluateKind(expr, scope);
  if (!result.ok()) return Locate(std::move(result).status(), expr.line);
  return result;
}

Result<Item> Machine::EvaluateKind(const Expr& expr, Scope* scope) {
  switch (expr.kind) {
    case ExprKind::kNone:
      return NoneItem();
    case ExprKind::kBool:
      return BoolItem(expr.integer != 0);
    case ExprKind::kInteger:
      return IntItem(expr.integer);
    case ExprKind::kFloat:
      return FloatItem(expr.number);
    case ExprKind::kString:
      return StringItem(expr.text);
    case ExprKind::kName:
      return Lookup(expr.text, scope);
    case ExprKind::kNamespaceTarget:
      return InvalidArgumentError("'", expr.text, ".", expr.attribute, "' is not a value");
    case ExprKind::kList:
    case ExprKind::kTuple: {
      std::vector<Item> items;
      for (const ExprPtr& child : expr.children) {
        RAG_ASSIGN_OR_RETURN(const Item item, Evaluate(*child, scope));
        items.push_back(item);
      }
      return MakeList(std::move(items), expr.kind == ExprKind::kList ? Kind::kList : Kind::kTuple);
    }
    case ExprKind::kDict:
      return EvaluateDict(expr, scope);
    case ExprKind::kAttribute: {
      RAG_ASSIGN_OR_RETURN(const Item object, Evaluate(*expr.children[0], scope));
      return GetAttribute(object, expr.text);
    }
    case ExprKind::kItem: {
      RAG_ASSIGN_OR_RETURN(const Item object, Evaluate(*expr.children[0], scope));
      RAG_ASSIGN_OR_RETURN(const Item key, Evaluate(*expr.children[1], scope));
      return GetItem(object, key);
    }
    case ExprKind::kSlice:
      return EvaluateSlice(expr, scope);
    case ExprKind::kCall: {
      RAG_ASSIGN_OR_RETURN(const Item callee, Evaluate(*expr.children[0], scope));
      RAG_ASSIGN_OR_RETURN(const CallArguments arguments, EvaluateArguments(expr.arguments, scope));
      return Call(callee, arguments);
    }
    case ExprKind::kFilter:
      return EvaluateFilter(expr, nullptr, scope);
    case ExprKind::kTest: {
      RAG_ASSIGN_OR_RETURN(const Item value, Evaluate(*expr.children[0], scope));
      RAG_ASSIGN_OR_RETURN(const CallArguments arguments, EvaluateArguments(expr.arguments, scope));
      RAG_ASSIGN_OR_RETURN(const bool holds, ApplyTest(expr.text, value, arguments));
      return BoolItem(holds);
    }
    case ExprKind::kNot: {
      RAG_ASSIGN_OR_RETURN(const Item value, Evaluate(*expr.children[0], scope));
      return BoolItem(!IsTrue(value));
    }
    case ExprKind::kNegate:
    case ExprKind::kPlus: {
      RAG_ASSIGN_OR_RETURN(const Item value, Evaluate(*expr.children[0], scope));
      const bool negate = expr.kind == ExprKind::kNegate;
      if (value.is(Kind::kFloat)) return FloatItem(negate ? -value.number : value.number);
      return negate ? Binary('-', false, IntItem(0), value) : Binary('+', false, IntItem(0), value);
    }
    case ExprKind::kBinary: {
      RAG_ASSIGN_OR_RETURN(const Item a, Evaluate(*expr.children[0], scope));
      RAG_ASSIGN_OR_RETURN(const Item b, Evaluate(*expr.children[1], scope));
      return Binary(expr.text[0], expr.text.size() == 2, a, b);
    }
    case ExprKind::kConcat: {
      std::string text;
      for (const ExprPtr& child : expr.children) {
        RAG_ASSIGN_OR_RETURN(const Item part, Evaluate(*child, scope));
        RAG_RETURN_IF_ERROR(AppendText(text, part));
        RAG_RETURN_IF_ERROR(CheckOutput(text));
      }
      return MakeString(std::move(text));
    }
    case ExprKind::kCompare:
      return EvaluateCompare(expr, scope);
    case ExprKind::kAnd:
    case ExprKind::kOr: {
      RAG_ASSIGN_OR_RETURN(const Item left, Evaluate(*expr.children[0], scope));
      if (IsTrue(left) == (expr.kind == ExprKind::kOr)) return left;
      return Evaluate(*expr.children[1], scope);
    }
    case ExprKind::kConditional: {
      RAG_ASSIGN_OR_RETURN(const Item condition, Evaluate(*expr.children[0], scope));
      if (IsTrue(condition)) return Evaluate(*expr.children[1], scope);
      if (expr.children[2] != nullptr) return Evaluate(*expr.children[2], scope);
      return UndefinedItem("the inline if is false and has no else");
    }
  }
  return InternalError("unknown expression");
}

Result<Item> Machine::EvaluateDict(const Expr& expr, Scope* scope) {
  Item dict;
  dict.kind = Kind::kDict;
  dict.dict = arena_.NewDict();
  for (size_t i = 0; i + 1 < expr.children.size(); i += 2) {
    RAG_ASSIGN_OR_RETURN(const Item key, Evaluate(*expr.children[i], scope));
    RAG_ASSIGN_OR_RETURN(const Item value, Evaluate(*expr.children[i + 1], scope));
    if (key.is(Kind::kList) || key.is(Kind::kDict)) {
      return InvalidArgumentError("a ", TypeName(key), " cannot be a key");
    }
    RAG_RETURN_IF_ERROR(Spend(dict.dict->members.size() / 16));
    SetMember(*dict.dict, key, value);
  }
  return dict;
}

Result<Item> Machine::EvaluateSlice(const Expr& expr, Scope* scope) {
  RAG_ASSIGN_OR_RETURN(const Item object, Evaluate(*expr.children[0], scope));
  std::optional<int64_t> bounds[3];
  for (int i = 0; i < 3; ++i) {
    if (expr.children[i + 1] == nullptr) continue;
    RAG_ASSIGN_OR_RETURN(const Item bound, Evaluate(*expr.children[i + 1], scope));
    if (bound.is(Kind::kNone)) continue;
    RAG_ASSIGN_OR_RETURN(bounds[i], IntArgument(bound, "a slice's bound"));
  }
  if (object.is(Kind::kUndefined)) return InvalidArgumentError(object.text);
  if (!object.is_string() && !object.is_sequence()) {
    return Undefined(StrCat("a ", TypeName(object), " cannot be sliced"));
  }
  std::vector<size_t> offsets;
  if (object.is_string()) {
    RAG_RETURN_IF_ERROR(SpendBytes(object.text.size()));
    offsets = CharOffsets(object.text);
  }
  const auto count =
      static_cast<int64_t>(object.is_string() ? offsets.size() - 1 : object.list->items.size());
  const int64_t step = bounds[2].value_or(1);
  if (step == 0) return InvalidArgumentError("the slice's step is zero");
  // Python's slice.indices().
  const int64_t low = step > 0 ? 0 : -1;
  const int64_t high = step > 0 ? count : count - 1;
  const auto clamp = [&](std::optional<int64_t> bound, int64_t fallback) {
    if (!bound.has_value()) return fallback;
    return std::clamp(*bound < 0 ? *bound + count : *bound, low, high);
  };
  const int64_t start = clamp(bounds[0], step > 0 ? low : high);
  const int64_t stop = clamp(bounds[1], step > 0 ? high : low);
  if (object.is_string() && step == 1) {
    if (start >= stop) return StringItem("");
    return StringItem(object.text.substr(offsets[start], offsets[stop] - offsets[start]));
  }
  std::string text;
  std::vector<Item> items;
  // The distance is looked at before the step is added, so that a huge step cannot overflow.
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (object.is_string()) {
      text += object.text.substr(offsets[i], offsets[i + 1] - offsets[i]);
    } else {
      items.push_back(object.list->items[i]);
    }
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  if (object.is_string()) return MakeString(std::move(text));
  return MakeList(std::move(items), object.kind);
}

Result<Item> Machine::EvaluateCompare(const Expr& expr, Scope* scope) {
  RAG_ASSIGN_OR_RETURN(Item left, Evaluate(*expr.children[0], scope));
  for (size_t i = 0; i < expr.operators.size(); ++i) {
    RAG_ASSIGN_OR_RETURN(const Item right, Evaluate(*expr.children[i + 1], scope));
    const std::string& op = expr.operators[i];
    Result<bool> holds = false;
    if (op == "==" || op == "!=") {
      holds = Equal(left, right);
      if (holds.ok() && op == "!=") holds = !*holds;
    } else if (op == "in" || op == "not in") {
      holds = Contains(right, left);
      if (holds.ok() && op == "not in") holds = !*holds;
    } else {
      // a <= b is not (b < a) but for NaN, which is never in order.
      const bool nan = (left.is(Kind::kFloat) && std::isnan(left.number)) ||
                       (right.is(Kind::kFloat) && std::isnan(right.number));
      const bool swapped = op == ">" || op == "<=";
      holds = swapped ? Less(right, left) : Less(left, right);
      if (holds.ok() && op.size() == 2) holds = !*holds;
      if (holds.ok() && nan) holds = false;
    }
    if (!holds.ok()) return std::move(holds).status();
    if (!*holds) return BoolItem(false);
    left = right;
  }
  return BoolItem(true);
}

// block_text: what the innermost filter of a chain without an operand is applied to.
Result<Item> Machine::EvaluateFilter(const Expr& expr, const Item* block_text, Scope* scope) {
  Item value;
  if (expr.children[0] == nullptr) {
    value = block_text != nullptr ? *block_text : StringItem("");
  } else if (block_text != nullptr) {
    RAG_ASSIGN_OR_RETURN(value, EvaluateFilter(*expr.children[0], block_text, scope));
  } else {
    RAG_ASSIGN_OR_RETURN(value, Evaluate(*expr.children[0], scope));
  }
  RAG_ASSIGN_OR_RETURN(const CallArguments arguments, EvaluateArguments(expr.arguments, scope));
  Result<Item> result = ApplyFilter(expr.text, value, arguments);
  if (!result.ok()) return Locate(std::move(result).status(), expr.line);
  return result;
}

Result<CallArguments> Machine::EvaluateArguments(const Arguments& arguments, Scope* scope) {
  CallArguments out;
  for (const ExprPtr& expr : arguments.positional) {
    RAG_ASSIGN_OR_RETURN(const Item item, Evaluate(*expr, scope));
    out.positional.push_back(item);
  }
  for (const auto& [key, expr] : arguments.named) {
    RAG_ASSIGN_OR_RETURN(const Item item, Evaluate(*expr, scope));
    out.named.emplace_back(key, item);
  }
  if (arguments.more_positional != nullptr) {
    RAG_ASSIGN_OR_RETURN(const Item more, Evaluate(*arguments.more_positional, scope));
    RAG_ASSIGN_OR_RETURN(const std::vector<Item> items, Iterate(more));
    out.positional.insert(out.positional.end(), items.begin(), items.end());
  }
  if (arguments.more_named != nullptr) {
    RAG_ASSIGN_OR_RETURN(const Item more, Evaluate(*arguments.more_named, scope));
    if (!more.is(Kind::kDict)) return InvalidArgumentError("'**' needs a dict");
    for (const auto& [key, item] : more.dict->members) {
      RAG_ASSIGN_OR_RETURN(const std::string_view name, StringArgument(key, "an argument's name"));
      out.named.emplace_back(name, item);
    }
  }
  return out;
}

}  // namespace rag::jinja
