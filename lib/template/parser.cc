#include "lib/template/parser.h"

#include <algorithm>

#include "lib/template/token.h"

namespace rag::jinja {
namespace {

// Recursive descent over the grammar of jinja2/parser.py (3.1), which names the methods.
class Parser {
 public:
  Parser(std::vector<Token> tokens, std::string_view name)
      : tokens_(std::move(tokens)), name_(name) {}

  Result<Block> Run() {
    RAG_ASSIGN_OR_RETURN(Block block, ParseBody({}));
    return block;
  }

 private:
  const Token& Current() const { return tokens_[position_]; }
  const Token& Look() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  const Token& Next() {
    const Token& token = tokens_[position_];
    if (position_ + 1 < tokens_.size()) ++position_;
    return token;
  }
  bool SkipName(std::string_view name) {
    if (!Current().IsName(name)) return false;
    Next();
    return true;
  }
  bool SkipOperator(std::string_view op) {
    if (!Current().IsOperator(op)) return false;
    Next();
    return true;
  }

  template <class... Pieces>
  Status ErrorAt(int line, const Pieces&... pieces) const {
    return InvalidArgumentError(name_, ":", line, ": ", pieces...);
  }
  template <class... Pieces>
  Status Error(const Pieces&... pieces) const {
    return ErrorAt(Current().line, pieces...);
  }

  Status ExpectOperator(std::string_view op) {
    if (SkipOperator(op)) return OkStatus();
    return Error("expected '", op, "', found ", Describe(Current()));
  }
  Status ExpectKind(TokenKind kind, std::string_view what) {
    if (Current().kind != kind) return Error("expected ", what, ", found ", Describe(Current()));
    Next();
    return OkStatus();
  }
  Status ExpectName(std::string_view name) {
    if (SkipName(name)) return OkStatus();
    return Error("expected '", name, "', found ", Describe(Current()));
  }
  Result<std::string> ExpectAnyName() {
    if (Current().kind != TokenKind::kName) {
      return Error("expected a name, found ", Describe(Current()));
    }
    return Next().text;
  }

  Status TooDeep() const {
    return ResourceExhaustedError(name_, ":", Current().line, ": nested more than ", kMaxNesting,
                                  " levels deep");
  }

  // Counts a level for the life of a recursive call.
  class Level {
   public:
    explicit Level(int& depth) : depth_(depth) { ++depth_; }
    ~Level() { --depth_; }
    bool too_deep() const { return depth_ > kMaxNesting; }

   private:
    int& depth_;
  };

  // --- expressions ---

  static ExprPtr NewExpr(ExprKind kind, int line) {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->line = line;
    return expr;
  }

  // The finished node, its depth set. Chains like a|b|c and 1 + 2 + 3 deepen the tree without the
  // parser recursing, so the bound is also looked at here.
  Result<ExprPtr> Finish(ExprPtr expr) const {
    int depth = 0;
    const auto see = [&depth](const ExprPtr& child) {
      if (child != nullptr) depth = std::max(depth, child->depth);
    };
    for (const ExprPtr& child : expr->children) see(child);
    for (const ExprPtr& child : expr->arguments.positional) see(child);
    for (const auto& [key, child] : expr->arguments.named) see(child);
    see(expr->arguments.more_positional);
    see(expr->arguments.more_named);
    expr->depth = depth + 1;
    if (expr->depth > kMaxNesting) return TooDeep();
    return expr;
  }

  template <class... Children>
  Result<ExprPtr> Make(ExprKind kind, int line, std::string text, Children... children) const {
    ExprPtr expr = NewExpr(kind, line);
    expr->text = std::move(text);
    (expr->children.push_back(std::move(children)), ...);
    return Finish(std::move(expr));
  }

  Result<ExprPtr> ParseExpression() {
    const Level level(depth_);
    if (level.too_deep()) return TooDeep();
    int line = Current().line;
    RAG_ASSIGN_OR_RETURN(ExprPtr value, ParseOr());
    while (SkipName("if")) {
      RAG_ASSIGN_OR_RETURN(ExprPtr condition, ParseOr());
      ExprPtr otherwise;
      if (SkipName("else")) {
        RAG_ASSIGN_OR_RETURN(otherwise, ParseExpression());
      }
      RAG_ASSIGN_OR_RETURN(value, Make(ExprKind::kConditional, line, "", std::move(condition),
                                       std::move(value), std::move(otherwise)));
      line = Current().line;
    }
    return value;
  }

