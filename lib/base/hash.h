// Hash64: a fast, unkeyed 64-bit hash of bytes, for fingerprints and checks against accidents; not
// against an adversary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace rag {

// XXH64 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md, "XXH64 algorithm"), the same value on
// every machine. About 10 GB/s on one core.
uint64_t Hash64(std::span<const std::byte> bytes, uint64_t seed = 0);
uint64_t Hash64(std::string_view text, uint64_t seed = 0);

// 16 lower-case hexadecimal digits.
std::string HashToHex(uint64_t hash);

}  // namespace rag
