// A pushdown automaton over bytes: one graph of states for each rule of a Language.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "generate/constraint/expressions.h"
#include "generate/constraint/utf8_forms.h"
#include "lib/base/status.h"

namespace rag {

class Automaton {
 public:
  using State = uint32_t;
  struct Edge {
    enum Kind : uint8_t { kBytes, kEmpty, kCall } kind;
    uint8_t low = 0;  // kBytes: both ends included
    uint8_t high = 0;
    uint32_t rule = 0;  // kCall: `to` is where the rule returns to
    State to = 0;
  };
  struct Rule {
    State start = 0;
    State end = 0;  // has no edges
  };

  // Only bytes of `alphabet` may occur; what cannot come to an end with them is taken out.
  // Errors: invalid_argument naming a rule that is not defined or begins with itself, and when
  // nothing at all can be written; resource_exhausted for more than 2^18 states
  // or 2^22 edges.
  static Result<Automaton> Compile(const Language& language, const std::bitset<256>& alphabet);

  const std::vector<Edge>& edges(State state) const { return edges_[state]; }
  const Rule& rule(uint32_t index) const { return rules_[index]; }
  uint32_t root() const { return root_; }
  // More bytes than anything takes: twice as many are no overflow.
  static constexpr uint32_t kNever = std::numeric_limits<uint32_t>::max() / 4;
  // The fewest bytes from a state to the end of its rule, at most kNever.
  uint32_t rest(State state) const { return rest_[state]; }
  // Whether a rule ends at the state whatever comes: returning there is returning to its caller.
  bool ends(State state) const { return ends_[state]; }
  // Where each character beyond ASCII leads from the state, where that is one place for all.
  std::optional<State> AfterBeyondAscii(State state) const;
  // Bytes of one class lead to the same states from everywhere. Classes are ranges, in order.
  uint8_t byte_class(uint8_t byte) const { return byte_classes_[byte]; }
  const std::array<uint8_t, 256>& byte_classes() const { return byte_classes_; }
  size_t byte_class_count() const { return size_t{byte_classes_.back()} + 1; }
  size_t memory_bytes() const;

 private:
  friend class AutomatonBuilder;

  std::optional<State> After(State state, const Utf8Form& form) const;

  std::vector<std::vector<Edge>> edges_;
  std::vector<Rule> rules_;
  std::vector<uint32_t> rest_;
  std::vector<bool> ends_;
  std::array<uint8_t, 256> byte_classes_{};
  uint32_t root_ = 0;
};

}  // namespace rag
