// TokenConstraint: where an answer is in its constraint; which tokens may come next.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "generate/constraint/compiled_constraint.h"
#include "lib/base/status.h"

namespace rag {

// The bytes written so far are a set of positions in the automaton, each with the rules that it
// will return to. Sets, their successors by byte, and their tokens are found once and kept, so that
// a generation that comes by again pays a look-up. Used by one thread at a time.
class TokenConstraint {
 public:
  // Nothing is written yet.
  explicit TokenConstraint(std::shared_ptr<const CompiledConstraint> compiled);
  ~TokenConstraint();
  TokenConstraint(const TokenConstraint&) = delete;
  TokenConstraint& operator=(const TokenConstraint&) = delete;

  // Forgets what was written; also gives memory back when much is kept.
  void Restart();

  // Whether what was written is whole: the output may end here.
  bool complete() const { return sets_[current_].complete; }
  // Whether it must end here.
  bool finished() const { return sets_[current_].frames.empty(); }
  // The fewest bytes, and so tokens, that complete what was written.
  size_t shortest() const { return sets_[current_].cost; }

  // A bit for each id of the vocabulary: the tokens after which the output can still be completed
  // with `left` tokens in all, this one included. Not empty while shortest() is in [1, left]:
  // every byte that may come is a token. Valid until the next call. Errors: resource_exhausted when
  // finding them takes more than a bound of memory or work, which few grammars do.
  Result<std::span<const uint64_t>> Allowed(size_t left);

  // Whether the bytes may come next, and can be completed in `left` tokens after them. Errors:
  // Allowed's.
  Result<bool> Allows(std::string_view bytes, size_t left);
  // False, with nothing changed, when they may not come.
  bool Advance(std::string_view bytes);

  const std::shared_ptr<const CompiledConstraint>& compiled() const { return compiled_; }
  // What is kept, and what was compiled, which others may share.
  size_t memory_bytes() const { return compiled_->memory_bytes() + kept_bytes_; }

 private:
  using FrameId = uint32_t;
  using SetId = uint32_t;
  struct Frame {
    Automaton::State state;
    FrameId parent;  // where the rule returns to
    uint32_t cost;   // fewest bytes to the end of everything
  };
  struct Set {
    std::vector<FrameId> frames;  // sorted; each can take a byte
    bool complete = false;
    uint32_t cost = 0;
    std::array<int32_t, 256> next;  // kUnknown, kDead or a set
    std::vector<uint64_t> allowed;  // empty: not yet found
    // Of the sets after the tokens of `allowed`: the largest cost, the one that most have, and the
    // tokens with others, where these are few (`knows_costs`).
    uint32_t largest_cost = 0;
    uint32_t common_cost = 0;
    std::vector<std::pair<uint32_t, TokenId>> other_costs;
    bool knows_costs = false;
  };

  void Clear();
  // Keeps the current set alone when much is kept, here or in all.
  void Shrink();
  bool keeps_much() const;
  void Keep(size_t bytes);
  Status CheckGrowth() const;
  FrameId Intern(Automaton::State state, FrameId parent);
  void Close(std::vector<FrameId> open, Set& set);
  SetId InternSet(Set set);
  int32_t Next(SetId set, uint8_t byte);
  int32_t Walk(SetId set, std::string_view bytes);
  // Puts each token that may come after the set and the cost of the set after it into costs_.
  Status FindCosts(SetId set);
  Status FindAllowed(SetId set);
  // Writes those of the set's tokens after which less than `left` bytes complete into scratch_.
  Status Narrow(SetId set, size_t left);

  const std::shared_ptr<const CompiledConstraint> compiled_;
  const Automaton& automaton_;
  const TokenTable& tokens_;
  ConstraintMemory& memory_;
  std::vector<Frame> frames_;
  std::unordered_map<uint64_t, FrameId> frame_ids_;  // by state and parent
  std::vector<Set> sets_;
  std::map<std::pair<std::vector<FrameId>, bool>, SetId> set_ids_;
  SetId current_ = 0;
  size_t kept_bytes_ = 0;  // of frames and sets, about
  size_t step_work_ = 0;   // frames and edges looked at since the step began
  std::vector<uint64_t> scratch_;
  std::vector<std::pair<uint32_t, TokenId>> costs_;
};

}  // namespace rag
