// The syntax tree of a template.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rag::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

enum class ExprKind : uint8_t {
  kNone,
  kBool,             // integer
  kInteger,          // integer
  kFloat,            // number
  kString,           // text
  kName,             // text
  kNamespaceTarget,  // text.attribute on the left of a set
  kList,             // children
  kTuple,            // children
  kDict,             // children: key, value, key, value …
  kAttribute,        // children[0].text
  kItem,             // children[0][children[1]]
  kSlice,   // children[0][children[1]:children[2]:children[3]], each of the last may be null
  kCall,    // children[0](arguments)
  kFilter,  // children[0]|text(arguments); children[0] null: filters a block
  kTest,    // children[0] is text(arguments)
  kNot,
  kNegate,
  kPlus,
  kBinary,   // text is the operator: + - * / // % **
  kConcat,   // children joined by ~
  kCompare,  // children[0] operators[0] children[1] operators[1] …
  kAnd,
  kOr,
  kConditional,  // children[1] if children[0] else children[2] (may be null)
};

struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr more_positional;  // *args
  ExprPtr more_named;       // **kwargs
};

struct Expr {
  ExprKind kind = ExprKind::kNone;
  int line = 1;
  int depth = 1;  // of the tree below, bounded by the parser
  int64_t integer = 0;
  double number = 0;
  std::string text;
  std::string attribute;
  std::vector<ExprPtr> children;
  std::vector<std::string> operators;
  Arguments arguments;
};

struct Stmt;
using Block = std::vector<std::unique_ptr<Stmt>>;

enum class StmtKind : uint8_t {
  kText,         // text
  kOutput,       // exprs
  kIf,           // branches; a null condition is the else
  kFor,          // target in exprs[0] if condition: body, otherwise
  kSet,          // target = exprs[0]
  kSetBlock,     // target = body through the filter chain exprs[0] (may be null)
  kMacro,        // macro
  kCallBlock,    // exprs[0] is the call, macro the caller
  kFilterBlock,  // body through exprs[0]
  kWith,         // targets[i] = exprs[i], then body
  kScope,        // body with names of its own (generation)
  kBreak,
  kContinue,
};

struct Macro {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExprPtr> defaults;  // of the last parameters
  Block body;
  bool uses_varargs = false;  // the body names varargs, kwargs or caller
  bool uses_kwargs = false;
  bool uses_caller = false;
};

struct Stmt {
  StmtKind kind = StmtKind::kText;
  int line = 1;
  std::string text;
  std::vector<ExprPtr> exprs;
  std::vector<ExprPtr> targets;
  ExprPtr condition;
  struct Branch {
    ExprPtr condition;
    Block body;
  };
  std::vector<Branch> branches;
  Block body;
  Block otherwise;
  std::unique_ptr<Macro> macro;
};

}  // namespace rag::jinja
