// A picture in a JSON request.
#pragma once

#include <string>
#include <string_view>

#include "apps/ragd/fields.h"

namespace rag {

// The bytes of an image file in base64, by itself or as a data URL ("data:image/png;base64,…").
// Errors: invalid_argument, also when there are none.
Result<std::string> DecodeImageText(std::string_view text);
// Those of member `key`. After an error: "".
std::string ReadImageField(Fields& fields, std::string_view key);

}  // namespace rag
