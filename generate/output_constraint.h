// OutputConstraint: what the text of an answer must be.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"

namespace rag {

struct OutputConstraint {
  enum class Kind {
    kNone,
    kGrammar,     // `text` is a GBNF grammar with a rule "root" (llama.cpp, grammars/README.md)
    kJsonSchema,  // `text` is a JSON schema (json-schema.org, 2020-12); "{}" is any JSON value
    kRegex,       // `text` is a regular expression that the whole output matches
    kChoice,      // one of `choices`
  };
  Kind kind = Kind::kNone;
  std::string text;
  std::vector<std::string> choices;

  bool operator==(const OutputConstraint&) const = default;
};

// Errors, without a vocabulary: invalid_argument with the place in the grammar, schema or
// expression; unsupported naming what of it is not known; resource_exhausted for one that is too
// large.
Status ValidateConstraint(const OutputConstraint& constraint);

}  // namespace rag
