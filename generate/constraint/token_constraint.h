// TokenConstraint: where an answer is in its constraint; which tokens may come next.
#pragma once

#include <cstdint>
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
  // What is kept besides what was compiled, the vectors for one call among it.
  size_t kept_bytes() const { return kept_bytes_ + scratch_bytes_; }
  // Both; others may share what was compiled.
  size_t memory_bytes() const { return compiled_->memory_bytes() + kept_bytes(); }

 private:
  using FrameId = uint32_t;
  using SetId = uint32_t;
  struct Frame {
    Automaton::State state;
    FrameId parent;   // where the rule returns to
    uint32_t cost;    // fewest bytes to the end of everything
    int32_t closure;  // the set of what it leads to without a byte, or kUnknown
    uint64_t closed;  // the last closure that it was in
  };
  // The tokens that may come after a set, and the costs of the sets after them.
  struct Mask {
    std::vector<uint64_t> allowed;
    uint32_t largest_cost = 0;
    // Where tokens are taken together: the costs after 1, 2, … characters of these runs.
    const CharacterRuns* runs = nullptr;
    std::vector<uint32_t> run_costs;
    // Of the other tokens: the cost that most have, and the tokens with others, where these are few
    // (`knows_costs`).
    uint32_t common_cost = 0;
    std::vector<std::pair<uint32_t, TokenId>> other_costs;
    bool knows_costs = false;
  };
  struct Set {
    std::vector<FrameId> frames;  // sorted; each can take a byte
    // By class of bytes: kUnknown, kDead or a set. Null: nobody asked yet.
    std::unique_ptr<int32_t[]> next;
    std::unique_ptr<const Mask> mask;  // null: not yet found
    // What each character of `steps_of` leads to, as far as that is the same (Step).
    const CharacterRuns* steps_of = nullptr;
    int32_t step = 0;
    uint32_t cost = 0;
    bool complete = false;
  };

  void Clear();
  // Keeps the current set alone when much is kept, here or in all.
  void Shrink();
  bool keeps_much() const;
  void Keep(size_t bytes);
  // At a call's end.
  void CountScratch();
  Status CheckGrowth() const;
  FrameId Intern(Automaton::State state, FrameId parent);
  // Follows everything from `open_` on that takes no byte.
  SetId Close();
  SetId InternSet(Set set);
  const int32_t* Row(SetId set);
  int32_t Next(SetId set, uint8_t byte);
  int32_t FindNext(SetId set, uint8_t byte);
  int32_t Walk(SetId set, std::string_view bytes);
  // Where all characters beyond ASCII lead: a set, kDead or, when that depends, kUnknown.
  int32_t StepBeyondAscii(SetId set);
  // Where all of the characters lead, as above.
  int32_t Step(SetId set, const CharacterRuns::Characters& characters);
  // Puts the sets after 0, 1, … of the characters into chain_, up to where no more may come; false
  // when they depend on the characters. What is found is kept for the runs of these characters, if
  // there are any.
  Result<bool> FollowRuns(SetId set, const CharacterRuns::Characters& characters,
                          const CharacterRuns* runs);
  // The characters that most of what may come after the set begins with, all leading to one place.
  Result<CharacterRuns::Characters> CommonCharacters(SetId set);
  // Put tokens that may come after the set, and the cost of the set after each, into costs_: all,
  // those of a part of a trie, those that begin with a run along chain_ and go on, and those that
  // are not taken together with others by runs, which may be null.
  Status FindCosts(SetId set);
  Status FindCosts(SetId set, const TokenTrie& trie, TokenTrie::Range nodes);
  Status FindCostsAfterRuns(const CharacterRuns& runs);
  Status FindOtherCosts(SetId set, const CharacterRuns* runs);
  Result<std::unique_ptr<const Mask>> FindMask(SetId set);
  // Writes those of the set's tokens after which less than `left` bytes complete into scratch_.
  Status Narrow(SetId set, size_t left);
  // Flips those runs in scratch_ after which less than `left` bytes complete, or all others.
  void FlipRuns(const Mask& mask, size_t left, bool fitting);

  const std::shared_ptr<const CompiledConstraint> compiled_;
  const Automaton& automaton_;
  const TokenTable& tokens_;
  ConstraintMemory& memory_;
  std::vector<Frame> frames_;
  std::unordered_map<uint64_t, FrameId> frame_ids_;  // by state and parent
  std::vector<Set> sets_;
  std::unordered_multimap<size_t, SetId> set_ids_;  // by a hash of frames and complete
  SetId current_ = 0;
  size_t kept_bytes_ = 0;     // of frames and sets, about
  size_t scratch_bytes_ = 0;  // of the vectors below, and this
  size_t nodes_seen_ = 0;     // by FindCosts
  size_t step_work_ = 0;      // frames and edges looked at since the step began
  // Of one call, kept for their memory.
  std::vector<FrameId> open_;
  uint64_t closures_ = 0;
  struct Place {
    SetId set;
    const int32_t* next;
  };
  std::vector<Place> path_;  // after each byte of the token in hand
  std::vector<SetId> chain_;
  std::vector<uint64_t> scratch_;
  std::vector<std::pair<uint32_t, TokenId>> costs_;
};

}  // namespace rag
