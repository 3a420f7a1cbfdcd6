// The web page at /, from page.html.
#pragma once

#include <string_view>

namespace rag {

extern const std::string_view kPage;

}  // namespace rag
