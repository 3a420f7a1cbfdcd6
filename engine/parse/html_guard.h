// Bounds on HTML before a tree is built of it.
#pragma once

#include <string_view>

#include "lib/base/status.h"

namespace rag {

// A tree takes about a hundred bytes for every tag and attribute, some steps of the HTML algorithm
// are linear in the nesting for every tag, and duplicate attributes are found by comparing all
// pairs. A scan of the tags keeps all three in bounds. Errors: resource_exhausted.
Status CheckHtmlBounds(std::string_view html);

}  // namespace rag
