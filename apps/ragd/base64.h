// Base64 (RFC 4648, section 4), with padding.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace rag {

std::string Base64(std::span<const std::byte> bytes);

}  // namespace rag
