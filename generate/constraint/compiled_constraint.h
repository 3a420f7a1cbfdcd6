// CompiledConstraint: the automaton of a constraint for one vocabulary, for any number of answers.
#pragma once

#include <memory>

#include "generate/constraint/automaton.h"
#include "generate/constraint/constraint_memory.h"
#include "generate/constraint/token_table.h"
#include "generate/output_constraint.h"
#include "lib/base/status.h"

namespace rag {

// Immutable. Its bytes are counted while it lives.
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
  size_t memory_bytes() const { return memory_bytes_; }

 private:
  CompiledConstraint(Automaton automaton, const TokenTable& tokens, ConstraintMemory& memory);

  const Automaton automaton_;
  const TokenTable& tokens_;
  ConstraintMemory& memory_;
  const size_t memory_bytes_;
};

}  // namespace rag
