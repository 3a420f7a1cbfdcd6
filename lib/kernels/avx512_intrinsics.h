// Intel's intrinsics, for files that are compiled for AVX-512.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 warns of its own header's _mm512_undefined_* (gcc bug 105593), to the end of the file that
// includes it.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <cstddef>

namespace rag {

// The first n of 16 lanes.
inline __mmask16 FirstLanes(size_t n) {
  return n >= 16 ? static_cast<__mmask16>(-1) : static_cast<__mmask16>((1u << n) - 1u);
}

}  // namespace rag
