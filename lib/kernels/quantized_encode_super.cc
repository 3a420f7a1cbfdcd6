// Encoders of the types with blocks of 256. The layouts are those of the decoders in
// quantized_blocks.cc.
#include <algorithm>
#include <array>

#include "lib/kernels/quantized_blocks.h"
#include "lib/kernels/quantized_encode_tables.h"
#include "lib/kernels/quantized_fit.h"

namespace rag {
namespace {

// Scales and minima of the groups in steps of two halves, chosen so that the largest is `most`
// steps.
template <size_t kGroups>
struct AffineGroups {
  float d = 0;
  float dmin = 0;
  std::array<AffineSteps, kGroups> steps;
  std::array<uint8_t, kSuperBlock> codes;
};

template <size_t kGroups>
void FitGroups(const FitInput& in, int levels, int most, AffineGroups<kGroups>& out) {
  constexpr size_t kSize = kSuperBlock / kGroups;
  std::array<AffineFit, kGroups> fits;
  AffineFit largest;
  for (size_t i = 0; i < kGroups; ++i) {
    fits[i] = FitAffine(in.part(kSize * i, kSize), levels, false);
    largest.scale = std::max(largest.scale, fits[i].scale);
    largest.minimum = std::max(largest.minimum, fits[i].minimum);
  }
  out.d = RoundedHalf(largest.scale / static_cast<float>(most));
  out.dmin = RoundedHalf(largest.minimum / static_cast<float>(most));
  for (size_t i = 0; i < kGroups; ++i) {
    const AffineSteps steps =
        RoundAffine(in.part(kSize * i, kSize), fits[i], levels, out.d, out.dmin, most);
    out.steps[i] = steps;
    const float inverse = InverseOrZero(out.d * static_cast<float>(steps.scale));
    const float offset = out.dmin * static_cast<float>(steps.minimum);
    for (size_t j = kSize * i; j < kSize * (i + 1); ++j) {
      out.codes[j] = static_cast<uint8_t>(RoundedCode((in.x[j] + offset) * inverse, 0, levels - 1));
    }
  }
}

// Two bits of each code: element i at byte i / 128 * 32 + i % 32, bits i % 128 / 32 * 2.
void PackPairs(const std::array<uint8_t, kSuperBlock>& codes, std::byte* out) {
  std::array<uint8_t, 64> packed = {};
  for (size_t i = 0; i < kSuperBlock; ++i) {
    uint8_t& byte = packed[i / 128 * 32 + i % 32];
    byte = static_cast<uint8_t>(byte | (codes[i] & 3) << (i % 128 / 32 * 2));
  }
  std::memcpy(out, packed.data(), packed.size());
}

// The scales of Q4_K and Q5_K in 6 bits each.
void PackScalesK4(const std::array<AffineSteps, 8>& steps, std::byte* out) {
  std::array<uint8_t, 12> packed = {};
  for (size_t i = 0; i < 8; ++i) {
    const int scale = steps[i].scale;
    const int minimum = steps[i].minimum;
    if (i < 4) {
      packed[i] = static_cast<uint8_t>(packed[i] | scale);
      packed[i + 4] = static_cast<uint8_t>(packed[i + 4] | minimum);
    } else {
      packed[i + 4] = static_cast<uint8_t>((scale & 15) | (minimum & 15) << 4);
      packed[i - 4] = static_cast<uint8_t>(packed[i - 4] | scale >> 4 << 6);
      packed[i] = static_cast<uint8_t>(packed[i] | minimum >> 4 << 6);
    }
  }
  std::memcpy(out, packed.data(), packed.size());
}

}  // namespace

void EncodeQ2_K(const float* x, const float* w, std::byte* out) {
  AffineGroups<16> groups;
  FitGroups({x, w, kSuperBlock}, 4, 15, groups);
  for (size_t i = 0; i < 16; ++i) {
    out[i] = static_cast<std::byte>(groups.steps[i].scale | groups.steps[i].minimum << 4);
  }
  PackPairs(groups.codes, out + 16);
  PutHalf(out + 80, groups.d);
  PutHalf(out + 82, groups.dmin);
}

void EncodeQ3_K(const float* x, const float* w, std::byte* out) {
  const FitInput in = {x, w, kSuperBlock};
  std::array<float, 16> scales;
  for (size_t i = 0; i < 16; ++i) scales[i] = FitSymmetric(in.part(16 * i, 16), -4, 3);
  const float d = RoundedHalf(SignedLargest(scales.data(), 16) / -32);
  std::array<uint8_t, kSuperBlock> codes;
  std::array<uint8_t, 12> packed = {};
  std::array<uint8_t, 32> high = {};
  for (size_t i = 0; i < 16; ++i) {
    const int scale = RoundSymmetric(in.part(16 * i, 16), scales[i], -4, 3, d, -32, 31);
    const int biased = scale + 32;
    packed[i % 8] = static_cast<uint8_t>(packed[i % 8] | (biased & 15) << (i / 8 * 4));
    packed[8 + i % 4] = static_cast<uint8_t>(packed[8 + i % 4] | biased >> 4 << (i / 4 * 2));
    const float inverse = InverseOrZero(d * static_cast<float>(scale));
    for (size_t j = 16 * i; j < 16 * i + 16; ++j) {
      codes[j] = static_cast<uint8_t>(RoundedCode(x[j] * inverse, -4, 3) + 4);
      high[j % 32] = static_cast<uint8_t>(high[j % 32] | codes[j] >> 2 << (j / 32));
    }
  }
  std::memcpy(out, high.data(), high.size());
  PackPairs(codes, out + 32);
  std::memcpy(out + 96, packed.data(), packed.size());
  PutHalf(out + 108, d);
}

template <int kLevels>
void EncodeAffineK(const float* x, const float* w, std::byte* out) {
  AffineGroups<8> groups;
  FitGroups({x, w, kSuperBlock}, kLevels, 63, groups);
  PutHalf(out, groups.d);
  PutHalf(out + 2, groups.dmin);
  PackScalesK4(groups.steps, out + 4);
  std::byte* nibbles = out + 16;
  if constexpr (kLevels == 32) {
    std::array<uint8_t, 32> high = {};
    for (size_t i = 0; i < kSuperBlock; ++i) {
      high[i % 32] = static_cast<uint8_t>(high[i % 32] | (groups.codes[i] >> 4) << (i / 32));
    }
    std::memcpy(nibbles, high.data(), high.size());
    nibbles += high.size();
  }
  for (size_t i = 0; i < kSuperBlock / 2; ++i) {
    const size_t low = i / 32 * 64 + i % 32;
    nibbles[i] =
        static_cast<std::byte>((groups.codes[low] & 15) | (groups.codes[low + 32] & 15) << 4);
  }
}
template void EncodeAffineK<16>(const float* x, const float* w, std::byte* out);
template void EncodeAffineK<32>(const float* x, const float* w, std::byte* out);

void EncodeQ6_K(const float* x, const float* w, std::byte* out) {
  const FitInput in = {x, w, kSuperBlock};
  std::array<float, 16> scales;
  for (size_t i = 0; i < 16; ++i) scales[i] = FitSymmetric(in.part(16 * i, 16), -32, 31);
  const float d = RoundedHalf(SignedLargest(scales.data(), 16) / -128);
  std::array<uint8_t, 128> low = {};
  std::array<uint8_t, 64> high = {};
  for (size_t i = 0; i < 16; ++i) {
    const int scale = RoundSymmetric(in.part(16 * i, 16), scales[i], -32, 31, d, -128, 127);
    out[192 + i] = static_cast<std::byte>(static_cast<int8_t>(scale));
    const float inverse = InverseOrZero(d * static_cast<float>(scale));
    for (size_t j = 16 * i; j < 16 * i + 16; ++j) {
      const int code = RoundedCode(x[j] * inverse, -32, 31) + 32;
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

void EncodeIQ4_XS(const float* x, const float* w, std::byte* out) {
  const FitInput in = {x, w, kSuperBlock};
  const CodeTable values(kIq4Values);
  std::array<float, 8> scales;
  for (size_t i = 0; i < 8; ++i) scales[i] = FitTable(in.part(32 * i, 32), values);
  const float d = RoundedHalf(SignedLargest(scales.data(), 8) / -32);
  std::array<uint8_t, 2> high = {};
  std::array<uint8_t, 4> low = {};
  for (size_t i = 0; i < 8; ++i) {
    const int scale = RoundTable(in.part(32 * i, 32), scales[i], values, d, -32, 31);
    const int biased = scale + 32;
    low[i / 2] = static_cast<uint8_t>(low[i / 2] | (biased & 15) << (i % 2 * 4));
    high[i / 4] = static_cast<uint8_t>(high[i / 4] | biased >> 4 << (i % 4 * 2));
    const float inverse = InverseOrZero(d * static_cast<float>(scale));
    for (size_t j = 0; j < 16; ++j) {
      const int first = NearestCode(values, x[32 * i + j] * inverse);
      const int second = NearestCode(values, x[32 * i + j + 16] * inverse);
      out[8 + 16 * i + j] = static_cast<std::byte>(first | second << 4);
    }
  }
  PutHalf(out, d);
  std::memcpy(out + 2, high.data(), high.size());
  std::memcpy(out + 4, low.data(), low.size());
}

}  // namespace rag
