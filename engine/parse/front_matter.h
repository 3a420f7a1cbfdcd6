// The YAML block at the head of a Markdown file.
#pragma once

#include <cstddef>
#include <string_view>

#include "lib/base/value.h"

namespace rag {

struct FrontMatter {
  size_t bytes = 0;  // of the file that belong to it, its closing line included; 0: there is none
  Value metadata;    // an object
};

// Reads what such blocks hold in practice: scalars (plain, quoted, literal and folded), lists (of
// lines or in brackets) and maps by indentation. Anchors, tags and flow maps stay text; a line that
// fits nothing is skipped. A block without a closing line, or over 64 KiB, is no front matter.
FrontMatter ReadFrontMatter(std::string_view text);

}  // namespace rag
