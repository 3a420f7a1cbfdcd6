// Base64 (RFC 4648), as tokenizer files embed binary tables.
#pragma once

#include <string>
#include <string_view>

#include "lib/base/status.h"

namespace rag {

// Errors: invalid_argument naming the offset of the first wrong character.
Result<std::string> DecodeBase64(std::string_view text);

}  // namespace rag
