// Random weights in every format for the tests of products.
#pragma once

#include <cstring>
#include <random>
#include <vector>

#include "lib/kernels/quantized.h"

namespace rag::test {

inline constexpr DType kBlockTypes[] = {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,   DType::kQ5_1,
                                        DType::kQ8_0, DType::kQ2_K, DType::kQ3_K,   DType::kQ4_K,
                                        DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS,
                                        DType::kMXFP4};
inline constexpr DType kFloatTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

// Bytes at which a block of the type keeps its half-precision scales.
inline std::vector<size_t> ScaleOffsets(DType type) {
  switch (type) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    case DType::kMXFP4:
      return {};
    default:
      return {0};
  }
}

// rows * cols random weights of any type with a product: every bit of a block is random but its
// scales, which are normal numbers. The bytes end where their allocation does.
inline std::vector<std::byte> RandomWeights(DType type, size_t rows, size_t cols,
                                            std::mt19937& random) {
  const DTypeInfo& info = GetDTypeInfo(type);
  const size_t blocks = rows * cols / info.block_size;
  std::vector<std::byte> bytes(blocks * info.block_bytes);
  std::normal_distribution<float> normal;
  if (info.block_size == 1) {
    for (size_t i = 0; i < blocks; ++i) {
      const float value = normal(random);
      const uint16_t narrow = type == DType::kF16 ? FloatToHalf(value) : FloatToBFloat16(value);
      const void* from = type == DType::kF32 ? static_cast<const void*>(&value) : &narrow;
      std::memcpy(bytes.data() + i * info.block_bytes, from, info.block_bytes);
    }
    return bytes;
  }
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 255);
  for (size_t i = 0; type == DType::kMXFP4 && i < blocks; ++i) {
    bytes[i * info.block_bytes] = static_cast<std::byte>(118 + random() % 8);
  }
  for (size_t i = 0; i < blocks; ++i) {
    for (const size_t at : ScaleOffsets(type)) {
      const uint16_t scale = FloatToHalf(normal(random));
      std::memcpy(bytes.data() + i * info.block_bytes + at, &scale, sizeof(scale));
    }
  }
  return bytes;
}

inline ActivationRows QuantizedRows(const std::vector<float>& x, size_t rows, size_t cols,
                                    ScaleOf scale_of = ScaleOf::k32) {
  ActivationRows quantized;
  quantized.Resize(rows, cols);
  const QuantizedKernels& scalar = *GetQuantizedKernels(Isa::kScalar);
  for (size_t row = 0; row < rows; ++row) {
    scalar.quantize_row(x.data() + row * cols, cols, quantized.stride(), scale_of,
                        quantized.row(row));
  }
  return quantized;
}

inline std::vector<float> RandomFloats(size_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace rag::test