  Result<ExprPtr> ParseOr() {
    RAG_ASSIGN_OR_RETURN(ExprPtr left, ParseAnd());
    while (Current().IsName("or")) {
      const int line = Next().line;
      RAG_ASSIGN_OR_RETURN(ExprPtr right, ParseAnd());
      RAG_ASSIGN_OR_RETURN(left, Make(ExprKind::kOr, line, "", std::move(left), std::move(right)));
    }
    return left;
  }

  Result<ExprPtr> ParseAnd() {
    RAG_ASSIGN_OR_RETURN(ExprPtr left, ParseNot());
    while (Current().IsName("and")) {
      const int line = Next().line;
      RAG_ASSIGN_OR_RETURN(ExprPtr right, ParseNot());
      RAG_ASSIGN_OR_RETURN(left, Make(ExprKind::kAnd, line, "", std::move(left), std::move(right)));
    }
    return left;
  }

  Result<ExprPtr> ParseNot() {
    if (!Current().IsName("not")) return ParseCompare();
    const Level level(depth_);
    if (level.too_deep()) return TooDeep();
    const int line = Next().line;
    RAG_ASSIGN_OR_RETURN(ExprPtr operand, ParseNot());
    return Make(ExprKind::kNot, line, "", std::move(operand));
  }

  Result<ExprPtr> ParseCompare() {
    const int line = Current().line;
    RAG_ASSIGN_OR_RETURN(ExprPtr first, ParseSum());
    ExprPtr compare;
    while (true) {
      std::string op;
      for (const std::string_view candidate : {"==", "!=", "<=", ">=", "<", ">"}) {
        if (Current().IsOperator(candidate)) op = candidate;
      }
      if (!op.empty()) {
        Next();
      } else if (SkipName("in")) {
        op = "in";
      } else if (Current().IsName("not") && Look().IsName("in")) {
        Next();
        Next();
        op = "not in";
      } else {
        break;
      }
      if (compare == nullptr) {
        compare = NewExpr(ExprKind::kCompare, line);
        compare->children.push_back(std::move(first));
      }
      compare->operators.push_back(std::move(op));
      RAG_ASSIGN_OR_RETURN(ExprPtr operand, ParseSum());
      compare->children.push_back(std::move(operand));
    }
    if (compare == nullptr) return first;
    return Finish(std::move(compare));
  }

  Result<ExprPtr> ParseSum() {
    RAG_ASSIGN_OR_RETURN(ExprPtr left, ParseConcat());
    while (Current().IsOperator("+") || Current().IsOperator("-")) {
      const Token& op = Next();
      RAG_ASSIGN_OR_RETURN(ExprPtr right, ParseConcat());
      RAG_ASSIGN_OR_RETURN(
          left, Make(ExprKind::kBinary, op.line, op.text, std::move(left), std::move(right)));
    }
    return left;
  }

  Result<ExprPtr> ParseConcat() {
    RAG_ASSIGN_OR_RETURN(ExprPtr first, ParseProduct());
    if (!Current().IsOperator("~")) return first;
    ExprPtr concat = NewExpr(ExprKind::kConcat, Current().line);
    concat->children.push_back(std::move(first));
    while (SkipOperator("~")) {
      RAG_ASSIGN_OR_RETURN(ExprPtr part, ParseProduct());
      concat->children.push_back(std::move(part));
    }
    return Finish(std::move(concat));
  }

  Result<ExprPtr> ParseProduct() {
    RAG_ASSIGN_OR_RETURN(ExprPtr left, ParsePower());
    while (Current().IsOperator("*") || Current().IsOperator("/") || Current().IsOperator("//") ||
           Current().IsOperator("%")) {
      const Token& op = Next();
      RAG_ASSIGN_OR_RETURN(ExprPtr right, ParsePower());
      RAG_ASSIGN_OR_RETURN(
          left, Make(ExprKind::kBinary, op.line, op.text, std::move(left), std::move(right)));
    }
    return left;
  }

