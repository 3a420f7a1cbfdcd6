// An HTML page's text, for the formats that hold such pages.
#pragma once

#include <string>
#include <string_view>

#include "engine/document.h"
#include "engine/parse/text_builder.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

// The page in UTF-8, as DecodeText, with the character set that it declares itself. Errors: as
// DecodeText.
Result<std::string> DecodeHtml(std::string_view content);
// Adds the blocks of the page's body; title and metadata of its head go into `head` unless it is
// null. `html` is UTF-8. Errors: invalid_argument (no text), resource_exhausted, cancelled.
Status ReadHtml(std::string_view html, const CancelToken* cancel, TextBuilder& builder,
                Document* head);

}  // namespace rag
