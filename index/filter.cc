#include "index/filter.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

namespace rag {
namespace {

constexpr size_t kMaxBytes = 64 << 10;
constexpr int kMaxDepth = 64;
constexpr size_t kMaxNames = 20;  // of fields that a diagnosis names

enum class Operator {
  kAnd,
  kOr,
  kNot,
  kExists,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kLike,
  kContains,
};

enum class TokenKind { kEnd, kName, kQuotedName, kString, kNumber, kSymbol };

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;  // a name's or string's content, a number's digits, a symbol
  size_t position = 0;
};

bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool EqualsKeyword(std::string_view text, std::string_view keyword) {
  if (text.size() != keyword.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char upper = text[i] >= 'a' && text[i] <= 'z' ? static_cast<char>(text[i] - 32) : text[i];
    if (upper != keyword[i]) return false;
  }
  return true;
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Result<Token> Next() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
    Token token;
    token.position = at_;
    if (at_ == text_.size()) return token;
    const char c = text_[at_];
    if (c == '"' || c == '\'' || c == '`') return Quoted(c);
    if (IsDigit(c) || ((c == '-' || c == '+' || c == '.') && at_ + 1 < text_.size() &&
                       (IsDigit(text_[at_ + 1]) || text_[at_ + 1] == '.'))) {
      return Number();
    }
    if (IsNameStart(c)) {
      const size_t begin = at_;
      while (at_ < text_.size() && (IsNameStart(text_[at_]) || IsDigit(text_[at_]) ||
                                    text_[at_] == '.' || text_[at_] == '-')) {
        ++at_;
      }
      token.kind = TokenKind::kName;
      token.text = text_.substr(begin, at_ - begin);
      return token;
    }
    token.kind = TokenKind::kSymbol;
    const std::string_view two = text_.substr(at_, 2);
    for (const std::string_view symbol : {"<=", ">=", "!=", "==", "<>"}) {
      if (two == symbol) {
        token.text = two;
        at_ += 2;
        return token;
      }
    }
    if (std::string_view("=<>(),").find(c) == std::string_view::npos) {
      return InvalidArgumentError("filter at byte ", at_, ": unexpected '", c, "'");
    }
    token.text = c;
    ++at_;
    return token;
  }

 private:
  // A doubled quote stands for itself; a backslash keeps the next character as it is.
  Result<Token> Quoted(char quote) {
    Token token;
    token.position = at_++;
    token.kind = quote == '`' ? TokenKind::kQuotedName : TokenKind::kString;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '\\' && at_ < text_.size()) {
        token.text += text_[at_++];
      } else if (c == quote) {
        if (at_ == text_.size() || text_[at_] != quote) return token;
        token.text += text_[at_++];
      } else {
        token.text += c;
      }
    }
    return InvalidArgumentError("filter at byte ", token.position, ": the ", quote,
                                " that opens here is never closed");
  }

  Result<Token> Number() {
    Token token;
    token.position = at_;
    token.kind = TokenKind::kNumber;
    const size_t begin = at_;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      const bool sign = (c == '-' || c == '+') &&
                        (at_ == begin || text_[at_ - 1] == 'e' || text_[at_ - 1] == 'E');
      if (!IsDigit(c) && c != '.' && c != 'e' && c != 'E' && !sign) break;
      ++at_;
    }
    token.text = text_.substr(begin, at_ - begin);
    return token;
  }

  std::string_view text_;
  size_t at_ = 0;
};

Result<Value> NumberValue(const Token& token) {
  std::string_view digits = token.text;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  int64_t integer = 0;
  auto end = std::from_chars(digits.data(), digits.data() + digits.size(), integer);
  if (end.ec == std::errc() && end.ptr == digits.data() + digits.size()) return Value(integer);
  double number = 0;
  end = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (end.ec != std::errc() || end.ptr != digits.data() + digits.size() || !std::isfinite(number)) {
    return InvalidArgumentError("filter at byte ", token.position, ": '", token.text,
                                "' is not a number");
  }
  return Value(number);
}

// Number of the bytes of the UTF-8 character at text[at].
size_t CharacterBytes(std::string_view text, size_t at) {
  size_t end = at + 1;
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) ++end;
  return end - at;
}

// SQL's LIKE: % any run, _ one character. Greedy with one point of return, so linear for each '%'.
bool Like(std::string_view text, std::string_view pattern) {
  size_t t = 0, p = 0;
  size_t star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '%') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == '_') {
      t += CharacterBytes(text, t);
      ++p;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++t;
      ++p;
    } else if (star != std::string_view::npos) {
      resume += CharacterBytes(text, resume);
      t = resume;
      p = star + 1;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '%') ++p;
  return p == pattern.size();
}

