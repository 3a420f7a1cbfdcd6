// The scalar table: the reference of the others.
#include <bit>

#include "lib/kernels/short_codes_tables.h"

namespace rag {
namespace {

void NibbleDots(const int8_t* query, const std::byte* const* codes, size_t count, size_t bytes,
                int32_t* out) {
  for (size_t i = 0; i < count; ++i) {
    int32_t sum = 0;
    for (size_t j = 0; j < bytes; ++j) {
      const int32_t both = std::to_integer<int32_t>(codes[i][j]);
      const int8_t* const at = query + j / kShortAlign * 2 * kShortAlign + j % kShortAlign;
      sum += at[0] * (both & 15) + at[kShortAlign] * (both >> 4);
    }
    out[i] = sum;
  }
}

uint64_t Word(const std::byte* at) {
  uint64_t word;
  __builtin_memcpy(&word, at, sizeof(word));
  return word;
}

void BitDots(const std::byte* planes, const std::byte* const* codes, size_t count, size_t bytes,
             int32_t* out) {
  for (size_t i = 0; i < count; ++i) {
    int32_t sum = 0;
    for (size_t line = 0; line < bytes; line += kShortAlign) {
      for (size_t plane = 0; plane < kQueryPlanes; ++plane) {
        int32_t common = 0;
        for (size_t j = 0; j < kShortAlign; j += sizeof(uint64_t)) {
          const std::byte* const bits = planes + line * kQueryPlanes + plane * kShortAlign + j;
          common += std::popcount(Word(codes[i] + line + j) & Word(bits));
        }
        sum += plane + 1 < kQueryPlanes ? common << plane : -(common << plane);
      }
    }
    out[i] = sum;
  }
}

void Hadamard(float* x, size_t n) {
  for (size_t half = 1; half < n; half *= 2) {
    for (size_t first = 0; first < n; first += 2 * half) {
      for (size_t i = first; i < first + half; ++i) {
        const float a = x[i], b = x[i + half];
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
}

}  // namespace

const ShortCodeKernels& ScalarShortCodeKernels() {
  static constexpr ShortCodeKernels kTable = {
      .isa = Isa::kScalar,
      .nibble_dots = NibbleDots,
      .bit_dots = BitDots,
      .hadamard = Hadamard,
  };
  return kTable;
}

}  // namespace rag