  Result<ExprPtr> ParsePower() {
    RAG_ASSIGN_OR_RETURN(ExprPtr left, ParseUnary(true));
    while (Current().IsOperator("**")) {
      const Token& op = Next();
      RAG_ASSIGN_OR_RETURN(ExprPtr right, ParseUnary(true));
      RAG_ASSIGN_OR_RETURN(
          left, Make(ExprKind::kBinary, op.line, op.text, std::move(left), std::move(right)));
    }
    return left;
  }

  Result<ExprPtr> ParseUnary(bool with_filter) {
    ExprPtr node;
    if (Current().IsOperator("-") || Current().IsOperator("+")) {
      const Level level(depth_);
      if (level.too_deep()) return TooDeep();
      const Token& op = Next();
      RAG_ASSIGN_OR_RETURN(ExprPtr operand, ParseUnary(false));
      RAG_ASSIGN_OR_RETURN(node, Make(op.text == "-" ? ExprKind::kNegate : ExprKind::kPlus, op.line,
                                      "", std::move(operand)));
    } else {
      RAG_ASSIGN_OR_RETURN(node, ParsePrimary(false));
    }
    RAG_ASSIGN_OR_RETURN(node, ParsePostfix(std::move(node)));
    if (with_filter) return ParseFiltersAndTests(std::move(node));
    return node;
  }

  Result<ExprPtr> ParsePrimary(bool with_namespace) {
    const Token& token = Current();
    switch (token.kind) {
      case TokenKind::kName: {
        Next();
        const std::string& text = token.text;
        if (text == "true" || text == "True" || text == "false" || text == "False") {
          ExprPtr expr = NewExpr(ExprKind::kBool, token.line);
          expr->integer = text == "true" || text == "True";
          return expr;
        }
        if (text == "none" || text == "None") return NewExpr(ExprKind::kNone, token.line);
        if (with_namespace && SkipOperator(".")) {
          ExprPtr expr = NewExpr(ExprKind::kNamespaceTarget, token.line);
          expr->text = text;
          RAG_ASSIGN_OR_RETURN(expr->attribute, ExpectAnyName());
          return expr;
        }
        if (text == "varargs") uses_varargs_ = true;
        if (text == "kwargs") uses_kwargs_ = true;
        if (text == "caller") uses_caller_ = true;
        return Make(ExprKind::kName, token.line, text);
      }
      case TokenKind::kString: {
        ExprPtr expr = NewExpr(ExprKind::kString, token.line);
        while (Current().kind == TokenKind::kString) expr->text += Next().text;
        return expr;
      }
      case TokenKind::kInteger: {
        ExprPtr expr = NewExpr(ExprKind::kInteger, token.line);
        expr->integer = Next().integer;
        return expr;
      }
      case TokenKind::kFloat: {
        ExprPtr expr = NewExpr(ExprKind::kFloat, token.line);
        expr->number = Next().number;
        return expr;
      }
      case TokenKind::kOperator:
        if (token.text == "(") {
          Next();
          RAG_ASSIGN_OR_RETURN(ExprPtr inner, ParseTuple({.parenthesized = true}));
          RAG_RETURN_IF_ERROR(ExpectOperator(")"));
          return inner;
        }
        if (token.text == "[") return ParseList();
        if (token.text == "{") return ParseDict();
        break;
      default:
        break;
    }
    return Error("unexpected ", Describe(token));
  }

  struct TupleOptions {
    bool targets = false;  // names and their tuples only
    bool with_namespace = false;
    bool with_condition = true;
    bool parenthesized = false;
    std::string_view end_name = {};
  };

