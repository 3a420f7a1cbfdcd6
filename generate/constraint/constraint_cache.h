// ConstraintCache: compiled constraints, shared by the answers that have the same one.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "generate/constraint/token_constraint.h"

namespace rag {

// Thread-safe. Constraints are compiled one after another, since that takes memory too, and equal
// ones once, for as long as anybody has one; where an answer is in it, it knows for itself.
class ConstraintCache {
 public:
  // Of all constraints, those in use among them, and the vocabulary's table (8 MB of 151,643
  // tokens).
  static constexpr size_t kMaxBytes = size_t{512} << 20;

  // The cache outlives what it gives. end_tokens, sorted, are never written.
  explicit ConstraintCache(const Tokenizer& tokenizer, size_t max_bytes = kMaxBytes,
                           std::vector<TokenId> end_tokens = {})
      : tokenizer_(tokenizer), end_tokens_(std::move(end_tokens)), memory_(max_bytes) {}

  // Errors: CompiledConstraint::Compile's; unavailable while those in use take too much.
  Result<std::shared_ptr<const CompiledConstraint>> Compile(const OutputConstraint& wanted);
  // One that nothing was written with. Errors: Compile's.
  Result<std::unique_ptr<TokenConstraint>> Take(const OutputConstraint& wanted);
  void GiveBack(const OutputConstraint& of, std::unique_ptr<TokenConstraint> constraint);
  size_t memory_bytes() const { return memory_.used(); }

 private:
  std::shared_ptr<const CompiledConstraint> FindCompiled(const OutputConstraint& wanted);
  // Gives up what waits when there is too much. Errors: unavailable when that is not enough.
  Status MakeRoom();

  const Tokenizer& tokenizer_;
  const std::vector<TokenId> end_tokens_;
  ConstraintMemory memory_;
  std::mutex compiling_;               // held while one is compiled; guards the next
  std::unique_ptr<TokenTable> table_;  // does not change once it is there
  std::mutex mutex_;                   // guards what follows
  std::list<std::pair<OutputConstraint, std::weak_ptr<const CompiledConstraint>>> compiled_;
  std::list<std::pair<OutputConstraint, std::unique_ptr<TokenConstraint>>> idle_;
};

}  // namespace rag