// The order of two values, or nothing when they are of kinds that have none.
std::optional<int> Compare(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_int() && b.is_int()) {
      return a.as_int() < b.as_int() ? -1 : a.as_int() > b.as_int() ? 1 : 0;
    }
    const double x = a.as_double(), y = b.as_double();
    return x < y ? -1 : x > y ? 1 : 0;
  }
  if (a.is_string() && b.is_string()) {
    const int order = a.as_string().compare(b.as_string());
    return order < 0 ? -1 : order > 0 ? 1 : 0;
  }
  return std::nullopt;
}

bool HasMember(const Value& value, const Value& wanted) {
  if (value.is_array()) {
    for (const Value& item : value.as_array()) {
      if (item == wanted) return true;
    }
    return false;
  }
  return value.is_string() && wanted.is_string() &&
         value.as_string().find(wanted.as_string()) != std::string::npos;
}

}  // namespace

struct Filter::Node {
  Operator op;
  std::vector<std::unique_ptr<Node>> children;  // of and, or, not
  std::string name;                             // of the others
  std::vector<Value> values;                    // one, but for IN

  // A key of the object, else, when it has dots, a path into objects.
  const Value* Find(const Value& attributes) const {
    if (const Value* found = attributes.Find(name)) return found;
    const Value* at = &attributes;
    std::string_view rest = name;
    while (at != nullptr) {
      const size_t dot = rest.find('.');
      at = at->Find(rest.substr(0, dot));
      if (dot == std::string_view::npos) return at;
      rest.remove_prefix(dot + 1);
    }
    return nullptr;
  }

  // Whether some value of the kind of `found` would make the comparison true.
  bool IsComparable(const Value& found) const {
    const auto same_kind = [&found](const Value& value) {
      return (found.is_number() && value.is_number()) || found.type_name() == value.type_name();
    };
    switch (op) {
      case Operator::kExists:
      case Operator::kNotEqual:
        return true;
      case Operator::kLike:
        return found.is_string();
      case Operator::kLess:
      case Operator::kLessEqual:
      case Operator::kGreater:
      case Operator::kGreaterEqual:
        return !found.is_bool() && same_kind(values[0]);
      case Operator::kContains:
        return found.is_array() || (found.is_string() && values[0].is_string());
      default:
        return std::any_of(values.begin(), values.end(), same_kind);
    }
  }

  // The comparisons below, but for those that are negated.
  void Collect(std::vector<const Node*>& comparisons) const {
    if (op == Operator::kNot) return;
    if (op != Operator::kAnd && op != Operator::kOr) comparisons.push_back(this);
    for (const auto& child : children) child->Collect(comparisons);
  }

  bool Matches(const Value& attributes) const {
    switch (op) {
      case Operator::kAnd:
        for (const auto& child : children) {
          if (!child->Matches(attributes)) return false;
        }
        return true;
      case Operator::kOr:
        for (const auto& child : children) {
          if (child->Matches(attributes)) return true;
        }
        return false;
      case Operator::kNot:
        return !children[0]->Matches(attributes);
      default:
        break;
    }
    const Value* found = Find(attributes);
    if (found == nullptr || found->is_null()) return false;
    switch (op) {
      case Operator::kExists:
        return true;
      case Operator::kEqual:
        return *found == values[0];
      case Operator::kNotEqual:
        return !(*found == values[0]);
      case Operator::kIn:
        for (const Value& value : values) {
          if (*found == value) return true;
        }
        return false;
      case Operator::kLike:
        return found->is_string() && Like(found->as_string(), values[0].as_string());
      case Operator::kContains:
        return HasMember(*found, values[0]);
      default:
        break;
    }
    const std::optional<int> order = Compare(*found, values[0]);
    if (!order.has_value()) return false;
    switch (op) {
      case Operator::kLess:
        return *order < 0;
      case Operator::kLessEqual:
        return *order <= 0;
      case Operator::kGreater:
        return *order > 0;
      default:
        return *order >= 0;
    }
  }

  class Parser;
};

