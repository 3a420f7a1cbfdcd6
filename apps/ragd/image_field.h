// A picture in a JSON request.
#pragma once

#include <string>
#include <string_view>

#include "apps/ragd/fields.h"

namespace rag {

// The bytes of the image file that member `key` holds in base64, by itself or as a data URL ("data:
// image/png;base64,…"). After an error: "".
std::string ReadImageField(Fields& fields, std::string_view key);

}  // namespace rag
