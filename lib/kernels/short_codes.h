// Codes of 4 bits and of 1 bit an element against a query in integers, and the transform that
// spreads a vector over all of its elements before it is rounded so coarsely.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/runtime/runtime.h"

namespace rag {

// A code is kShortHeader bytes that belong to its owner, then its elements, up to the end of a
// multiple of kShortAlign bytes, to which codes and queries are aligned. A query is zero where the
// header is and behind the last element; so neither counts.
inline constexpr size_t kShortHeader = 8;
inline constexpr size_t kShortAlign = 64;
// Bits of a query's element beside codes of 1 bit. Gao and Long (2024, section 3.3.1) find four
// enough: what they round off is far below what the code does.
inline constexpr size_t kQueryPlanes = 4;

struct ShortCodeKernels {
  Isa isa;

  // u4 elements: element 128 l + j, j < 64, is the lower half of byte 64 l + j, element
  // 128 l + 64 + j its upper half. query [2 * bytes] in -127 ... 127.
  // out[i] = sum of query[j] * codes[i][j].
  void (*nibble_dots)(const int8_t* query, const std::byte* const* codes, size_t count,
                      size_t bytes, int32_t* out);
  // 1-bit elements, the lowest bit of a byte first. The query's bits in two's complement, each in
  // a plane: for each line of 64 bytes kQueryPlanes lines, the lowest bits first.
  // out[i] = sum of query[j] where codes[i] has bit j.
  void (*bit_dots)(const std::byte* planes, const std::byte* const* codes, size_t count,
                   size_t bytes, int32_t* out);
  // The Walsh-Hadamard transform of x [n] in place, unscaled; n is a power of two.
  void (*hadamard)(float* x, size_t n);
};

// The table of an instruction set; null when this build or this processor cannot run it.
const ShortCodeKernels* GetShortCodeKernels(Isa isa);

}  // namespace rag
