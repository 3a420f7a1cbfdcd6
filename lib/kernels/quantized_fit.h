// Fits of a group of weights by few levels: what the block encoders (quantized_encode*.cc) choose
// scales and codes with. Errors are weighted squares; w null: all weigh alike.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <span>

#include "lib/tensor/tensor.h"

namespace rag {

inline constexpr size_t kSuperBlock = 256;  // elements of a K block

// x [n] with weights w [n] or null.
struct FitInput {
  const float* x;
  const float* w;
  size_t n;

  float weight(size_t i) const { return w == nullptr ? 1.0f : w[i]; }
  FitInput part(size_t begin, size_t count) const {
    return {x + begin, w == nullptr ? nullptr : w + begin, count};
  }
};

// x ~ scale * code - minimum, codes 0 .. levels - 1.
struct AffineFit {
  float scale = 0;
  float minimum = 0;
};

inline void PutHalf(std::byte* at, float value) {
  const uint16_t bits = FloatToHalf(value);
  std::memcpy(at, &bits, sizeof(bits));
}
inline float RoundedHalf(float value) { return HalfToFloat(FloatToHalf(value)); }
inline float InverseOrZero(float value) { return value == 0 ? 0.0f : 1 / value; }

// The element of largest magnitude with its sign, the first of equals; 0 for none.
float SignedLargest(const float* x, size_t n);

// Halves away from zero, held to low .. high.
int RoundedCode(float value, int low, int high);

// Scale and minimum by least squares among some candidates. free_minimum: it may be below 0.
AffineFit FitAffine(const FitInput& in, int levels, bool free_minimum);
// With both in whole steps: the best of the neighbours of each, steps 0 .. most.
struct AffineSteps {
  int scale = 0;
  int minimum = 0;
};
AffineSteps RoundAffine(const FitInput& in, const AffineFit& fit, int levels, float scale_step,
                        float minimum_step, int most);

// x ~ scale * code, codes low .. high (low < 0); the scale may be negative.
float FitSymmetric(const FitInput& in, int low, int high);
// The scale in whole steps, least .. most.
int RoundSymmetric(const FitInput& in, float scale, int low, int high, float step, int least,
                   int most);

// x ~ scale * values[code], 16 values in ascending order.
using CodeTable = std::span<const int8_t, 16>;
int NearestCode(CodeTable values, float x);
float FitTable(const FitInput& in, CodeTable values);
int RoundTable(const FitInput& in, float scale, CodeTable values, float step, int least, int most);

}  // namespace rag
