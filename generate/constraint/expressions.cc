#include "generate/constraint/expressions.h"

#include <algorithm>

namespace rag {

CharacterSet Normalize(CharacterSet set) {
  std::sort(set.begin(), set.end(),
            [](const CharacterRange& a, const CharacterRange& b) { return a.low < b.low; });
  CharacterSet out;
  for (const CharacterRange& range : set) {
    if (!out.empty() && range.low <= out.back().high + 1) {
      out.back().high = std::max(out.back().high, range.high);
    } else {
      out.push_back(range);
    }
  }
  return out;
}

CharacterSet Complement(const CharacterSet& set) {
  CharacterSet out;
  uint32_t next = 0;
  for (const CharacterRange& range : Normalize(set)) {
    if (range.low > next) out.push_back({next, range.low - 1});
    next = range.high + 1;
  }
  if (next <= kLastCharacter) out.push_back({next, kLastCharacter});
  return out;
}

CharacterSet Intersect(const CharacterSet& a, const CharacterSet& b) {
  CharacterSet outside = Complement(a);
  const CharacterSet other = Complement(b);
  outside.insert(outside.end(), other.begin(), other.end());
  return Complement(outside);
}

Expressions::Id Expressions::Add(Node node) {
  nodes_.push_back(std::move(node));
  return static_cast<Id>(nodes_.size() - 1);
}

Expressions::Id Expressions::Literal(std::string_view bytes) {
  Node node{.kind = Kind::kLiteral};
  node.bytes = bytes;
  return Add(std::move(node));
}

Expressions::Id Expressions::Characters(CharacterSet set) {
  Node node{.kind = Kind::kCharacters};
  node.characters = Normalize(std::move(set));
  return Add(std::move(node));
}

Expressions::Id Expressions::Sequence(std::vector<Id> children) {
  if (children.size() == 1) return children[0];
  Node node{.kind = Kind::kSequence};
  node.children = std::move(children);
  return Add(std::move(node));
}

Expressions::Id Expressions::Choice(std::vector<Id> children) {
  if (children.size() == 1) return children[0];
  Node node{.kind = Kind::kChoice};
  node.children = std::move(children);
  return Add(std::move(node));
}

Expressions::Id Expressions::Repeat(Id child, size_t min, size_t max) {
  Node node{.kind = Kind::kRepeat};
  node.children = {child};
  node.min = min;
  node.max = max;
  return Add(std::move(node));
}

Expressions::Id Expressions::Use(size_t rule) {
  Node node{.kind = Kind::kRule};
  node.rule = rule;
  return Add(std::move(node));
}

size_t Expressions::FindRule(std::string_view name) {
  const auto [found, is_new] = by_name_.try_emplace(std::string(name), rules_.size());
  return is_new ? NewRule(std::string(name)) : found->second;
}

size_t Expressions::NewRule(std::string name) {
  rules_.push_back({std::move(name)});
  return rules_.size() - 1;
}

void Expressions::Define(size_t rule, Id body) {
  rules_[rule].body = body;
  rules_[rule].defined = true;
}

Status Expressions::Check() const {
  for (const Rule& rule : rules_) {
    if (!rule.defined) return InvalidArgumentError("rule '", rule.name, "' is not defined");
  }
  return OkStatus();
}

}  // namespace rag