  Result<ExprPtr> ParseTuple(const TupleOptions& options) {
    const Level level(depth_);
    if (level.too_deep()) return TooDeep();
    const int line = Current().line;
    std::vector<ExprPtr> items;
    bool is_tuple = false;
    while (true) {
      if (!items.empty()) RAG_RETURN_IF_ERROR(ExpectOperator(","));
      const Token& token = Current();
      if (token.kind == TokenKind::kVariableEnd || token.kind == TokenKind::kBlockEnd ||
          token.IsOperator(")") || (!options.end_name.empty() && token.IsName(options.end_name))) {
        break;
      }
      auto item = options.targets          ? ParsePrimary(options.with_namespace)
                  : options.with_condition ? ParseExpression()
                                           : ParseOr();
      if (!item.ok()) return std::move(item).status();
      items.push_back(std::move(item).value());
      if (!Current().IsOperator(",")) break;
      is_tuple = true;
    }
    if (!is_tuple) {
      if (!items.empty()) return std::move(items[0]);
      if (!options.parenthesized) {
        return Error("expected an expression, found ", Describe(Current()));
      }
    }
    ExprPtr tuple = NewExpr(ExprKind::kTuple, line);
    tuple->children = std::move(items);
    return Finish(std::move(tuple));
  }

  Result<ExprPtr> ParseList() {
    ExprPtr list = NewExpr(ExprKind::kList, Next().line);
    while (!Current().IsOperator("]")) {
      if (!list->children.empty()) RAG_RETURN_IF_ERROR(ExpectOperator(","));
      if (Current().IsOperator("]")) break;
      RAG_ASSIGN_OR_RETURN(ExprPtr item, ParseExpression());
      list->children.push_back(std::move(item));
    }
    Next();
    return Finish(std::move(list));
  }

  Result<ExprPtr> ParseDict() {
    ExprPtr dict = NewExpr(ExprKind::kDict, Next().line);
    while (!Current().IsOperator("}")) {
      if (!dict->children.empty()) RAG_RETURN_IF_ERROR(ExpectOperator(","));
      if (Current().IsOperator("}")) break;
      RAG_ASSIGN_OR_RETURN(ExprPtr key, ParseExpression());
      RAG_RETURN_IF_ERROR(ExpectOperator(":"));
      RAG_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
      dict->children.push_back(std::move(key));
      dict->children.push_back(std::move(value));
    }
    Next();
    return Finish(std::move(dict));
  }

  Result<ExprPtr> ParsePostfix(ExprPtr node) {
    while (true) {
      if (Current().IsOperator(".") || Current().IsOperator("[")) {
        RAG_ASSIGN_OR_RETURN(node, ParseSubscript(std::move(node)));
      } else if (Current().IsOperator("(")) {
        RAG_ASSIGN_OR_RETURN(node, ParseCall(std::move(node)));
      } else {
        return node;
      }
    }
  }

  Result<ExprPtr> ParseFiltersAndTests(ExprPtr node) {
    while (true) {
      if (Current().IsOperator("|")) {
        Next();
        RAG_ASSIGN_OR_RETURN(node, ParseFilter(std::move(node)));
      } else if (Current().IsName("is")) {
        RAG_ASSIGN_OR_RETURN(node, ParseTest(std::move(node)));
      } else if (Current().IsOperator("(")) {
        RAG_ASSIGN_OR_RETURN(node, ParseCall(std::move(node)));
      } else {
        return node;
      }
    }
  }

  Result<ExprPtr> ParseSubscript(ExprPtr node) {
    const Token& open = Next();
    if (open.text == ".") {
      const Token& token = Next();
      if (token.kind == TokenKind::kName) {
        return Make(ExprKind::kAttribute, open.line, token.text, std::move(node));
      }
      if (token.kind != TokenKind::kInteger) {
        return ErrorAt(token.line, "expected a name or a number, found ", Describe(token));
      }
      ExprPtr index = NewExpr(ExprKind::kInteger, token.line);
      index->integer = token.integer;
      return Make(ExprKind::kItem, open.line, "", std::move(node), std::move(index));
    }
    if (Current().IsOperator(":")) return ParseSlice(std::move(node), nullptr, open.line);
    RAG_ASSIGN_OR_RETURN(ExprPtr index, ParseExpression());
    if (Current().IsOperator(":")) {
      return ParseSlice(std::move(node), std::move(index), open.line);
    }
    if (Current().IsOperator(",")) {
      ExprPtr tuple = NewExpr(ExprKind::kTuple, open.line);
      tuple->children.push_back(std::move(index));
      while (SkipOperator(",")) {
        RAG_ASSIGN_OR_RETURN(ExprPtr item, ParseExpression());
        tuple->children.push_back(std::move(item));
      }
      RAG_ASSIGN_OR_RETURN(index, Finish(std::move(tuple)));
    }
    RAG_RETURN_IF_ERROR(ExpectOperator("]"));
    return Make(ExprKind::kItem, open.line, "", std::move(node), std::move(index));
  }