// Recursive descent: or := and (OR and)*, and := unary (AND unary)*, unary := NOT unary | '(' or
// ')' | EXISTS name | name comparison.
class Filter::Node::Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) {}

  Result<std::unique_ptr<Node>> Parse() {
    RAG_RETURN_IF_ERROR(Advance());
    RAG_ASSIGN_OR_RETURN(std::unique_ptr<Node> root, ParseOr(0));
    if (token_.kind != TokenKind::kEnd) return Expected("AND, OR or the end");
    return root;
  }

 private:
  using NodeResult = Result<std::unique_ptr<Node>>;

  Status Advance() {
    RAG_ASSIGN_OR_RETURN(token_, lexer_.Next());
    return OkStatus();
  }

  Status Expected(std::string_view what) const {
    if (token_.kind == TokenKind::kEnd) {
      return InvalidArgumentError("filter at byte ", token_.position, ": expected ", what,
                                  ", found the end");
    }
    return InvalidArgumentError("filter at byte ", token_.position, ": expected ", what,
                                ", found '", token_.text, "'");
  }

  bool IsKeyword(std::string_view keyword) const {
    return token_.kind == TokenKind::kName && EqualsKeyword(token_.text, keyword);
  }
  bool IsSymbol(std::string_view symbol) const {
    return token_.kind == TokenKind::kSymbol && token_.text == symbol;
  }

  NodeResult ParseChain(int depth, Operator op, std::string_view keyword) {
    if (depth > kMaxDepth) {
      return ResourceExhaustedError("filter at byte ", token_.position, ": nested deeper than ",
                                    kMaxDepth, " levels");
    }
    const auto parse_part = [&] {
      return op == Operator::kOr ? ParseAnd(depth) : ParseUnary(depth);
    };
    RAG_ASSIGN_OR_RETURN(std::unique_ptr<Node> first, parse_part());
    if (!IsKeyword(keyword)) return first;
    auto node = std::make_unique<Node>();
    node->op = op;
    node->children.push_back(std::move(first));
    while (IsKeyword(keyword)) {
      RAG_RETURN_IF_ERROR(Advance());
      RAG_ASSIGN_OR_RETURN(std::unique_ptr<Node> part, parse_part());
      node->children.push_back(std::move(part));
    }
    return node;
  }
  NodeResult ParseOr(int depth) { return ParseChain(depth, Operator::kOr, "OR"); }
  NodeResult ParseAnd(int depth) { return ParseChain(depth, Operator::kAnd, "AND"); }

  NodeResult ParseUnary(int depth) {
    if (depth > kMaxDepth) {
      return ResourceExhaustedError("filter at byte ", token_.position, ": nested deeper than ",
                                    kMaxDepth, " levels");
    }
    if (IsKeyword("NOT")) {
      RAG_RETURN_IF_ERROR(Advance());
      auto node = std::make_unique<Node>();
      node->op = Operator::kNot;
      RAG_ASSIGN_OR_RETURN(std::unique_ptr<Node> child, ParseUnary(depth + 1));
      node->children.push_back(std::move(child));
      return node;
    }
    if (IsSymbol("(")) {
      RAG_RETURN_IF_ERROR(Advance());
      RAG_ASSIGN_OR_RETURN(std::unique_ptr<Node> inside, ParseOr(depth + 1));
      if (!IsSymbol(")")) return Expected("')'");
      RAG_RETURN_IF_ERROR(Advance());
      return inside;
    }
    if (IsKeyword("EXISTS")) {
      RAG_RETURN_IF_ERROR(Advance());
      auto node = std::make_unique<Node>();
      node->op = Operator::kExists;
      RAG_ASSIGN_OR_RETURN(node->name, TakeName());
      return node;
    }
    return ParseComparison();
  }

  Result<std::string> TakeName() {
    // "name" in the place of a name is one, as in SQL.
    if (token_.kind != TokenKind::kName && token_.kind != TokenKind::kQuotedName &&
        token_.kind != TokenKind::kString) {
      return Expected("an attribute's name");
    }
    std::string name = std::move(token_.text);
    RAG_RETURN_IF_ERROR(Advance());
    return name;
  }

  Result<Value> TakeValue() {
    Value value;
    if (token_.kind == TokenKind::kString) {
      value = Value(token_.text);
    } else if (token_.kind == TokenKind::kNumber) {
      RAG_ASSIGN_OR_RETURN(value, NumberValue(token_));
    } else if (IsKeyword("TRUE") || IsKeyword("FALSE")) {
      value = Value(IsKeyword("TRUE"));
    } else {
      return Expected("a string, a number, true or false");
    }
    RAG_RETURN_IF_ERROR(Advance());
    return value;
  }

  NodeResult ParseComparison() {
    auto node = std::make_unique<Node>();
    RAG_ASSIGN_OR_RETURN(node->name, TakeName());
    if (IsKeyword("NOT")) {
      // name NOT IN (…), name NOT LIKE "…", name NOT CONTAINS …
      RAG_RETURN_IF_ERROR(Advance());
      if (!IsKeyword("IN") && !IsKeyword("LIKE") && !IsKeyword("CONTAINS")) {
        return Expected("IN, LIKE or CONTAINS");
      }
      RAG_RETURN_IF_ERROR(ParseWordOperator(*node));
      auto negation = std::make_unique<Node>();
      negation->op = Operator::kNot;
      negation->children.push_back(std::move(node));
      return negation;
    }
    if (IsKeyword("IN") || IsKeyword("LIKE") || IsKeyword("CONTAINS")) {
      RAG_RETURN_IF_ERROR(ParseWordOperator(*node));
      return node;
    }
    static constexpr std::pair<std::string_view, Operator> kSymbols[] = {
        {"=", Operator::kEqual},     {"==", Operator::kEqual},       {"!=", Operator::kNotEqual},
        {"<>", Operator::kNotEqual}, {"<", Operator::kLess},         {"<=", Operator::kLessEqual},
        {">", Operator::kGreater},   {">=", Operator::kGreaterEqual}};
    for (const auto& [symbol, op] : kSymbols) {
      if (!IsSymbol(symbol)) continue;
      node->op = op;
      RAG_RETURN_IF_ERROR(Advance());
      RAG_ASSIGN_OR_RETURN(Value value, TakeValue());
      node->values.push_back(std::move(value));
      return node;
    }
    return Expected("one of = != < <= > >= IN LIKE CONTAINS");
  }

  Status ParseWordOperator(Node& node) {
    if (IsKeyword("IN")) {
      node.op = Operator::kIn;
      RAG_RETURN_IF_ERROR(Advance());
      if (!IsSymbol("(")) return Expected("'('");
      do {
        RAG_RETURN_IF_ERROR(Advance());
        RAG_ASSIGN_OR_RETURN(Value value, TakeValue());
        node.values.push_back(std::move(value));
      } while (IsSymbol(","));
      if (!IsSymbol(")")) return Expected("',' or ')'");
      return Advance();
    }
    const bool like = IsKeyword("LIKE");
    node.op = like ? Operator::kLike : Operator::kContains;
    RAG_RETURN_IF_ERROR(Advance());
    if (like && token_.kind != TokenKind::kString) return Expected("a pattern in quotes");
    RAG_ASSIGN_OR_RETURN(Value value, TakeValue());
    node.values.push_back(std::move(value));
    return OkStatus();
  }

  Lexer lexer_;
  Token token_;
};

