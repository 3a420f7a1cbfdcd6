// ConstraintCache: compiled constraints that wait for the next request with the same one.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <utility>

#include "generate/constraint/token_constraint.h"

namespace rag {

// Thread-safe. A request has its constraint for itself; equal ones at the same time are compiled
// once each.
class ConstraintCache {
 public:
  explicit ConstraintCache(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // One that nothing was written with. Errors: TokenConstraint::Compile's.
  Result<std::unique_ptr<TokenConstraint>> Take(const OutputConstraint& wanted);
  void GiveBack(const OutputConstraint& of, std::unique_ptr<TokenConstraint> constraint);

 private:
  const Tokenizer& tokenizer_;
  std::mutex mutex_;  // guards what follows; `table_` does not change once it is there
  std::unique_ptr<TokenTable> table_;
  std::list<std::pair<OutputConstraint, std::unique_ptr<TokenConstraint>>> idle_;
};

}  // namespace rag
