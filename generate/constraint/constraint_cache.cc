#include "generate/constraint/constraint_cache.h"

#include <unordered_set>

namespace rag {
namespace {

// Constraints that stay compiled, with the tokens that they found.
constexpr size_t kMaxIdle = 8;

}  // namespace

std::shared_ptr<const CompiledConstraint> ConstraintCache::FindCompiled(
    const OutputConstraint& wanted) {
  std::lock_guard lock(mutex_);
  compiled_.remove_if([](const auto& entry) { return entry.second.expired(); });
  for (const auto& [of, compiled] : compiled_) {
    if (of == wanted) return compiled.lock();
  }
  return nullptr;
}

Status ConstraintCache::MakeRoom() {
  if (!memory_.full()) return OkStatus();
  {
    std::lock_guard lock(mutex_);
    idle_.clear();
  }
  if (!memory_.full()) return OkStatus();
  return UnavailableError("the constraints of the generations that run take ", memory_.used(),
                          " bytes, over the limit of ", memory_.limit());
}

Result<std::shared_ptr<const CompiledConstraint>> ConstraintCache::Compile(
    const OutputConstraint& wanted) {
  if (auto found = FindCompiled(wanted)) return found;
  std::lock_guard one(compiling_);
  // An equal one may have been what was waited for.
  if (auto found = FindCompiled(wanted)) return found;
  if (table_ == nullptr) {
    table_ = std::make_unique<TokenTable>(tokenizer_, end_tokens_);
    memory_.Add(table_->memory_bytes());
  }
  RAG_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledConstraint> compiled,
                       CompiledConstraint::Compile(wanted, *table_, memory_));
  RAG_RETURN_IF_ERROR(MakeRoom());
  std::lock_guard lock(mutex_);
  compiled_.emplace_back(wanted, compiled);
  return compiled;
}

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
  }
  RAG_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledConstraint> compiled, Compile(wanted));
  auto made = std::make_unique<TokenConstraint>(std::move(compiled));
  RAG_RETURN_IF_ERROR(MakeRoom());
  return made;
}

void ConstraintCache::GiveBack(const OutputConstraint& of,
                               std::unique_ptr<TokenConstraint> constraint) {
  constraint->Restart();  // gives memory back
  // By itself more than what is kept: it would only drive the others out.
  if (constraint->memory_bytes() > memory_.limit() / 4) return;
  std::lock_guard lock(mutex_);
  idle_.emplace_front(of, std::move(constraint));
  size_t bytes = 0;
  std::unordered_set<const CompiledConstraint*> counted;
  auto it = idle_.begin();
  for (size_t kept = 0; it != idle_.end() && kept < kMaxIdle; ++it, ++kept) {
    // What equal ones share is there once.
    const CompiledConstraint& compiled = *it->second->compiled();
    bytes += it->second->kept_bytes();
    if (counted.insert(&compiled).second) bytes += compiled.memory_bytes();
    if (bytes > memory_.limit() / 4) break;
  }
  idle_.erase(it, idle_.end());
}

}  // namespace rag
