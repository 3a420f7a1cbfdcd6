// Filter: a predicate over the attributes of a document or chunk, written as
//   year >= 2020 AND lang = "ko" AND NOT (tag IN ("draft", "old")) OR title LIKE "intro%"
// Operators: = != < <= > >=, IN (…), LIKE with % and _, CONTAINS (member of an array, or substring
// of a string), EXISTS name, AND, OR, NOT, parentheses. Names are attribute keys, `a.b` reaches
// into objects, "quoted name" or `quoted name` for odd ones. A missing attribute makes a comparison
// false.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

class Filter {
 public:
  // Errors: invalid_argument with the position and what was expected there; resource_exhausted when
  // the text or its nesting is over its bound (64 KiB, 64 levels).
  static Result<Filter> Parse(std::string_view text);
  Filter(Filter&&) noexcept;
  Filter& operator=(Filter&&) noexcept;
  ~Filter();

  // attributes is an object.
  bool Matches(const Value& attributes) const;
  const std::string& text() const;

 private:
  friend class FilterDiagnosis;
  struct Node;
  Filter(std::unique_ptr<Node> root, std::string text);
  std::unique_ptr<Node> root_;
  std::string text_;
};

// Why a filter matches nothing, as far as names and kinds tell it.
class FilterDiagnosis {
 public:
  // The filter outlives it, and may be moved.
  explicit FilterDiagnosis(const Filter& filter);
  // Of each thing that it does not match.
  void Look(const Value& attributes);
  // A sentence on each comparison whose field nothing had, or nothing had in a kind that it can be
  // true for; "" when there is none.
  std::string Findings() const;

 private:
  struct Comparison {
    const Filter::Node* node;
    std::string_view found;  // the kind that the field had first; "": nothing but null
    bool has_null = false;
    bool comparable = false;
  };
  std::vector<Comparison> comparisons_;
  std::set<std::string, std::less<>> names_;  // the first ones, of attributes
};

}  // namespace rag