  Result<ExprPtr> ParseSlice(ExprPtr node, ExprPtr start, int line) {
    RAG_RETURN_IF_ERROR(ExpectOperator(":"));
    ExprPtr stop;
    ExprPtr step;
    if (!Current().IsOperator(":") && !Current().IsOperator("]")) {
      RAG_ASSIGN_OR_RETURN(stop, ParseExpression());
    }
    if (SkipOperator(":") && !Current().IsOperator("]")) {
      RAG_ASSIGN_OR_RETURN(step, ParseExpression());
    }
    RAG_RETURN_IF_ERROR(ExpectOperator("]"));
    return Make(ExprKind::kSlice, line, "", std::move(node), std::move(start), std::move(stop),
                std::move(step));
  }

  Status ParseArguments(Arguments& arguments) {
    const int line = Current().line;
    RAG_RETURN_IF_ERROR(ExpectOperator("("));
    bool comma = false;
    while (!Current().IsOperator(")")) {
      if (comma) {
        RAG_RETURN_IF_ERROR(ExpectOperator(","));
        if (Current().IsOperator(")")) break;
      }
      comma = true;
      const bool named_begun = arguments.more_named != nullptr;
      if (SkipOperator("*")) {
        if (arguments.more_positional != nullptr || named_begun) return BadCall(line);
        RAG_ASSIGN_OR_RETURN(arguments.more_positional, ParseExpression());
      } else if (SkipOperator("**")) {
        if (named_begun) return BadCall(line);
        RAG_ASSIGN_OR_RETURN(arguments.more_named, ParseExpression());
      } else if (Current().kind == TokenKind::kName && Look().IsOperator("=")) {
        if (named_begun) return BadCall(line);
        std::string key = Next().text;
        Next();
        RAG_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
        arguments.named.emplace_back(std::move(key), std::move(value));
      } else {
        if (arguments.more_positional != nullptr || named_begun || !arguments.named.empty()) {
          return BadCall(line);
        }
        RAG_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
        arguments.positional.push_back(std::move(value));
      }
    }
    return ExpectOperator(")");
  }
  Status BadCall(int line) const { return ErrorAt(line, "arguments are given in the wrong order"); }

  Result<ExprPtr> ParseCall(ExprPtr callee) {
    ExprPtr call = NewExpr(ExprKind::kCall, Current().line);
    call->children.push_back(std::move(callee));
    RAG_RETURN_IF_ERROR(ParseArguments(call->arguments));
    return Finish(std::move(call));
  }

  // After the '|'. node may be null: a filter of a block.
  Result<ExprPtr> ParseFilter(ExprPtr node) {
    ExprPtr filter = NewExpr(ExprKind::kFilter, Current().line);
    RAG_ASSIGN_OR_RETURN(filter->text, ExpectAnyName());
    while (SkipOperator(".")) {
      RAG_ASSIGN_OR_RETURN(const std::string part, ExpectAnyName());
      filter->text += "." + part;
    }
    filter->children.push_back(std::move(node));
    if (Current().IsOperator("(")) RAG_RETURN_IF_ERROR(ParseArguments(filter->arguments));
    return Finish(std::move(filter));
  }

  Result<ExprPtr> ParseFilterChain() {
    ExprPtr filter;
    do {
      RAG_ASSIGN_OR_RETURN(filter, ParseFilter(std::move(filter)));
    } while (SkipOperator("|"));
    return filter;
  }

