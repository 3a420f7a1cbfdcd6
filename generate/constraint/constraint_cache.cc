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
  std::lock_guard one(compiling_);
  Result<std::unique_ptr<TokenConstraint>> compiled =
      TokenConstraint::Compile(wanted, *table_, memory_);
  if (!compiled.ok() || !memory_.full()) return compiled;
  {
    std::lock_guard lock(mutex_);
    idle_.clear();
  }
  if (!memory_.full()) return compiled;
  return UnavailableError("the constraints of the generations that run take ", memory_.used(),
                          " bytes, over the limit of ", memory_.limit());
}

void ConstraintCache::GiveBack(const OutputConstraint& of,
                               std::unique_ptr<TokenConstraint> constraint) {
  constraint->Restart();  // gives memory back
  // By itself more than what is kept: it would only drive the others out.
  if (constraint->memory_bytes() > memory_.limit() / 4) return;
  std::lock_guard lock(mutex_);
  idle_.emplace_front(of, std::move(constraint));
  size_t bytes = 0;
  size_t kept = 0;
  auto it = idle_.begin();
  for (; it != idle_.end() && kept < kMaxIdle; ++it, ++kept) {
    bytes += it->second->memory_bytes();
    if (bytes > memory_.limit() / 4) break;
  }
  idle_.erase(it, idle_.end());
}

}  // namespace rag
