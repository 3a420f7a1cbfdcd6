// Tokens -> syntax tree.
#pragma once

#include <string_view>

#include "lib/base/status.h"
#include "lib/template/ast.h"

namespace rag::jinja {

// Levels of nesting, of statements and of expressions: what bounds the recursion of the parser, the
// evaluator and the tree's destruction.
inline constexpr int kMaxNesting = 100;

// Errors: invalid_argument "name:line: …"; resource_exhausted past kMaxNesting.
Result<Block> ParseTemplate(std::string_view source, std::string_view name);

}  // namespace rag::jinja
