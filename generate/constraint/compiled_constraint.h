// CompiledConstraint: the automaton of a constraint for one vocabulary, for any number of answers.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "generate/constraint/automaton.h"
#include "generate/constraint/character_runs.h"
#include "generate/constraint/constraint_memory.h"
#include "generate/constraint/token_table.h"
#include "generate/output_constraint.h"
#include "lib/base/status.h"

namespace rag {

// Thread-safe. Its bytes are counted while it lives.
class CompiledConstraint {
 public:
  // `tokens` and `memory` outlive it. Errors: ValidateConstraint's; invalid_argument when nothing
  // that matches can be written with the vocabulary.
  static Result<std::shared_ptr<const CompiledConstraint>> Compile(
      const OutputConstraint& constraint, const TokenTable& tokens, ConstraintMemory& memory);
  ~CompiledConstraint();
  CompiledConstraint(const CompiledConstraint&) = delete;
  CompiledConstraint& operator=(const CompiledConstraint&) = delete;

  const Automaton& automaton() const { return automaton_; }
  const TokenTable& tokens() const { return tokens_; }
  ConstraintMemory& memory() const { return memory_; }
  // The vocabulary's runs of the characters, for as long as this lives, or null. They are made once
  // about as much time was lost without them as that takes, for a few sets of characters and while
  // memory is not tight.
  const CharacterRuns* Runs(const CharacterRuns::Characters& characters) const;
  // For want of runs, the vocabulary's tokens that begin with the characters were walked over.
  void MissedRuns(const CharacterRuns::Characters& characters) const;
  // The automaton's and the runs'.
  size_t memory_bytes() const { return memory_bytes_; }

 private:
  CompiledConstraint(Automaton automaton, const TokenTable& tokens, ConstraintMemory& memory);

  const Automaton automaton_;
  const TokenTable& tokens_;
  ConstraintMemory& memory_;
  mutable std::atomic<size_t> memory_bytes_;
  struct KnownRuns {
    CharacterRuns::Characters characters;
    size_t walks = 0;  // for want of runs
    std::unique_ptr<const CharacterRuns> runs;
  };
  std::vector<KnownRuns>::iterator Find(const CharacterRuns::Characters& characters) const;

  mutable std::mutex mutex_;
  mutable std::vector<KnownRuns> runs_;  // guarded by mutex_
};

}  // namespace rag