  Result<ExprPtr> ParseTest(ExprPtr node) {
    const int line = Next().line;
    const bool negated = SkipName("not");
    ExprPtr test = NewExpr(ExprKind::kTest, line);
    RAG_ASSIGN_OR_RETURN(test->text, ExpectAnyName());
    test->children.push_back(std::move(node));
    const Token& token = Current();
    if (token.IsOperator("(")) {
      RAG_RETURN_IF_ERROR(ParseArguments(test->arguments));
    } else if (token.kind == TokenKind::kString || token.kind == TokenKind::kInteger ||
               token.kind == TokenKind::kFloat || token.IsOperator("[") || token.IsOperator("{") ||
               (token.kind == TokenKind::kName && !token.IsName("else") && !token.IsName("or") &&
                !token.IsName("and"))) {
      if (token.IsName("is")) return Error("tests cannot be chained with 'is'");
      RAG_ASSIGN_OR_RETURN(ExprPtr argument, ParsePrimary(false));
      RAG_ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
      test->arguments.positional.push_back(std::move(argument));
    }
    RAG_ASSIGN_OR_RETURN(test, Finish(std::move(test)));
    if (!negated) return test;
    return Make(ExprKind::kNot, line, "", std::move(test));
  }

  // --- statements ---

  using Ends = std::vector<std::string_view>;

  static std::unique_ptr<Stmt> NewStmt(StmtKind kind, int line) {
    auto stmt = std::make_unique<Stmt>();
    stmt->kind = kind;
    stmt->line = line;
    return stmt;
  }

  // Up to one of `ends`, whose token is left current; the whole template when there are none.
  Result<Block> ParseBody(const Ends& ends) {
    const Level level(depth_);
    if (level.too_deep()) return TooDeep();
    Block block;
    while (Current().kind != TokenKind::kEnd) {
      const Token& token = Next();
      if (token.kind == TokenKind::kData) {
        block.push_back(NewStmt(StmtKind::kText, token.line));
        block.back()->text = token.text;
      } else if (token.kind == TokenKind::kVariableBegin) {
        block.push_back(NewStmt(StmtKind::kOutput, token.line));
        RAG_ASSIGN_OR_RETURN(ExprPtr value, ParseTuple({}));
        block.back()->exprs.push_back(std::move(value));
        RAG_RETURN_IF_ERROR(ExpectKind(TokenKind::kVariableEnd, "'}}'"));
      } else {
        for (const std::string_view end : ends) {
          if (Current().IsName(end)) return block;
        }
        RAG_ASSIGN_OR_RETURN(std::unique_ptr<Stmt> stmt, ParseStatement());
        block.push_back(std::move(stmt));
        RAG_RETURN_IF_ERROR(ExpectKind(TokenKind::kBlockEnd, "'%}'"));
      }
    }
    if (!ends.empty()) {
      return Error("the template ends where '", ends.back(), "' was expected");
    }
    return block;
  }

  Result<Block> ParseStatements(const Ends& ends) {
    SkipOperator(":");
    RAG_RETURN_IF_ERROR(ExpectKind(TokenKind::kBlockEnd, "'%}'"));
    return ParseBody(ends);
  }

  Result<Block> ParseUntil(std::string_view end) {
    RAG_ASSIGN_OR_RETURN(Block block, ParseStatements({end}));
    Next();
    return block;
  }

  using StmtResult = Result<std::unique_ptr<Stmt>>;

  StmtResult ParseStatement() {
    const Token& token = Current();
    if (token.kind != TokenKind::kName) {
      return Error("expected the name of a tag, found ", Describe(token));
    }
    const std::string& name = token.text;
    if (name == "if") return ParseIf();
    if (name == "for") return ParseFor();
    if (name == "set") return ParseSet();
    if (name == "macro") return ParseMacro();
    if (name == "call") return ParseCallBlock();
    if (name == "filter") return ParseFilterBlock();
    if (name == "with") return ParseWith();
    if (name == "print") return ParsePrint();
    if (name == "generation") {
      auto stmt = NewStmt(StmtKind::kScope, Next().line);
      RAG_ASSIGN_OR_RETURN(stmt->body, ParseUntil("endgeneration"));
      return stmt;
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) return Error("'", name, "' outside of a loop");
      const int line = Next().line;
      return NewStmt(name == "break" ? StmtKind::kBreak : StmtKind::kContinue, line);
    }
    for (const std::string_view known :
         {"include", "extends", "import", "from", "block", "autoescape", "do", "trans"}) {
      if (name == known) return Error("the tag '", name, "' is not supported");
    }
    return Error("unknown tag '", name, "'");
  }

