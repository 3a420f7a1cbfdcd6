// Bytes of a text file -> UTF-8.
#pragma once

#include <string>
#include <string_view>

#include "lib/base/status.h"

namespace rag {

// Whether the bytes can be text in some encoding: no NUL (but for UTF-16), few control characters.
bool LooksLikeText(std::string_view bytes);

// The text in UTF-8, valid, without its byte-order mark. In this order: a byte-order mark decides;
// valid UTF-8 is kept as it is; UTF-16 without a mark is known by its zero bytes; UTF-8 with a few
// broken sequences is repaired; `declared` (a page's charset) is believed when ICU knows it; ICU's
// detector decides (the East Asian encodings, KOI8, windows-125x), and windows-1252 is the
// fallback. Errors: invalid_argument for bytes that are not text.
Result<std::string> DecodeText(std::string_view content, std::string_view declared = {});

}  // namespace rag
