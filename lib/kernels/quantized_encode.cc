#include "lib/kernels/quantized_encode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace rag {
namespace {

constexpr size_t kSuper = 256;  // elements of a K block

void PutHalf(std::byte* at, float value) {
  const uint16_t bits = FloatToHalf(value);
  std::memcpy(at, &bits, sizeof(bits));
}

float RoundedHalf(float value) { return HalfToFloat(FloatToHalf(value)); }

float Inverse(float value) { return value == 0 ? 0.0f : 1 / value; }

// The element of largest magnitude with its sign, the first of equals.
float SignedLargest(const float* x, size_t n) {
  float largest = x[0];
  for (size_t i = 1; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
  }
  return largest;
}

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

void EncodeQ8_0(const float* x, std::byte* out) {
  float largest = 0;
  for (size_t i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float scale = largest / 127;
  const float inverse = Inverse(scale);
  PutHalf(out, scale);
  for (size_t i = 0; i < 32; ++i) {
    // Half away from zero, as C's roundf.
    out[2 + i] = static_cast<std::byte>(static_cast<int8_t>(std::round(x[i] * inverse)));
  }
}

// Q4_0 (levels 16) and Q5_0 (32): the largest magnitude becomes the lowest code.
template <int kLevels>
void EncodeSymmetric(const float* x, std::byte* out) {
  constexpr int kZero = kLevels / 2;
  const float scale = SignedLargest(x, 32) / -kZero;
  const float inverse = Inverse(scale);
  std::array<int, 32> codes;
  for (size_t i = 0; i < 32; ++i) {
    const float code = std::trunc(x[i] * inverse + (static_cast<float>(kZero) + 0.5f));
    codes[i] = static_cast<int>(std::clamp(code, 0.0f, static_cast<float>(kLevels - 1)));
  }
  PutHalf(out, scale);
  if constexpr (kLevels == 32) {
    const uint32_t bits = FifthBits(codes);
    std::memcpy(out + 2, &bits, sizeof(bits));
  }
  PackNibbles(codes, out + (kLevels == 32 ? 6 : 2));
}

// Q4_1 and Q5_1: the smallest value and steps above it.
template <int kLevels>
void EncodeAsymmetric(const float* x, std::byte* out) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float minimum = *low;
  const float scale = (*high - minimum) / (kLevels - 1);
  const float inverse = Inverse(scale);
  std::array<int, 32> codes;
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

// x ~ scale * code - minimum with codes in [0, levels) and minimum >= 0.
struct Affine {
  float scale = 0;
  float minimum = 0;
};

double SquaredError(const float* x, size_t n, const Affine& fit, int levels) {
  const float inverse = Inverse(fit.scale);
  double error = 0;
  for (size_t i = 0; i < n; ++i) {
    const float code = std::clamp(std::round((x[i] + fit.minimum) * inverse), 0.0f,
                                  static_cast<float>(levels - 1));
    const double difference = static_cast<double>(fit.scale * code - fit.minimum - x[i]);
    error += difference * difference;
  }
  return error;
}

// Least squares of scale and minimum for the codes that `fit` gives.
Affine Refit(const float* x, size_t n, const Affine& fit, int levels) {
  const float inverse = Inverse(fit.scale);
  double codes = 0, squares = 0, values = 0, products = 0;
  for (size_t i = 0; i < n; ++i) {
    const double code = static_cast<double>(std::clamp(std::round((x[i] + fit.minimum) * inverse),
                                                       0.0f, static_cast<float>(levels - 1)));
    codes += code;
    squares += code * code;
    values += static_cast<double>(x[i]);
    products += code * static_cast<double>(x[i]);
  }
  const double count = static_cast<double>(n);
  const double determinant = count * squares - codes * codes;
  if (!(determinant > 0)) return fit;
  double scale = (count * products - codes * values) / determinant;
  double minimum = (codes * products - squares * values) / determinant;
  if (minimum < 0) {
    minimum = 0;
    scale = squares > 0 ? products / squares : 0;
  }
  if (!(scale > 0)) return fit;
  return {static_cast<float>(scale), static_cast<float>(minimum)};
}

Affine FitAffine(const float* x, size_t n, int levels) {
  const auto [low, high] = std::minmax_element(x, x + n);
  const float minimum = std::max(0.0f, -*low);
  const float range = *high + minimum;
  if (!(range > 0)) return {0, minimum};
  Affine best = {range / static_cast<float>(levels - 1), minimum};
  double least = SquaredError(x, n, best, levels);
  // Leaving the ends outside can serve the rest better.
  for (int step = -2; step <= 12; ++step) {
    const float steps = static_cast<float>(levels - 1) + 0.15f * static_cast<float>(step);
    Affine fit = {range / steps, minimum};
    for (int round = 0; round < 2; ++round) {
      fit = Refit(x, n, fit, levels);
      const double error = SquaredError(x, n, fit, levels);
      if (error < least) {
        least = error;
        best = fit;
      }
    }
  }
  return best;
}

// Q4_K and Q5_K: the layout is that of DecodeScalesK4 in quantized_blocks.cc.
template <int kLevels>
void EncodeAffineK(const float* x, std::byte* out) {
  std::array<Affine, 8> fits;
  Affine largest;
  for (size_t i = 0; i < 8; ++i) {
    fits[i] = FitAffine(x + 32 * i, 32, kLevels);
    largest.scale = std::max(largest.scale, fits[i].scale);
    largest.minimum = std::max(largest.minimum, fits[i].minimum);
  }
  const float d = RoundedHalf(largest.scale / 63);
  const float dmin = RoundedHalf(largest.minimum / 63);
  PutHalf(out, d);
  PutHalf(out + 2, dmin);
  std::array<uint8_t, 12> packed = {};
  std::array<uint8_t, kSuper> codes;
  for (size_t i = 0; i < 8; ++i) {
    const auto six = [](float value) {
      return static_cast<int>(std::clamp(std::round(value), 0.0f, 63.0f));
    };
    const int scale = six(fits[i].scale * Inverse(d));
    const int minimum = six(fits[i].minimum * Inverse(dmin));
    if (i < 4) {
      packed[i] = static_cast<uint8_t>(packed[i] | scale);
      packed[i + 4] = static_cast<uint8_t>(packed[i + 4] | minimum);
    } else {
      packed[i + 4] = static_cast<uint8_t>((scale & 15) | (minimum & 15) << 4);
      packed[i - 4] = static_cast<uint8_t>(packed[i - 4] | scale >> 4 << 6);
      packed[i] = static_cast<uint8_t>(packed[i] | minimum >> 4 << 6);
    }
    const float step = d * static_cast<float>(scale);
    const float offset = dmin * static_cast<float>(minimum);
    for (size_t j = 32 * i; j < 32 * i + 32; ++j) {
      codes[j] = static_cast<uint8_t>(std::clamp(std::round((x[j] + offset) * Inverse(step)), 0.0f,
                                                 static_cast<float>(kLevels - 1)));
    }
  }
  std::memcpy(out + 4, packed.data(), packed.size());
  std::byte* nibbles = out + 16;
  if constexpr (kLevels == 32) {
    std::array<uint8_t, 32> high = {};
    for (size_t i = 0; i < kSuper; ++i) {
      high[i % 32] = static_cast<uint8_t>(high[i % 32] | (codes[i] >> 4) << (i / 32));
    }
    std::memcpy(nibbles, high.data(), high.size());
    nibbles += high.size();
  }
  for (size_t i = 0; i < kSuper / 2; ++i) {
    const size_t low = i / 32 * 64 + i % 32;
    nibbles[i] = static_cast<std::byte>((codes[low] & 15) | (codes[low + 32] & 15) << 4);
  }
}

// x ~ scale * code with codes in [-32, 31]; the scale may be negative.
float FitSymmetric(const float* x, size_t n) {
  const float largest = SignedLargest(x, n);
  if (largest == 0) return 0;
  float best = 0;
  double most = -1;  // of products^2 / squares, which the error falls by
  for (int step = -9; step <= 9; ++step) {
    const float inverse = -(32 + 0.1f * static_cast<float>(step)) / largest;
    double products = 0, squares = 0;
    for (size_t i = 0; i < n; ++i) {
      const double code =
          static_cast<double>(std::clamp(std::round(x[i] * inverse), -32.0f, 31.0f));
      products += code * static_cast<double>(x[i]);
      squares += code * code;
    }
    if (squares > 0 && products * products / squares > most) {
      most = products * products / squares;
      best = static_cast<float>(products / squares);
    }
  }
  return best;
}

void EncodeQ6_K(const float* x, std::byte* out) {
  std::array<float, 16> scales;
  for (size_t i = 0; i < 16; ++i) scales[i] = FitSymmetric(x + 16 * i, 16);
  const float d = RoundedHalf(SignedLargest(scales.data(), 16) / -128);
  std::array<uint8_t, 128> low = {};
  std::array<uint8_t, 64> high = {};
  for (size_t i = 0; i < 16; ++i) {
    const int scale =
        static_cast<int>(std::clamp(std::round(scales[i] * Inverse(d)), -128.0f, 127.0f));
    out[192 + i] = static_cast<std::byte>(static_cast<int8_t>(scale));
    const float inverse = Inverse(d * static_cast<float>(scale));
    for (size_t j = 16 * i; j < 16 * i + 16; ++j) {
      const int code = static_cast<int>(std::clamp(std::round(x[j] * inverse), -32.0f, 31.0f)) + 32;
      const size_t half = j / 128;
      uint8_t& nibbles = low[half * 64 + j % 64];
      nibbles = static_cast<uint8_t>(nibbles | (code & 15) << (j % 128 < 64 ? 0 : 4));
      uint8_t& pairs = high[half * 32 + j % 32];
      pairs = static_cast<uint8_t>(pairs | code >> 4 << (j % 128 / 32 * 2));
    }
  }
  std::memcpy(out, low.data(), low.size());
  std::memcpy(out + 128, high.data(), high.size());
  PutHalf(out + 208, d);
}

using Encoder = void (*)(const float* x, std::byte* out);

Encoder FindEncoder(DType type) {
  switch (type) {
    case DType::kF32:
      return [](const float* x, std::byte* out) { std::memcpy(out, x, sizeof(float)); };
    case DType::kF16:
      return [](const float* x, std::byte* out) { PutHalf(out, *x); };
    case DType::kBF16:
      return [](const float* x, std::byte* out) {
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
    case DType::kQ4_K:
      return EncodeAffineK<16>;
    case DType::kQ5_K:
      return EncodeAffineK<32>;
    case DType::kQ6_K:
      return EncodeQ6_K;
    default:
      return nullptr;
  }
}

}  // namespace

bool CanEncode(DType type) { return FindEncoder(type) != nullptr; }

Status EncodeBlocks(DType type, std::span<const float> values, std::span<std::byte> bytes) {
  const Encoder encode = FindEncoder(type);
  const DTypeInfo& info = GetDTypeInfo(type);
  if (encode == nullptr) {
    return InvalidArgumentError("weights cannot be written as ", info.name);
  }
  const size_t blocks = values.size() / info.block_size;
  if (values.size() % info.block_size != 0 || bytes.size() != blocks * info.block_bytes) {
    return InvalidArgumentError(values.size(), " values are not the blocks of ", info.name, " in ",
                                bytes.size(), " bytes");
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      return InvalidArgumentError("value ", i, " is ", values[i], ", which ", info.name,
                                  " cannot hold");
    }
  }
  for (size_t i = 0; i < blocks; ++i) {
    encode(values.data() + i * info.block_size, bytes.data() + i * info.block_bytes);
  }
  return OkStatus();
}

}  // namespace rag
