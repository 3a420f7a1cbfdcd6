// The block formats of GGUF, decoded one block at a time: what every other reader of them (the
// scalar products, DequantizeTo) is built on.
//
// Source: ggml's ggml-common.h (structures) and the gguf Python package's quants.py, whose
// dequantize() the decoded values equal bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/tensor/tensor.h"

namespace rag {

// Elements of the largest block, and of a group that shares a scale in the finest format.
inline constexpr size_t kMaxBlockElements = 256;
inline constexpr size_t kScaleGroup = 16;

// Element i is scale[i / 16] * q[i] - offset[i / 16], each operation rounded to f32.
struct DecodedBlock {
  int8_t q[kMaxBlockElements];
  float scale[kMaxBlockElements / kScaleGroup];
  float offset[kMaxBlockElements / kScaleGroup];
  // What they are made of in the types with blocks of 256: scale[i] = d * subscale[i], offset[i] =
  // dmin * subminimum[i]. Not set in the others.
  float d;
  float dmin;
  int8_t subscale[kMaxBlockElements / kScaleGroup];
  uint8_t subminimum[kMaxBlockElements / kScaleGroup];
};

// What the 16 codes of IQ4_NL and IQ4_XS, and those of MXFP4 (E2M1 numbers, doubled), stand for
// (ggml-common.h, kvalues_iq4nl and kvalues_mxfp4).
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr int8_t kMxfp4Values[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                            0, -1, -2, -3, -4, -6, -8, -12};

// Such values made unsigned by a zero point that is added to each.
struct UnsignedValues {
  uint8_t values[16];
};
constexpr UnsignedValues AddZeroPoint(const int8_t (&values)[16], int zero_point) {
  UnsignedValues out = {};
  for (int i = 0; i < 16; ++i) out.values[i] = static_cast<uint8_t>(values[i] + zero_point);
  return out;
}
inline constexpr UnsignedValues kIq4Unsigned = AddZeroPoint(kIq4Values, 128);
inline constexpr UnsignedValues kMxfp4Unsigned = AddZeroPoint(kMxfp4Values, 12);

// 2^(exponent - 128): half of what E8M0 says, since kMxfp4Values is doubled.
float HalfOfE8M0(uint8_t exponent);

// Q4_0 ... MXFP4: the types whose products take 8-bit activations.
bool IsBlockType(DType type);

// Decodes the block_size elements of one block of a type for which IsBlockType holds; `block` needs
// no alignment.
void DecodeBlock(DType type, const std::byte* block, DecodedBlock& out);

}  // namespace rag
