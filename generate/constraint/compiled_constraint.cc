#include "generate/constraint/compiled_constraint.h"

#include <algorithm>
#include <bitset>
#include <utility>

#include "generate/constraint/languages.h"

namespace rag {
namespace {

// Sets of characters that are remembered: with runs, half a MiB each.
constexpr size_t kMaxRuns = 8;
// Walks over the tokens that begin with the characters that take about as long as making their
// runs: 2.5 for [a-z_.], 1.5 for [a-zA-Z ], 1.1 for all but quotes and line breaks.
constexpr size_t kWorthWalks = 2;

}  // namespace

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

const CharacterRuns* CompiledConstraint::Runs(const CharacterRuns::Characters& characters) const {
  for (const auto& runs : tokens_.common_runs()) {
    if (runs->characters() == characters) return runs.get();
  }
  std::lock_guard lock(mutex_);
  const auto known = Find(characters);
  if (known == runs_.end()) return nullptr;
  const bool worth = known->walks >= kWorthWalks;
  if (known->runs == nullptr && worth && !memory_.tight()) {
    known->runs = std::make_unique<CharacterRuns>(tokens_.trie(), tokens_.vocab_size(), characters);
    memory_bytes_ += known->runs->memory_bytes();
    memory_.Add(known->runs->memory_bytes());
  }
  return known->runs.get();
}

void CompiledConstraint::MissedRuns(const CharacterRuns::Characters& characters) const {
  std::lock_guard lock(mutex_);
  auto known = Find(characters);
  if (known == runs_.end()) {
    if (runs_.size() == kMaxRuns) return;
    known = runs_.insert(known, {.characters = characters});
  }
  ++known->walks;
}

std::vector<CompiledConstraint::KnownRuns>::iterator CompiledConstraint::Find(
    const CharacterRuns::Characters& characters) const {
  return std::find_if(runs_.begin(), runs_.end(),
                      [&](const KnownRuns& known) { return known.characters == characters; });
}

CompiledConstraint::~CompiledConstraint() { memory_.Remove(memory_bytes_); }

}  // namespace rag
