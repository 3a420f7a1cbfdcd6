#include "lib/kernels/quantized_encode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "lib/kernels/quantized_blocks.h"
#include "lib/kernels/quantized_encode_tables.h"
#include "lib/kernels/quantized_fit.h"

namespace rag {
namespace {

void PackNibbles(const std::array<int, 32>& codes, std::byte* out) {
  for (size_t i = 0; i < 16; ++i) {
    out[i] = static_cast<std::byte>((codes[i] & 15) | (codes[i + 16] & 15) << 4);
  }
}

uint32_t FifthBits(const std::array<int, 32>& codes) {
  uint32_t bits = 0;
  for (size_t i = 0; i < 32; ++i) bits |= static_cast<uint32_t>(codes[i] >> 4 & 1) << i;
  return bits;
}

// 8 bits leave nothing to choose: weights change nothing.
void EncodeQ8_0(const float* x, const float*, std::byte* out) {
  float largest = 0;
  for (size_t i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float scale = largest / 127;
  const float inverse = InverseOrZero(scale);
  PutHalf(out, scale);
  for (size_t i = 0; i < 32; ++i) {
    // Half away from zero, as C's roundf.
    out[2 + i] = static_cast<std::byte>(static_cast<int8_t>(std::round(x[i] * inverse)));
  }
}

using Codes = std::array<int, 32>;

// Q4_0 (16 levels) and Q5_0 (32): the largest magnitude becomes the lowest code or, with weights,
// what serves them best.
template <int kLevels>
void EncodeSymmetric(const float* x, const float* w, std::byte* out) {
  constexpr int kZero = kLevels / 2;
  Codes codes;
  float scale = SignedLargest(x, 32) / -kZero;
  if (w == nullptr) {
    const float inverse = InverseOrZero(scale);
    for (size_t i = 0; i < 32; ++i) {
      const float code = std::trunc(x[i] * inverse + (static_cast<float>(kZero) + 0.5f));
      codes[i] = static_cast<int>(std::clamp(code, 0.0f, static_cast<float>(kLevels - 1)));
    }
  } else {
    scale = RoundedHalf(FitSymmetric({x, w, 32}, -kZero, kZero - 1));
    const float inverse = InverseOrZero(scale);
    for (size_t i = 0; i < 32; ++i) {
      codes[i] = RoundedCode(x[i] * inverse, -kZero, kZero - 1) + kZero;
    }
  }
  PutHalf(out, scale);
  if constexpr (kLevels == 32) {
    const uint32_t bits = FifthBits(codes);
    std::memcpy(out + 2, &bits, sizeof(bits));
  }
  PackNibbles(codes, out + (kLevels == 32 ? 6 : 2));
}

// Q4_1 and Q5_1: a value and steps above it; the smallest or, with weights, what serves them best.
template <int kLevels>
void EncodeAsymmetric(const float* x, const float* w, std::byte* out) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  float minimum = *low;
  float scale = (*high - minimum) / (kLevels - 1);
  if (w != nullptr) {
    const AffineFit fit = FitAffine({x, w, 32}, kLevels, true);
    scale = RoundedHalf(fit.scale);
    minimum = RoundedHalf(-fit.minimum);
  }
  const float inverse = InverseOrZero(scale);
  Codes codes;
  for (size_t i = 0; i < 32; ++i) {
    const float code = std::trunc((x[i] - minimum) * inverse + 0.5f);
    codes[i] = static_cast<int>(std::clamp(code, 0.0f, static_cast<float>(kLevels - 1)));
  }
  PutHalf(out, scale);
  PutHalf(out + 2, minimum);
  if constexpr (kLevels == 32) {
    const uint32_t bits = FifthBits(codes);
    std::memcpy(out + 4, &bits, sizeof(bits));
  }
  PackNibbles(codes, out + (kLevels == 32 ? 8 : 4));
}

void EncodeIQ4_NL(const float* x, const float* w, std::byte* out) {
  const CodeTable values(kIq4Values);
  const float scale = RoundedHalf(FitTable({x, w, 32}, values));
  const float inverse = InverseOrZero(scale);
  Codes codes;
  for (size_t i = 0; i < 32; ++i) codes[i] = NearestCode(values, x[i] * inverse);
  PutHalf(out, scale);
  PackNibbles(codes, out + 2);
}

// The first of the nearest values, as numpy's argmin finds it.
int NearestMxfp4(float x, float scale) {
  int best = 0;
  float least = INFINITY;
  for (int code = 0; code < 16; ++code) {
    const float error = std::fabs(scale * static_cast<float>(kMxfp4Values[code]) - x);
    if (!(error < least)) continue;
    least = error;
    best = code;
  }
  return best;
}

// The exponent lets the largest magnitude stay below 8 (OCP Microscaling Formats 1.0, section 6.3)
// or, with weights, is the best of it and its neighbours.
void EncodeMXFP4(const float* x, const float* w, std::byte* out) {
  const float largest = std::fabs(SignedLargest(x, 32));
  const int exponent = largest > 0 ? std::clamp(std::ilogb(largest) - 2 + 127, 0, 254) : 0;
  int chosen = exponent;
  double least = INFINITY;
  for (int e = exponent - 1; w != nullptr && largest > 0 && e <= exponent + 1; ++e) {
    if (e < 0 || e > 254) continue;
    const float scale = HalfOfE8M0(static_cast<uint8_t>(e));
    double error = 0;
    for (size_t i = 0; i < 32; ++i) {
      const float value = scale * static_cast<float>(kMxfp4Values[NearestMxfp4(x[i], scale)]);
      const auto difference = static_cast<double>(value - x[i]);
      error += static_cast<double>(w[i]) * difference * difference;
    }
    if (!(error < least)) continue;
    least = error;
    chosen = e;
  }
  const float scale = HalfOfE8M0(static_cast<uint8_t>(chosen));
  Codes codes;
  for (size_t i = 0; i < 32; ++i) codes[i] = NearestMxfp4(x[i], scale);
  out[0] = static_cast<std::byte>(chosen);
  PackNibbles(codes, out + 1);
}

BlockEncoder FindEncoder(DType type) {
  switch (type) {
    case DType::kF32:
      return
          [](const float* x, const float*, std::byte* out) { std::memcpy(out, x, sizeof(float)); };
    case DType::kF16:
      return [](const float* x, const float*, std::byte* out) { PutHalf(out, *x); };
    case DType::kBF16:
      return [](const float* x, const float*, std::byte* out) {
        const uint16_t bits = FloatToBFloat16(*x);
        std::memcpy(out, &bits, sizeof(bits));
      };
    case DType::kQ8_0:
      return EncodeQ8_0;
    case DType::kQ4_0:
      return EncodeSymmetric<16>;
    case DType::kQ5_0:
      return EncodeSymmetric<32>;
    case DType::kQ4_1:
      return EncodeAsymmetric<16>;
    case DType::kQ5_1:
      return EncodeAsymmetric<32>;
    case DType::kQ2_K:
      return EncodeQ2_K;
    case DType::kQ3_K:
      return EncodeQ3_K;
    case DType::kQ4_K:
      return EncodeAffineK<16>;
    case DType::kQ5_K:
      return EncodeAffineK<32>;
    case DType::kQ6_K:
      return EncodeQ6_K;
    case DType::kIQ4_NL:
      return EncodeIQ4_NL;
    case DType::kIQ4_XS:
      return EncodeIQ4_XS;
    case DType::kMXFP4:
      return EncodeMXFP4;
    default:
      return nullptr;
  }
}

// An error counts by its column's importance and, for the large elements' sake, by the element: as
// llama.cpp weighs those of Q3_K to Q5_K. False: nothing of the block matters, so that all of it
// matters alike.
bool WeighBlock(const float* x, const float* importance, size_t n, float* w) {
  double squares = 0;
  for (size_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const float usual = static_cast<float>(2 * squares / static_cast<double>(n));
  float largest = 0;
  for (size_t i = 0; i < n; ++i) {
    w[i] = importance[i] * std::sqrt(usual + x[i] * x[i]);
    largest = std::max(largest, w[i]);
  }
  return largest > 0 && std::isfinite(largest);
}

}  // namespace

bool CanEncode(DType type) { return FindEncoder(type) != nullptr; }

Status EncodeBlocks(DType type, std::span<const float> values, std::span<std::byte> bytes,
                    std::span<const float> importance) {
  const BlockEncoder encode = FindEncoder(type);
  const DTypeInfo& info = GetDTypeInfo(type);
  if (encode == nullptr) {
    return InvalidArgumentError("weights cannot be written as ", info.name);
  }
  const size_t blocks = values.size() / info.block_size;
  if (values.size() % info.block_size != 0 || bytes.size() != blocks * info.block_bytes) {
    return InvalidArgumentError(values.size(), " values are not the blocks of ", info.name, " in ",
                                bytes.size(), " bytes");
  }
  const size_t columns = importance.size();
  if (columns != 0 && (columns % info.block_size != 0 || values.size() % columns != 0)) {
    return InvalidArgumentError("an importance of ", columns, " columns is not that of rows of ",
                                info.name, " in ", values.size(), " values");
  }
  // Scales of all but these are halves.
  const bool wide = type == DType::kF32 || type == DType::kBF16 || type == DType::kMXFP4;
  const float limit = wide ? std::numeric_limits<float>::max() : kLargestHalf;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!(std::fabs(values[i]) <= limit)) {
      return InvalidArgumentError("value ", i, " is ", values[i], ", which ", info.name,
                                  " cannot hold");
    }
  }
  for (size_t i = 0; i < columns; ++i) {
    if (!(importance[i] >= 0) || !std::isfinite(importance[i])) {
      return InvalidArgumentError("the importance of column ", i, " is ", importance[i]);
    }
  }
  std::vector<float> weights(columns == 0 ? 0 : info.block_size);
  for (size_t i = 0; i < blocks; ++i) {
    const float* x = values.data() + i * info.block_size;
    const float* w = nullptr;
    if (columns != 0 && WeighBlock(x, importance.data() + i * info.block_size % columns,
                                   info.block_size, weights.data())) {
      w = weights.data();
    }
    encode(x, w, bytes.data() + i * info.block_bytes);
  }
  return OkStatus();
}

}  // namespace rag
