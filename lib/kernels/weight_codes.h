// Weights of 16 bits, and sums of their products: the arithmetic of learned sparse vectors.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "lib/runtime/runtime.h"

namespace rag {

// A weight is kept as the upper 16 of a float's 31 bits behind the sign, rounded to the nearest: 8
// bits of exponent and 8 of the fraction, so that it differs by at most one part in 512. No weight
// has the code 0.
inline constexpr int kWeightCodeShift = 15;
inline constexpr uint16_t kLargestWeightCode = 0x7f7fffff >> kWeightCodeShift;  // of a finite float

inline uint16_t EncodeWeight(float weight) {  // finite, > 0
  const uint32_t bits = std::bit_cast<uint32_t>(weight);
  const uint32_t rounded = (bits + (1u << (kWeightCodeShift - 1))) >> kWeightCodeShift;
  return static_cast<uint16_t>(std::clamp<uint32_t>(rounded, 1, kLargestWeightCode));
}
inline float DecodeWeight(uint16_t code) {
  return std::bit_cast<float>(static_cast<uint32_t>(code) << kWeightCodeShift);
}

inline constexpr size_t kWeightRun = 64;

struct WeightCodeKernels {
  Isa isa;
  // codes holds kWeightRun codes for each bit of `held`, lowest first. For the bits of these that
  // are in `wanted`: sums[kWeightRun * bit + i] += factor * DecodeWeight(code i), product and sum
  // each rounded, so that the bits are the same in every table. factor is finite and not below 0.
  void (*add_runs)(const uint16_t* codes, uint64_t held, uint64_t wanted, float factor,
                   float* sums);
  // Bit i: sums[i] >= bound, i < kWeightRun.
  uint64_t (*reaching)(const float* sums, float bound);
};

// The table of an instruction set; null when this build or this processor cannot run it. What has
// none of its own has AVX2's.
const WeightCodeKernels* GetWeightCodeKernels(Isa isa);

}  // namespace rag
