// ConstraintCache: compiled constraints that wait for the next request with the same one.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <utility>

#include "generate/constraint/token_constraint.h"

namespace rag {

// Thread-safe. A request has its constraint for itself; equal ones at the same time are compiled
// once each, one after another, since compiling takes memory too.
class ConstraintCache {
 public:
  // Of all constraints, those in use among them.
  static constexpr size_t kMaxBytes = size_t{512} << 20;

  explicit ConstraintCache(const Tokenizer& tokenizer, size_t max_bytes = kMaxBytes)
      : tokenizer_(tokenizer), memory_(max_bytes) {}

  // One that nothing was written with, which the cache outlives. Errors:
  // TokenConstraint::Compile's; unavailable while those in use take too much.
  Result<std::unique_ptr<TokenConstraint>> Take(const OutputConstraint& wanted);
  void GiveBack(const OutputConstraint& of, std::unique_ptr<TokenConstraint> constraint);
  size_t memory_bytes() const { return memory_.used(); }

 private:
  const Tokenizer& tokenizer_;
  ConstraintMemory memory_;
  std::mutex compiling_;  // held while one is compiled
  std::mutex mutex_;      // guards what follows; `table_` does not change once it is there
  std::unique_ptr<TokenTable> table_;
  std::list<std::pair<OutputConstraint, std::unique_ptr<TokenConstraint>>> idle_;
};

}  // namespace rag
