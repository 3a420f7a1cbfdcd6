// Machine: evaluates a syntax tree. One for each rendering.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/template/ast.h"
#include "lib/template/item.h"
#include "lib/template/template.h"

namespace rag::jinja {

struct CallArguments {
  std::vector<Item> positional;
  std::vector<std::pair<std::string_view, Item>> named;

  // The arguments in the order of `names`, null where one is not given. Errors: invalid_argument
  // for one too many, an unknown name, or one given twice.
  Result<std::vector<const Item*>> Bind(std::initializer_list<std::string_view> names) const;
};

class Machine {
 public:
  Machine(std::string_view name, const TemplateLimits& limits) : name_(name), limits_(limits) {}

  Result<std::string> Render(const Block& block, const Value& variables);

  // --- what filters, tests and methods are written with ---
  Arena& arena() { return arena_; }
  // Counts work against the limit. Bytes copied count as a step for each 64.
  Status Spend(size_t steps);
  Status SpendBytes(size_t bytes) { return Spend(1 + bytes / 64); }
  // Refuses a replacement of `from` by `to` whose result would be over the limit on strings.
  Status SpendReplacement(std::string_view text, std::string_view from, std::string_view to);
  Result<Item> MakeString(std::string text);
  Result<Item> MakeList(std::vector<Item> items, Kind kind = Kind::kList);
  Result<std::string> ToText(const Item& item);
  // What a for loop would see. A generator is used up.
  Result<std::vector<Item>> Iterate(const Item& item);
  // object.name and object[key]; undefined when there is none.
  Result<Item> GetAttribute(const Item& object, std::string_view name);
  Result<Item> GetItem(const Item& object, const Item& key);
  // "a.b.0" or an index, as map(attribute=…) and its kin take it.
  // `fallback` (may be null) stands for every step that is undefined.
  Result<Item> GetPath(const Item& object, const Item& path, const Item* fallback = nullptr);
  Result<Item> Add(const Item& a, const Item& b) { return Binary('+', false, a, b); }
  Result<bool> Contains(const Item& container, const Item& item);
  Result<Item> Call(const Item& callee, const CallArguments& arguments);
  Result<Item> ApplyFilter(std::string_view filter, const Item& value,
                           const CallArguments& arguments);
  Result<bool> ApplyTest(std::string_view test, const Item& value, const CallArguments& arguments);
  Result<Item> CallMethod(const Item& self, std::string_view method,
                          const CallArguments& arguments);

 private:
  enum class Flow { kNext, kBreak, kContinue };

  Result<Item> Convert(const Value& value, int depth);

  // Statements: text goes to `out`.
  Result<Flow> RunBlock(const Block& block, Scope* scope, std::string& out);
  Result<Flow> RunStmt(const Stmt& stmt, Scope* scope, std::string& out);
  Result<Flow> RunFor(const Stmt& stmt, Scope* scope, std::string& out);
  Status RunCallBlock(const Stmt& stmt, Scope* scope, std::string& out);
  Status Assign(const Expr& target, const Item& value, Scope* scope);
  Status Emit(const Item& item, std::string& out);
  Status CheckOutput(const std::string& out) const;

  // Expressions.
  Result<Item> Evaluate(const Expr& expr, Scope* scope);
  Result<Item> EvaluateKind(const Expr& expr, Scope* scope);
  Result<Item> EvaluateDict(const Expr& expr, Scope* scope);
  Result<Item> EvaluateSlice(const Expr& expr, Scope* scope);
  Result<Item> EvaluateCompare(const Expr& expr, Scope* scope);
  Result<Item> EvaluateFilter(const Expr& expr, const Item* block_text, Scope* scope);
  Result<CallArguments> EvaluateArguments(const Arguments& arguments, Scope* scope);
  Item Lookup(std::string_view name, const Scope* scope);
  Result<Item> Binary(char first, bool doubled, const Item& a, const Item& b);
  Result<Item> Repeat(const Item& sequence, int64_t count);
  Result<Item> CallMacro(const MacroObject& macro, const CallArguments& arguments,
                         const Item* caller);
  Result<Item> CallFunction(std::string_view function, const CallArguments& arguments);
  Result<Item> LoopAttribute(const LoopObject& loop, std::string_view name);
  Item Undefined(std::string what) { return UndefinedItem(arena_.Own(std::move(what))); }

  // The status with the template's name and the line, once.
  Status Locate(Status status, int line);

  std::string_view name_;
  const TemplateLimits& limits_;
  Arena arena_;
  size_t steps_ = 0;
  int depth_ = 0;  // of evaluation, over macros
  bool located_ = false;
};

// A string argument, or an error naming it.
Result<std::string_view> StringArgument(const Item& item, std::string_view what);
Result<int64_t> IntArgument(const Item& item, std::string_view what);

// The tables of filters.cc, tests.cc and methods.cc.
using FilterFunction = Result<Item> (*)(Machine& machine, const Item& value,
                                        const CallArguments& arguments);
FilterFunction FindFilter(std::string_view name);  // null when there is none
using TestFunction = Result<bool> (*)(Machine& machine, const Item& value,
                                      const CallArguments& arguments);
TestFunction FindTest(std::string_view name);
// Whether the object has a method of that name (also one that is refused because it modifies).
bool HasMethod(const Item& self, std::string_view name);

}  // namespace rag::jinja
