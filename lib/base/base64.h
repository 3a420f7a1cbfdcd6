// Base64 (RFC 4648, section 4): pictures and vectors in JSON, binary tables in tokenizer files.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "lib/base/status.h"

namespace rag {

// With padding.
std::string EncodeBase64(std::span<const std::byte> bytes);

// With padding or without. Errors: invalid_argument naming the offset of the first wrong character.
Result<std::string> DecodeBase64(std::string_view text);

}  // namespace rag
