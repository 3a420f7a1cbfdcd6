// Grammars, JSON schemas, regular expressions and choices -> Language.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "generate/constraint/expressions.h"
#include "generate/output_constraint.h"
#include "lib/base/status.h"

namespace rag {

// Errors: as ValidateConstraint, but for what only the automaton finds.
Result<Language> MakeLanguage(const OutputConstraint& constraint);

// GBNF (llama.cpp, grammars/README.md): rules "name ::= …" of strings, character classes, '.',
// groups, '|' and the repetitions * + ? {n} {n,} {n,m}; '#' begins a comment; the rule is "root".
Result<Language> ParseGbnf(std::string_view text);

// One pattern into `expressions`. Known are literals, '.', classes with \d \w \s, groups, '|',
// repetitions (a lazy one is the same here) and the anchors ^ and $ at the ends, which say nothing
// when the whole must match. Errors: invalid_argument with the place; unsupported for
// look-around, back references and boundaries.
struct RegexResult {
  Expressions::Id id = 0;
  bool anchored_start = false;  // began with ^
  bool anchored_end = false;    // ended with $
};
Result<RegexResult> ParseRegex(std::string_view pattern, Expressions& expressions);

// JSON Schema 2020-12 (and "definitions" of the older drafts). Texts have no white space but one
// space, or a line break with its indentation, between their parts. What can be written is valid,
// but not everything valid can be: properties come in the schema's order, those that it does not
// name only where additionalProperties says so, and numbers have bounded lengths.
// Errors: invalid_argument for a malformed schema, unsupported naming a keyword that is not
// known or could not be kept, each with its place ("#/properties/a").
Result<Language> ParseJsonSchema(std::string_view text);

}  // namespace rag
