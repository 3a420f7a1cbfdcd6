#include "lib/kernels/quantized_blocks.h"

#include <bit>
#include <cstring>

namespace rag {
namespace {

// Byte offsets of the fields inside a block are those of ggml-common.h's structures.
uint8_t Byte(const std::byte* block, size_t i) { return static_cast<uint8_t>(block[i]); }

float Half(const std::byte* block, size_t at) {
  uint16_t bits;
  std::memcpy(&bits, block + at, sizeof(bits));
  return HalfToFloat(bits);
}

void SetScales(DecodedBlock& out, float scale, float offset) {
  for (size_t i = 0; i < 2; ++i) {
    out.scale[i] = scale;
    out.offset[i] = offset;
  }
}

// The loops over elements are such that the compiler makes vectors of them: models are packed as
// fast as they are decoded.

// Low nibbles are elements 0..15, high nibbles 16..31.
void DecodeNibbles(const std::byte* nibbles, int zero, int8_t* q) {
  for (size_t i = 0; i < 16; ++i) {
    const uint8_t byte = Byte(nibbles, i);
    q[i] = static_cast<int8_t>((byte & 15) - zero);
    q[i + 16] = static_cast<int8_t>((byte >> 4) - zero);
  }
}
// `high` gives each element's fifth bit.
void DecodeNibbles(const std::byte* nibbles, uint32_t high, int zero, int8_t* q) {
  DecodeNibbles(nibbles, zero, q);
  for (size_t i = 0; i < 32; ++i) {
    q[i] = static_cast<int8_t>(q[i] + static_cast<int8_t>(((high >> i) & 1) << 4));
  }
}

void DecodeCodes(const std::byte* nibbles, const int8_t* values, int8_t* q) {
  for (size_t i = 0; i < 16; ++i) {
    q[i] = values[Byte(nibbles, i) & 15];
    q[i + 16] = values[Byte(nibbles, i) >> 4];
  }
}

uint32_t HighBits(const std::byte* block, size_t at) {
  uint32_t bits;
  std::memcpy(&bits, block + at, sizeof(bits));
  return bits;
}

void SetWithoutMinima(float d, DecodedBlock& out) {
  out.d = d;
  out.dmin = 0;
  std::memset(out.subminimum, 0, sizeof(out.subminimum));
}

// The scales of a block of 256, from what they are made of.
void SetSubscales(DecodedBlock& out) {
  for (size_t i = 0; i < kMaxBlockElements / kScaleGroup; ++i) {
    out.scale[i] = out.d * static_cast<float>(out.subscale[i]);
    out.offset[i] = out.dmin * static_cast<float>(out.subminimum[i]);
  }
}

void DecodeQ8_0(const std::byte* block, DecodedBlock& out) {
  SetScales(out, Half(block, 0), 0.0f);
  std::memcpy(out.q, block + 2, 32);
}

// scales[16]: low nibble scale, high nibble minimum; qs[64]; d; dmin.
void DecodeQ2_K(const std::byte* block, DecodedBlock& out) {
  out.d = Half(block, 80);
  out.dmin = Half(block, 82);
  for (size_t i = 0; i < 16; ++i) {
    out.subscale[i] = static_cast<int8_t>(Byte(block, i) & 15);
    out.subminimum[i] = Byte(block, i) >> 4;
  }
  SetSubscales(out);
  for (size_t i = 0; i < 256; ++i) {
    const size_t shift = i % 128 / 32 * 2;
    out.q[i] = static_cast<int8_t>(Byte(block, 16 + i / 128 * 32 + i % 32) >> shift & 3);
  }
}

// hmask[32]; qs[64]; scales[12] of 16 times 6 bits; d. A clear bit of hmask takes 4 off.
void DecodeQ3_K(const std::byte* block, DecodedBlock& out) {
  SetWithoutMinima(Half(block, 108), out);
  const std::byte* scales = block + 96;
  for (size_t i = 0; i < 16; ++i) {
    const int low = Byte(scales, i % 8) >> (i / 8 * 4) & 15;
    const int high = Byte(scales, 8 + i % 4) >> (i / 4 * 2) & 3;
    out.subscale[i] = static_cast<int8_t>((low | high << 4) - 32);
  }
  SetSubscales(out);
  for (size_t i = 0; i < 256; ++i) {
    const size_t shift = i % 128 / 32 * 2;
    const int low = Byte(block, 32 + i / 128 * 32 + i % 32) >> shift & 3;
    const int high = Byte(block, i % 32) >> (i / 32) & 1;
    out.q[i] = static_cast<int8_t>(low - (high == 0 ? 4 : 0));
  }
}

// d; dmin; scales[12]: 8 scales and 8 minima of 6 bits (Q4_K and Q5_K).
void DecodeScalesK4(const std::byte* block, DecodedBlock& out) {
  out.d = Half(block, 0);
  out.dmin = Half(block, 2);
  const std::byte* packed = block + 4;
  for (size_t i = 0; i < 8; ++i) {
    int scale;
    int minimum;
    if (i < 4) {
      scale = Byte(packed, i) & 63;
      minimum = Byte(packed, i + 4) & 63;
    } else {
      scale = (Byte(packed, i + 4) & 15) | (Byte(packed, i - 4) >> 6) << 4;
      minimum = Byte(packed, i + 4) >> 4 | (Byte(packed, i) >> 6) << 4;
    }
    for (size_t j = 2 * i; j < 2 * i + 2; ++j) {
      out.subscale[j] = static_cast<int8_t>(scale);
      out.subminimum[j] = static_cast<uint8_t>(minimum);
    }
  }
  SetSubscales(out);
}

void DecodeQ4_K(const std::byte* block, DecodedBlock& out) {
  DecodeScalesK4(block, out);
  for (size_t chunk = 0; chunk < 4; ++chunk) {
    const std::byte* const nibbles = block + 16 + chunk * 32;
    int8_t* const q = out.q + chunk * 64;
    for (size_t i = 0; i < 32; ++i) {
      const uint8_t byte = Byte(nibbles, i);
      q[i] = static_cast<int8_t>(byte & 15);
      q[i + 32] = static_cast<int8_t>(byte >> 4);
    }
  }
}

// As Q4_K with qh[32] before the nibbles: bit i / 32 of qh[i % 32] is the fifth bit.
void DecodeQ5_K(const std::byte* block, DecodedBlock& out) {
  DecodeScalesK4(block, out);
  for (size_t chunk = 0; chunk < 4; ++chunk) {
    const std::byte* const nibbles = block + 48 + chunk * 32;
    int8_t* const q = out.q + chunk * 64;
    for (size_t i = 0; i < 32; ++i) {
      const uint8_t byte = Byte(nibbles, i);
      const int high = Byte(block, 16 + i) >> (2 * chunk);
      q[i] = static_cast<int8_t>((byte & 15) | (high & 1) << 4);
      q[i + 32] = static_cast<int8_t>((byte >> 4) | (high & 2) << 3);
    }
  }
}

// ql[128]; qh[64]; scales[16] signed; d. Each half of 128 elements has 64 bytes of ql, 32 of qh.
void DecodeQ6_K(const std::byte* block, DecodedBlock& out) {
  SetWithoutMinima(Half(block, 208), out);
  std::memcpy(out.subscale, block + 192, 16);
  SetSubscales(out);
  for (size_t half = 0; half < 2; ++half) {
    const std::byte* const nibbles = block + half * 64;
    const std::byte* const highs = block + 128 + half * 32;
    int8_t* const q = out.q + half * 128;
    for (size_t i = 0; i < 32; ++i) {
      const uint8_t first = Byte(nibbles, i);
      const uint8_t second = Byte(nibbles, i + 32);
      const int high = Byte(highs, i);
      q[i] = static_cast<int8_t>(((first & 15) | (high & 3) << 4) - 32);
      q[i + 32] = static_cast<int8_t>(((second & 15) | (high & 12) << 2) - 32);
      q[i + 64] = static_cast<int8_t>(((first >> 4) | (high & 48)) - 32);
      q[i + 96] = static_cast<int8_t>(((second >> 4) | (high >> 2 & 48)) - 32);
    }
  }
}

// d; scales_h; scales_l[4]; qs[128]: eight groups of 32 with a scale of 6 bits each.
void DecodeIQ4_XS(const std::byte* block, DecodedBlock& out) {
  SetWithoutMinima(Half(block, 0), out);
  for (size_t i = 0; i < 8; ++i) {
    const int low = Byte(block, 4 + i / 2) >> (i % 2 * 4) & 15;
    const int high = Byte(block, 2 + i / 4) >> (i % 4 * 2) & 3;
    for (size_t j = 2 * i; j < 2 * i + 2; ++j) {
      out.subscale[j] = static_cast<int8_t>((low | high << 4) - 32);
    }
    DecodeCodes(block + 8 + i * 16, kIq4Values, out.q + i * 32);
  }
  SetSubscales(out);
}

}  // namespace

float HalfOfE8M0(uint8_t exponent) {
  const uint32_t bits = exponent < 2 ? 0x00200000u << exponent : (exponent - 1u) << 23;
  return std::bit_cast<float>(bits);
}

bool IsBlockType(DType type) { return GetDTypeInfo(type).block_size > 1; }

void DecodeBlock(DType type, const std::byte* block, DecodedBlock& out) {
  switch (type) {
    case DType::kQ4_0:
      SetScales(out, Half(block, 0), 0.0f);
      return DecodeNibbles(block + 2, 8, out.q);
    case DType::kQ4_1:
      SetScales(out, Half(block, 0), -Half(block, 2));
      return DecodeNibbles(block + 4, 0, out.q);
    case DType::kQ5_0:
      SetScales(out, Half(block, 0), 0.0f);
      return DecodeNibbles(block + 6, HighBits(block, 2), 16, out.q);
    case DType::kQ5_1:
      SetScales(out, Half(block, 0), -Half(block, 2));
      return DecodeNibbles(block + 8, HighBits(block, 4), 0, out.q);
    case DType::kQ8_0:
      return DecodeQ8_0(block, out);
    case DType::kQ2_K:
      return DecodeQ2_K(block, out);
    case DType::kQ3_K:
      return DecodeQ3_K(block, out);
    case DType::kQ4_K:
      return DecodeQ4_K(block, out);
    case DType::kQ5_K:
      return DecodeQ5_K(block, out);
    case DType::kQ6_K:
      return DecodeQ6_K(block, out);
    case DType::kIQ4_NL:
      SetScales(out, Half(block, 0), 0.0f);
      return DecodeCodes(block + 2, kIq4Values, out.q);
    case DType::kIQ4_XS:
      return DecodeIQ4_XS(block, out);
    case DType::kMXFP4:
      SetScales(out, HalfOfE8M0(Byte(block, 0)), 0.0f);
      return DecodeCodes(block + 1, kMxfp4Values, out.q);
    default:
      return;
  }
}

}  // namespace rag
