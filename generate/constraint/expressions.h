// What a constrained output looks like: context-free expressions over Unicode characters, into
// which grammars, JSON schemas, regular expressions and choices are translated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lib/base/status.h"

namespace rag {

// Code points, both ends included.
struct CharacterRange {
  uint32_t low = 0;
  uint32_t high = 0;
};
using CharacterSet = std::vector<CharacterRange>;

inline constexpr uint32_t kLastCharacter = 0x10FFFF;
inline constexpr size_t kUnbounded = std::numeric_limits<size_t>::max();

// Sorted and joined.
CharacterSet Normalize(CharacterSet set);
// Every character but those of the set.
CharacterSet Complement(const CharacterSet& set);
CharacterSet Intersect(const CharacterSet& a, const CharacterSet& b);

// Nodes are made bottom-up and named by their index.
class Expressions {
 public:
  using Id = uint32_t;
  enum class Kind { kLiteral, kCharacters, kSequence, kChoice, kRepeat, kRule };
  struct Node {
    Kind kind;
    std::string bytes;         // kLiteral
    CharacterSet characters;   // kCharacters; an empty set matches nothing
    std::vector<Id> children;  // kSequence, kChoice (none: nothing matches); kRepeat has one
    size_t min = 0;            // kRepeat
    size_t max = 0;
    size_t rule = 0;  // kRule
  };
  struct Rule {
    std::string name;
    bool defined = false;
    Id body = 0;
  };

  Id Literal(std::string_view bytes);
  Id Characters(CharacterSet set);
  Id Sequence(std::vector<Id> children);
  Id Choice(std::vector<Id> children);
  Id Repeat(Id child, size_t min, size_t max);
  Id Optional(Id child) { return Repeat(child, 0, 1); }
  // A use of a rule, which may be defined later.
  Id Use(size_t rule);
  // The rule of that name, declared now if it is new.
  size_t FindRule(std::string_view name);
  // A new rule; names need not differ.
  size_t NewRule(std::string name);
  void Define(size_t rule, Id body);

  const Node& node(Id id) const { return nodes_[id]; }
  const std::vector<Rule>& rules() const { return rules_; }
  size_t size() const { return nodes_.size(); }

  // Errors: invalid_argument naming a rule that is used but not defined.
  Status Check() const;

 private:
  Id Add(Node node);

  std::vector<Node> nodes_;
  std::vector<Rule> rules_;
  std::unordered_map<std::string, size_t> by_name_;  // those that FindRule declared
};

// An expression with the rule that the whole output is to match.
struct Language {
  Expressions expressions;
  size_t root = 0;
};

}  // namespace rag
