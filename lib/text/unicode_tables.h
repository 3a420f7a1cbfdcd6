// The generated tables behind unicode.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rag::unicode {

struct UnicodeExpansion {
  uint32_t code_point;
  uint16_t offset;  // into the table's pool
  uint16_t length;
};
struct UnicodePair {
  uint32_t code_point;
  uint32_t value;
};
struct UnicodeComposition {
  uint32_t first;
  uint32_t second;
  uint32_t composed;
};

extern const char kVersion[];
// Properties of a code point c: kPropertyBlocks[kPropertyIndex[c / 128] * 128 + c % 128]. The low
// five bits are the general category, then White_Space, has-a-lowercase and has-a-decomposition.
extern const uint16_t kPropertyIndex[];
extern const uint8_t kPropertyBlocks[];
extern const UnicodeExpansion kLower[];
extern const char32_t kLowerPool[];
extern const size_t kLowerCount;
extern const UnicodeExpansion kCanonical[];  // full canonical decompositions
extern const char32_t kCanonicalPool[];
extern const size_t kCanonicalCount;
extern const UnicodeExpansion kCompatible[];  // full compatibility ones where they differ
extern const char32_t kCompatiblePool[];
extern const size_t kCompatibleCount;
extern const UnicodePair kCombiningClasses[];
extern const size_t kCombiningClassCount;
extern const UnicodeComposition kCompositions[];
extern const size_t kCompositionCount;

}  // namespace rag::unicode
