#include "generate/constraint/constraint_cache.h"

namespace rag {
namespace {

// Constraints that stay compiled, with the tokens that they found.
constexpr size_t kMaxIdle = 8;

}  // namespace

Result<std::unique_ptr<TokenConstraint>> ConstraintCache::Take(const OutputConstraint& wanted) {
  {
    std::lock_guard lock(mutex_);
    for (auto it = idle_.begin(); it != idle_.end(); ++it) {
      if (!(it->first == wanted)) continue;
      std::unique_ptr<TokenConstraint> found = std::move(it->second);
      idle_.erase(it);
      found->Restart();
      return found;
    }
    if (table_ == nullptr) table_ = std::make_unique<TokenTable>(tokenizer_);
  }
  return TokenConstraint::Compile(wanted, *table_);
}

void ConstraintCache::GiveBack(const OutputConstraint& of,
                               std::unique_ptr<TokenConstraint> constraint) {
  constraint->Restart();  // gives memory back
  std::lock_guard lock(mutex_);
  if (idle_.size() == kMaxIdle) idle_.pop_back();
  idle_.emplace_front(of, std::move(constraint));
}

}  // namespace rag
