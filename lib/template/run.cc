// Machine: statements.
#include <algorithm>

#include "lib/template/machine.h"

namespace rag::jinja {
namespace {

// As deep as ParseJson lets a value be, with room.
constexpr int kMaxVariableDepth = kMaxItemDepth;

void SetName(Scope* scope, std::string_view name, const Item& value) {
  for (auto& [known, item] : scope->names) {
    if (known == name) {
      item = value;
      return;
    }
  }
  scope->names.emplace_back(name, value);
}

}  // namespace

Result<std::string> Machine::Render(const Block& block, const Value& variables) {
  if (!variables.is_object()) {
    return InvalidArgumentError(name_, ": the variables must be an object, not ",
                                variables.type_name());
  }
  Scope* globals = arena_.NewScope(nullptr);
  for (const auto& [key, value] : variables.as_object()) {
    auto item = Convert(value, 0);
    if (!item.ok()) {
      return std::move(item).status().WithContext(StrCat(name_, ": variable '", key, "'"));
    }
    globals->names.emplace_back(key, *item);
  }
  std::string out;
  auto flow = RunBlock(block, arena_.NewScope(globals), out);
  if (!flow.ok()) return std::move(flow).status();
  return out;
}

Result<Item> Machine::Convert(const Value& value, int depth) {
  if (depth > kMaxVariableDepth) {
    return ResourceExhaustedError("nested more than ", kMaxVariableDepth, " levels deep");
  }
  RAG_RETURN_IF_ERROR(Spend(1));
  if (value.is_null()) return NoneItem();
  if (value.is_bool()) return BoolItem(value.as_bool());
  if (value.is_int()) return IntItem(value.as_int());
  if (value.is_double()) return FloatItem(value.as_double());
  if (value.is_string()) return StringItem(value.as_string());
  Item item;
  if (value.is_array()) {
    item.kind = Kind::kList;
    item.list = arena_.NewList();
    for (const Value& member : value.as_array()) {
      RAG_ASSIGN_OR_RETURN(const Item converted, Convert(member, depth + 1));
      item.list->items.push_back(converted);
    }
    return item;
  }
  item.kind = Kind::kDict;
  item.dict = arena_.NewDict();
  for (const auto& [key, member] : value.as_object()) {
    RAG_ASSIGN_OR_RETURN(const Item converted, Convert(member, depth + 1));
    item.dict->members.emplace_back(StringItem(key), converted);
  }
  return item;
}

Status Machine::CheckOutput(const std::string& out) const {
  if (out.size() <= limits_.max_output_bytes) return OkStatus();
  return ResourceExhaustedError("more than ", limits_.max_output_bytes, " bytes of output");
}

Status Machine::Emit(const Item& item, std::string& out) {
  const size_t before = out.size();
  RAG_RETURN_IF_ERROR(AppendText(out, item));
  RAG_RETURN_IF_ERROR(SpendBytes(out.size() - before));
  return CheckOutput(out);
}

Status Machine::Assign(const Expr& target, const Item& value, Scope* scope) {
  if (target.kind == ExprKind::kName) {
    SetName(scope, target.text, value);
    return OkStatus();
  }
  if (target.kind == ExprKind::kNamespaceTarget) {
    const Item object = Lookup(target.text, scope);
    if (!object.is(Kind::kNamespace)) {
      return InvalidArgumentError("cannot set an attribute of '", target.text,
                                  "': it is no namespace");
    }
    SetMember(*object.dict, StringItem(target.attribute), value);
    return OkStatus();
  }
  RAG_ASSIGN_OR_RETURN(const std::vector<Item> items, Iterate(value));
  if (items.size() != target.children.size()) {
    return InvalidArgumentError("cannot unpack ", items.size(), " values into ",
                                target.children.size(), " names");
  }
  for (size_t i = 0; i < items.size(); ++i) {
    RAG_RETURN_IF_ERROR(Assign(*target.children[i], items[i], scope));
  }
  return OkStatus();
}

Result<Machine::Flow> Machine::RunBlock(const Block& block, Scope* scope, std::string& out) {
  for (const auto& stmt : block) {
    ++depth_;
    Result<Flow> flow = RunStmt(*stmt, scope, out);
    --depth_;
    if (!flow.ok()) return Locate(std::move(flow).status(), stmt->line);
    if (*flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Result<Machine::Flow> Machine::RunStmt(const Stmt& stmt, Scope* scope, std::string& out) {
  RAG_RETURN_IF_ERROR(Spend(1));
  switch (stmt.kind) {
    case StmtKind::kText:
      RAG_RETURN_IF_ERROR(Emit(StringItem(stmt.text), out));
      return Flow::kNext;
    case StmtKind::kOutput:
      for (const ExprPtr& expr : stmt.exprs) {
        RAG_ASSIGN_OR_RETURN(const Item item, Evaluate(*expr, scope));
        RAG_RETURN_IF_ERROR(Emit(item, out));
      }
      return Flow::kNext;
    case StmtKind::kIf:
      for (const Stmt::Branch& branch : stmt.branches) {
        if (branch.condition != nullptr) {
          RAG_ASSIGN_OR_RETURN(const Item condition, Evaluate(*branch.condition, scope));
          if (!IsTrue(condition)) continue;
        }
        return RunBlock(branch.body, scope, out);
      }
      return Flow::kNext;
    case StmtKind::kFor:
      return RunFor(stmt, scope, out);
    case StmtKind::kSet: {
      RAG_ASSIGN_OR_RETURN(const Item value, Evaluate(*stmt.exprs[0], scope));
      RAG_RETURN_IF_ERROR(Assign(*stmt.targets[0], value, scope));
      return Flow::kNext;
    }
    case StmtKind::kSetBlock:
    case StmtKind::kFilterBlock: {
      std::string text;
      RAG_ASSIGN_OR_RETURN(const Flow flow, RunBlock(stmt.body, arena_.NewScope(scope), text));
      if (flow != Flow::kNext) return flow;
      RAG_ASSIGN_OR_RETURN(Item value, MakeString(std::move(text)));
      if (stmt.exprs[0] != nullptr) {
        RAG_ASSIGN_OR_RETURN(value, EvaluateFilter(*stmt.exprs[0], &value, scope));
      }
      if (stmt.kind == StmtKind::kSetBlock) {
        RAG_RETURN_IF_ERROR(Assign(*stmt.targets[0], value, scope));
      } else {
        RAG_RETURN_IF_ERROR(Emit(value, out));
      }
      return Flow::kNext;
    }
    case StmtKind::kMacro: {
      Item macro;
      macro.kind = Kind::kMacro;
      macro.macro = arena_.NewMacro();
      macro.macro->macro = stmt.macro.get();
      macro.macro->scope = scope;
      SetName(scope, stmt.macro->name, macro);
      return Flow::kNext;
    }
    case StmtKind::kCallBlock:
      RAG_RETURN_IF_ERROR(RunCallBlock(stmt, scope, out));
      return Flow::kNext;
    case StmtKind::kWith: {
      // The values see the names outside, not one another.
      Scope* inner = arena_.NewScope(scope);
      for (size_t i = 0; i < stmt.targets.size(); ++i) {
        RAG_ASSIGN_OR_RETURN(const Item value, Evaluate(*stmt.exprs[i], scope));
        RAG_RETURN_IF_ERROR(Assign(*stmt.targets[i], value, inner));
      }
      return RunBlock(stmt.body, inner, out);
    }
    case StmtKind::kScope:
      return RunBlock(stmt.body, arena_.NewScope(scope), out);
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return InternalError("unknown statement");
}

Status Machine::RunCallBlock(const Stmt& stmt, Scope* scope, std::string& out) {
  Item caller;
  caller.kind = Kind::kMacro;
  caller.macro = arena_.NewMacro();
  caller.macro->macro = stmt.macro.get();
  caller.macro->scope = scope;
  const Expr& call = *stmt.exprs[0];
  RAG_ASSIGN_OR_RETURN(const Item callee, Evaluate(*call.children[0], scope));
  RAG_ASSIGN_OR_RETURN(CallArguments arguments, EvaluateArguments(call.arguments, scope));
  if (!callee.is(Kind::kMacro)) {
    return InvalidArgumentError("a call block needs a macro, not ", TypeName(callee));
  }
  if (!callee.macro->macro->uses_caller) {
    return InvalidArgumentError("macro '", callee.macro->macro->name, "' does not use its caller");
  }
  RAG_ASSIGN_OR_RETURN(const Item text, CallMacro(*callee.macro, arguments, &caller));
  return Emit(text, out);
}

Result<Machine::Flow> Machine::RunFor(const Stmt& stmt, Scope* scope, std::string& out) {
  RAG_ASSIGN_OR_RETURN(const Item iterable, Evaluate(*stmt.exprs[0], scope));
  RAG_ASSIGN_OR_RETURN(std::vector<Item> items, Iterate(iterable));
  if (stmt.condition != nullptr) {
    std::vector<Item> kept;
    for (const Item& item : items) {
      Scope* inner = arena_.NewScope(scope);
      RAG_RETURN_IF_ERROR(Assign(*stmt.targets[0], item, inner));
      RAG_ASSIGN_OR_RETURN(const Item holds, Evaluate(*stmt.condition, inner));
      if (IsTrue(holds)) kept.push_back(item);
    }
    items = std::move(kept);
  }
  if (items.empty()) return RunBlock(stmt.otherwise, arena_.NewScope(scope), out);

  // The list lives as long as the loop object, which a namespace may keep.
  RAG_ASSIGN_OR_RETURN(const Item list, MakeList(std::move(items)));
  Item loop;
  loop.kind = Kind::kLoop;
  loop.loop = arena_.NewLoop();
  loop.loop->items = &list.list->items;
  for (size_t i = 0; i < list.list->items.size(); ++i) {
    loop.loop->index = i;
    Scope* inner = arena_.NewScope(scope);
    inner->names.emplace_back("loop", loop);
    RAG_RETURN_IF_ERROR(Assign(*stmt.targets[0], list.list->items[i], inner));
    RAG_ASSIGN_OR_RETURN(const Flow flow, RunBlock(stmt.body, inner, out));
    if (flow == Flow::kBreak) break;
  }
  return Flow::kNext;
}

}  // namespace rag::jinja
