#include "generate/constraint/compiled_constraint.h"

#include <bitset>
#include <utility>

#include "generate/constraint/languages.h"

namespace rag {

Status ValidateConstraint(const OutputConstraint& constraint) {
  if (constraint.kind == OutputConstraint::Kind::kNone) return OkStatus();
  RAG_ASSIGN_OR_RETURN(const Language language, MakeLanguage(constraint));
  return Automaton::Compile(language, std::bitset<256>().set()).status();
}

Result<std::shared_ptr<const CompiledConstraint>> CompiledConstraint::Compile(
    const OutputConstraint& constraint, const TokenTable& tokens, ConstraintMemory& memory) {
  RAG_ASSIGN_OR_RETURN(const Language language, MakeLanguage(constraint));
  RAG_ASSIGN_OR_RETURN(Automaton automaton, Automaton::Compile(language, tokens.single_bytes()));
  return std::shared_ptr<const CompiledConstraint>(
      new CompiledConstraint(std::move(automaton), tokens, memory));
}

CompiledConstraint::CompiledConstraint(Automaton automaton, const TokenTable& tokens,
                                       ConstraintMemory& memory)
    : automaton_(std::move(automaton)),
      tokens_(tokens),
      memory_(memory),
      memory_bytes_(automaton_.memory_bytes()) {
  memory_.Add(memory_bytes_);
}

CompiledConstraint::~CompiledConstraint() { memory_.Remove(memory_bytes_); }

}  // namespace rag
