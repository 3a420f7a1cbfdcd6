// Texts of a caller's question. One that is broken is an error and not repaired, as a file's text
// is: the answer would be to another question.
#pragma once

#include <span>
#include <string_view>

#include "lib/base/status.h"

namespace rag {

// Whether it holds nothing, or white space alone.
bool IsBlank(std::string_view text);

// Errors: invalid_argument "NAME is not UTF-8 at byte N".
Status CheckUtf8(std::string_view name, std::string_view text);
// Of each; their names are "NAME[0]" and so on.
Status CheckUtf8(std::string_view name, std::span<const std::string_view> texts);

}  // namespace rag