Filter::Filter(std::unique_ptr<Node> root, std::string text)
    : root_(std::move(root)), text_(std::move(text)) {}
Filter::Filter(Filter&&) noexcept = default;
Filter& Filter::operator=(Filter&&) noexcept = default;
Filter::~Filter() = default;

Result<Filter> Filter::Parse(std::string_view text) {
  if (text.size() > kMaxBytes) {
    return ResourceExhaustedError("filter of ", text.size(), " bytes is over the limit of ",
                                  kMaxBytes);
  }
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<Node> root, Node::Parser(text).Parse());
  return Filter(std::move(root), std::string(text));
}

bool Filter::Matches(const Value& attributes) const { return root_->Matches(attributes); }
const std::string& Filter::text() const { return text_; }

FilterDiagnosis::FilterDiagnosis(const Filter& filter) {
  std::vector<const Filter::Node*> nodes;
  filter.root_->Collect(nodes);
  for (const Filter::Node* node : nodes) comparisons_.push_back({node, ""});
}

void FilterDiagnosis::Look(const Value& attributes) {
  bool all = true;
  for (Comparison& comparison : comparisons_) {
    if (comparison.comparable) continue;
    all = false;
    const Value* const found = comparison.node->Find(attributes);
    if (found == nullptr) continue;
    if (found->is_null()) {
      comparison.has_null = true;
      continue;
    }
    if (comparison.found.empty()) comparison.found = found->type_name();
    comparison.comparable = comparison.node->IsComparable(*found);
  }
  if (all || !attributes.is_object()) return;
  for (const auto& [name, value] : attributes.as_object()) {
    if (names_.size() >= kMaxNames) return;
    if (!names_.contains(name)) names_.emplace(name);
  }
}

std::string FilterDiagnosis::Findings() const {
  std::string findings;
  bool missing = false;
  for (const Comparison& comparison : comparisons_) {
    if (comparison.comparable) continue;
    if (!findings.empty()) findings += "; ";
    const std::string& name = comparison.node->name;
    if (comparison.found.empty() && comparison.has_null) {
      findings += StrCat("'", name, "' is null in every passage that has it");
    } else if (comparison.found.empty()) {
      findings += StrCat("no passage has a field '", name, "'");
      missing = true;
    } else {
      findings +=
          StrCat("'", name, "' is of type ", comparison.found, ", for which no comparison with a ",
                 comparison.node->values.front().type_name(), " is true",
                 comparison.found == "array" ? "; CONTAINS looks into arrays" : "");
    }
  }
  if (!missing) return findings;
  std::string known;
  for (const std::string& name : names_) known += StrCat(known.empty() ? "" : ", ", name);
  if (known.empty()) return findings + " (they have none)";
  return StrCat(findings, " (they have ", known, names_.size() < kMaxNames ? ")" : ", …)");
}

}  // namespace rag