  StmtResult ParseIf() {
    auto stmt = NewStmt(StmtKind::kIf, Current().line);
    while (true) {
      Next();
      Stmt::Branch branch;
      RAG_ASSIGN_OR_RETURN(branch.condition, ParseTuple({.with_condition = false}));
      RAG_ASSIGN_OR_RETURN(branch.body, ParseStatements({"elif", "else", "endif"}));
      stmt->branches.push_back(std::move(branch));
      if (Current().IsName("elif")) continue;
      if (Next().text == "else") {
        Stmt::Branch last;
        RAG_ASSIGN_OR_RETURN(last.body, ParseUntil("endif"));
        stmt->branches.push_back(std::move(last));
      }
      return stmt;
    }
  }

  Result<ExprPtr> ParseTarget(const TupleOptions& options) {
    const int line = Current().line;
    RAG_ASSIGN_OR_RETURN(ExprPtr target, ParseTuple(options));
    if (!IsTarget(*target)) return ErrorAt(line, "cannot assign to this expression");
    return target;
  }

  static bool IsTarget(const Expr& expr) {
    if (expr.kind == ExprKind::kName || expr.kind == ExprKind::kNamespaceTarget) return true;
    return expr.kind == ExprKind::kTuple &&
           std::all_of(expr.children.begin(), expr.children.end(),
                       [](const ExprPtr& child) { return IsTarget(*child); });
  }

  StmtResult ParseFor() {
    auto stmt = NewStmt(StmtKind::kFor, Next().line);
    RAG_ASSIGN_OR_RETURN(ExprPtr target, ParseTarget({.targets = true, .end_name = "in"}));
    stmt->targets.push_back(std::move(target));
    RAG_RETURN_IF_ERROR(ExpectName("in"));
    RAG_ASSIGN_OR_RETURN(ExprPtr iterable,
                         ParseTuple({.with_condition = false, .end_name = "recursive"}));
    stmt->exprs.push_back(std::move(iterable));
    if (SkipName("if")) {
      RAG_ASSIGN_OR_RETURN(stmt->condition, ParseExpression());
    }
    if (Current().IsName("recursive")) return Error("recursive loops are not supported");
    ++loops_;
    auto body = ParseStatements({"else", "endfor"});
    --loops_;
    if (!body.ok()) return std::move(body).status();
    stmt->body = std::move(body).value();
    if (Next().text == "else") {
      RAG_ASSIGN_OR_RETURN(stmt->otherwise, ParseUntil("endfor"));
    }
    return stmt;
  }

  StmtResult ParseSet() {
    const int line = Next().line;
    RAG_ASSIGN_OR_RETURN(ExprPtr target, ParseTarget({.targets = true, .with_namespace = true}));
    if (SkipOperator("=")) {
      auto stmt = NewStmt(StmtKind::kSet, line);
      stmt->targets.push_back(std::move(target));
      RAG_ASSIGN_OR_RETURN(ExprPtr value, ParseTuple({}));
      stmt->exprs.push_back(std::move(value));
      return stmt;
    }
    auto stmt = NewStmt(StmtKind::kSetBlock, line);
    stmt->targets.push_back(std::move(target));
    ExprPtr filter;
    if (SkipOperator("|")) {
      RAG_ASSIGN_OR_RETURN(filter, ParseFilterChain());
    }
    stmt->exprs.push_back(std::move(filter));
    RAG_ASSIGN_OR_RETURN(stmt->body, ParseUntil("endset"));
    return stmt;
  }

  Status ParseSignature(Macro& macro) {
    RAG_RETURN_IF_ERROR(ExpectOperator("("));
    while (!Current().IsOperator(")")) {
      if (!macro.parameters.empty()) RAG_RETURN_IF_ERROR(ExpectOperator(","));
      RAG_ASSIGN_OR_RETURN(std::string name, ExpectAnyName());
      macro.parameters.push_back(std::move(name));
      if (SkipOperator("=")) {
        RAG_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
        macro.defaults.push_back(std::move(value));
      } else if (!macro.defaults.empty()) {
        return Error("a parameter without a default follows one with a default");
      }
    }
    return ExpectOperator(")");
  }

