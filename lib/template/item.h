// Items: the values that a template computes with, in the shape of Python's.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag::jinja {

enum class Kind : uint8_t {
  kUndefined,  // text says what is undefined
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kGenerator,  // what map, select … give: true even when empty, without a length, read once
  kView,       // dict.keys(), values() and items(); text is the name
  kDict,
  kNamespace,
  kLoop,
  kMacro,
  kFunction,  // a global function; text is the name
  kMethod,    // a method bound to its object; text is the name
};

struct ListObject;
struct DictObject;
struct LoopObject;
struct MacroObject;
struct MethodObject;

// Cheap to copy. What it points to belongs to an Arena, so that cycles and deep nesting need no
// counting and no recursive destruction.
struct Item {
  Kind kind = Kind::kUndefined;
  union {
    bool boolean;
    int64_t integer = 0;
    double number;
    ListObject* list;  // kList, kTuple, kGenerator, kView
    DictObject* dict;  // kDict, kNamespace
    LoopObject* loop;
    MacroObject* macro;
    MethodObject* method;
  };
  std::string_view text = {};

  bool is(Kind other) const { return kind == other; }
  bool is_string() const { return kind == Kind::kString; }
  bool is_integral() const { return kind == Kind::kInt || kind == Kind::kBool; }
  bool is_number() const { return is_integral() || kind == Kind::kFloat; }
  bool is_sequence() const { return kind == Kind::kList || kind == Kind::kTuple; }
  int64_t as_int() const { return kind == Kind::kBool ? boolean : integer; }
  double as_double() const { return kind == Kind::kFloat ? number : static_cast<double>(as_int()); }
};

struct ListObject {
  std::vector<Item> items;
  bool consumed = false;  // a generator that was read
};

struct DictObject {
  std::vector<std::pair<Item, Item>> members;
};

// The `loop` variable.
struct LoopObject {
  const std::vector<Item>* items = nullptr;
  size_t index = 0;
  bool changed_before = false;
  std::vector<Item> last_changed;
};

struct Macro;
struct Scope;
struct MacroObject {
  const Macro* macro = nullptr;
  Scope* scope = nullptr;  // where it was defined
};

struct MethodObject {
  Item self;
};

// Names of one level of scoping; lookups go outwards.
struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<std::string_view, Item>> names;
};

// Owns what a rendering makes.
class Arena {
 public:
  std::string_view Own(std::string text) { return strings_.emplace_back(std::move(text)); }
  ListObject* NewList() { return &lists_.emplace_back(); }
  DictObject* NewDict() { return &dicts_.emplace_back(); }
  LoopObject* NewLoop() { return &loops_.emplace_back(); }
  MacroObject* NewMacro() { return &macros_.emplace_back(); }
  MethodObject* NewMethod() { return &methods_.emplace_back(); }
  Scope* NewScope(Scope* parent) {
    Scope& scope = scopes_.emplace_back();
    scope.parent = parent;
    return &scope;
  }

 private:
  std::deque<std::string> strings_;
  std::deque<ListObject> lists_;
  std::deque<DictObject> dicts_;
  std::deque<LoopObject> loops_;
  std::deque<MacroObject> macros_;
  std::deque<MethodObject> methods_;
  std::deque<Scope> scopes_;
};

inline Item NoneItem() {
  Item item;
  item.kind = Kind::kNone;
  return item;
}
inline Item BoolItem(bool value) {
  Item item;
  item.kind = Kind::kBool;
  item.boolean = value;
  return item;
}
inline Item IntItem(int64_t value) {
  Item item;
  item.kind = Kind::kInt;
  item.integer = value;
  return item;
}
inline Item FloatItem(double value) {
  Item item;
  item.kind = Kind::kFloat;
  item.number = value;
  return item;
}
// Borrows the bytes.
inline Item StringItem(std::string_view text) {
  Item item;
  item.kind = Kind::kString;
  item.text = text;
  return item;
}
inline Item UndefinedItem(std::string_view what) {
  Item item;
  item.text = what;
  return item;
}

// Python's name of the type ("str", "NoneType").
std::string_view TypeName(const Item& item);
bool IsTrue(const Item& item);

// Nesting that the recursive functions below follow; beyond it they give resource_exhausted.
inline constexpr int kMaxItemDepth = 200;

// str(): a string as it is, everything else as Python prints it.
Status AppendText(std::string& out, const Item& item);
// repr().
Status AppendRepr(std::string& out, const Item& item, int depth = 0);

Result<bool> Equal(const Item& a, const Item& b, int depth = 0);
// a < b. Errors: invalid_argument when the types have no order.
Result<bool> Less(const Item& a, const Item& b, int depth = 0);
// The member of a dict, or null.
const Item* FindMember(const DictObject& dict, const Item& key);
const Item* FindMember(const DictObject& dict, std::string_view key);
void SetMember(DictObject& dict, const Item& key, const Item& value);

// json.dumps(item, ensure_ascii=False, …).
struct JsonStyle {
  std::string indent;  // one level; with `indented`
  bool indented = false;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
Status AppendJson(std::string& out, const Item& item, const JsonStyle& style, int depth = 0);

}  // namespace rag::jinja
