// The products of each instruction set against the scalar ones, at awkward lengths.
#include <catch2/catch.hpp>

#include <cmath>

#include "lib/kernels/quantized_blocks.h"
#include "tests/lib/quantized_support.h"
#include "tests/support/support.h"

namespace rag {
namespace {

constexpr double kUnit = 0x1p-24;  // the relative error of one f32 rounding
constexpr size_t kTokens = 7;      // a group of four and three single ones

// What the vector tables add to a weight to make it unsigned.
int ZeroPoint(DType type) {
  switch (type) {
    case DType::kQ4_0:
      return 8;
    case DType::kQ5_0:
      return 16;
    case DType::kMXFP4:
      return 12;
    case DType::kQ8_0:
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
      return 128;
    case DType::kQ3_K:
      return 4;
    case DType::kQ6_K:
      return 32;
    default:
      return 0;
  }
}

// Every partial sum of a vector table is at most the sum of the terms' magnitudes, where a term is
// taken twice with its zero point; each group of 256 adds six times to an accumulator, each term
// carries three roundings of its own, and the lanes are joined in five steps. The scalar sum is in
// double.
double Bound(DType type, const std::byte* row, size_t cols, const Activations8& x, size_t t) {
  const DTypeInfo& info = GetDTypeInfo(type);
  const double zero = ZeroPoint(type);
  double magnitude = 0;
  DecodedBlock block;
  for (size_t begin = 0; begin < cols; begin += info.block_size) {
    DecodeBlock(type, row + begin / info.block_size * info.block_bytes, block);
    for (size_t i = 0; i < info.block_size; ++i) {
      const double scale = x.scales[(t * x.stride + begin + i) / 32];
      magnitude += std::fabs(block.scale[i / 16]) * (std::abs(block.q[i]) + 2 * zero) * scale *
                   std::abs(x.values[t * x.stride + begin + i]);
    }
    for (size_t i = 0; i < info.block_size / 16; ++i) {
      magnitude += std::fabs(static_cast<double>(block.offset[i]) *
                             x.sums16[(t * x.stride + begin) / 16 + i]);
    }
  }
  const double steps = 6.0 * static_cast<double>((cols + 255) / 256) + 3 + 5;
  return steps * kUnit * magnitude;
}

std::vector<const QuantizedKernels*> VectorTables() {
  std::vector<const QuantizedKernels*> tables;
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    if (const QuantizedKernels* table = GetQuantizedKernels(isa)) tables.push_back(table);
  }
  return tables;
}

TEST_CASE("block products of every instruction set are the scalar ones within rounding") {
  const auto tables = VectorTables();
  if (tables.empty()) RAG_SKIP("this processor runs the scalar kernels alone");
  const QuantizedKernels& scalar = *GetQuantizedKernels(Isa::kScalar);
  std::mt19937 random(1);
  for (const DType type : test::kBlockTypes) {
    const size_t block = GetDTypeInfo(type).block_size;
    for (const size_t cols : {32u, 64u, 96u, 224u, 256u, 288u, 512u, 768u, 1056u, 5632u}) {
      if (cols % block != 0) continue;
      const auto row = test::RandomWeights(type, 1, cols, random);
      const ActivationRows x =
          test::QuantizedRows(test::RandomFloats(kTokens * cols, random), kTokens, cols);
      std::vector<float> expected(kTokens);
      scalar.block_dot[static_cast<size_t>(type)](row.data(), cols, x.view(), kTokens,
                                                  expected.data(), 1);
      for (const QuantizedKernels* table : tables) {
        INFO(GetDTypeInfo(type).name << " " << IsaName(table->isa) << " cols " << cols);
        const auto dot = table->block_dot[static_cast<size_t>(type)];
        std::vector<float> out(2 * kTokens, -1.0f);
        dot(row.data(), cols, x.view(), kTokens, out.data(), 2);
        for (size_t t = 0; t < kTokens; ++t) {
          CHECK(std::fabs(static_cast<double>(out[2 * t]) - expected[t]) <=
                Bound(type, row.data(), cols, x.view(), t) + kUnit * std::fabs(expected[t]));
          CHECK(out[2 * t + 1] == -1.0f);
        }
        // One token alone gives the same bits as among others.
        float alone = 0;
        dot(row.data(), cols, x.view(), 1, &alone, 1);
        CHECK(alone == out[0]);
      }
    }
  }
}

TEST_CASE("f32, f16 and bf16 products of every instruction set are the scalar ones") {
  const auto tables = VectorTables();
  if (tables.empty()) RAG_SKIP("this processor runs the scalar kernels alone");
  const QuantizedKernels& scalar = *GetQuantizedKernels(Isa::kScalar);
  std::mt19937 random(2);
  for (const DType type : test::kFloatTypes) {
    for (const size_t cols : {1u, 2u, 7u, 15u, 16u, 17u, 31u, 63u, 64u, 65u, 172u, 1000u}) {
      const auto row = test::RandomWeights(type, 1, cols, random);
      const auto x = test::RandomFloats(kTokens * cols, random);
      std::vector<float> weights(cols);
      REQUIRE_OK(DequantizeTo({type, {cols}, row}, 0, weights));
      std::vector<float> expected(kTokens);
      scalar.float_dot[static_cast<size_t>(type)](row.data(), cols, x.data(), cols, kTokens,
                                                  expected.data(), 1);
      for (const QuantizedKernels* table : tables) {
        INFO(GetDTypeInfo(type).name << " " << IsaName(table->isa) << " cols " << cols);
        const auto dot = table->float_dot[static_cast<size_t>(type)];
        std::vector<float> out(kTokens);
        dot(row.data(), cols, x.data(), cols, kTokens, out.data(), 1);
        for (size_t t = 0; t < kTokens; ++t) {
          double magnitude = 0;
          for (size_t i = 0; i < cols; ++i) {
            magnitude += std::fabs(static_cast<double>(weights[i]) * x[t * cols + i]);
          }
          // At worst all terms follow one another in one accumulator.
          const double bound = (static_cast<double>(cols) + 6) * kUnit * magnitude;
          CHECK(std::fabs(static_cast<double>(out[t]) - expected[t]) <= bound);
        }
        float alone = 0;
        dot(row.data(), cols, x.data(), cols, 1, &alone, 1);
        CHECK(alone == out[0]);
      }
    }
  }
}

}  // namespace
}  // namespace rag
