// An HTML page's text, for the formats that hold such pages.
#pragma once

#include <string_view>

#include "engine/document.h"
#include "engine/parse/text_builder.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

// Adds the blocks of the page's body; title and metadata of its head go into `head` unless it is
// null. Errors: invalid_argument (no text), resource_exhausted, cancelled.
Status ReadHtml(std::string_view content, const CancelToken* cancel, TextBuilder& builder,
                Document* head);

}  // namespace rag