  // The body of a macro, where loops outside cannot be broken out of.
  Status ParseMacroBody(Macro& macro, std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    const bool varargs = std::exchange(uses_varargs_, false);
    const bool kwargs = std::exchange(uses_kwargs_, false);
    const bool caller = std::exchange(uses_caller_, false);
    auto body = ParseUntil(end);
    macro.uses_varargs = std::exchange(uses_varargs_, varargs);
    macro.uses_kwargs = std::exchange(uses_kwargs_, kwargs);
    macro.uses_caller = std::exchange(uses_caller_, caller);
    loops_ = loops;
    if (!body.ok()) return std::move(body).status();
    macro.body = std::move(body).value();
    return OkStatus();
  }

  StmtResult ParseMacro() {
    auto stmt = NewStmt(StmtKind::kMacro, Next().line);
    stmt->macro = std::make_unique<Macro>();
    RAG_ASSIGN_OR_RETURN(stmt->macro->name, ExpectAnyName());
    RAG_RETURN_IF_ERROR(ParseSignature(*stmt->macro));
    RAG_RETURN_IF_ERROR(ParseMacroBody(*stmt->macro, "endmacro"));
    return stmt;
  }

  StmtResult ParseCallBlock() {
    auto stmt = NewStmt(StmtKind::kCallBlock, Next().line);
    stmt->macro = std::make_unique<Macro>();
    stmt->macro->name = "caller";
    if (Current().IsOperator("(")) RAG_RETURN_IF_ERROR(ParseSignature(*stmt->macro));
    RAG_ASSIGN_OR_RETURN(ExprPtr call, ParseExpression());
    if (call->kind != ExprKind::kCall) return ErrorAt(stmt->line, "expected a call");
    stmt->exprs.push_back(std::move(call));
    RAG_RETURN_IF_ERROR(ParseMacroBody(*stmt->macro, "endcall"));
    return stmt;
  }

  StmtResult ParseFilterBlock() {
    auto stmt = NewStmt(StmtKind::kFilterBlock, Next().line);
    RAG_ASSIGN_OR_RETURN(ExprPtr filter, ParseFilterChain());
    stmt->exprs.push_back(std::move(filter));
    RAG_ASSIGN_OR_RETURN(stmt->body, ParseUntil("endfilter"));
    return stmt;
  }

  StmtResult ParseWith() {
    auto stmt = NewStmt(StmtKind::kWith, Next().line);
    while (Current().kind != TokenKind::kBlockEnd) {
      if (!stmt->targets.empty()) RAG_RETURN_IF_ERROR(ExpectOperator(","));
      const int line = Current().line;
      RAG_ASSIGN_OR_RETURN(ExprPtr target, ParsePrimary(false));
      if (!IsTarget(*target)) return ErrorAt(line, "cannot assign to this expression");
      RAG_RETURN_IF_ERROR(ExpectOperator("="));
      RAG_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
      stmt->targets.push_back(std::move(target));
      stmt->exprs.push_back(std::move(value));
    }
    RAG_ASSIGN_OR_RETURN(stmt->body, ParseUntil("endwith"));
    return stmt;
  }

  StmtResult ParsePrint() {
    auto stmt = NewStmt(StmtKind::kOutput, Next().line);
    while (Current().kind != TokenKind::kBlockEnd) {
      if (!stmt->exprs.empty()) RAG_RETURN_IF_ERROR(ExpectOperator(","));
      RAG_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
      stmt->exprs.push_back(std::move(value));
    }
    return stmt;
  }

  std::vector<Token> tokens_;
  std::string_view name_;
  size_t position_ = 0;
  int depth_ = 0;
  int loops_ = 0;
  bool uses_varargs_ = false;
  bool uses_kwargs_ = false;
  bool uses_caller_ = false;
};

}  // namespace

Result<Block> ParseTemplate(std::string_view source, std::string_view name) {
  RAG_ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source, name));
  return Parser(std::move(tokens), name).Run();
}

}  // namespace rag::jinja
