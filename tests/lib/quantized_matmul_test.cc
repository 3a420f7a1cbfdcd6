// Quantized activations, and whole products against the dequantized weights.
#include <catch2/catch.hpp>

#include <cmath>
#include <limits>

#include "tests/lib/quantized_support.h"
#include "tests/support/support.h"

namespace rag {
namespace {

TEST_CASE("quantize_row is within half a step of each element, with its sums") {
  std::mt19937 random(3);
  const size_t cols = 288;
  auto x = test::RandomFloats(cols, random);
  for (size_t i = 64; i < 96; ++i) x[i] = 0.0f;
  x[100] = 1000.0f;
  const ActivationRows quantized = test::QuantizedRows(x, 1, cols);
  const Activations8 rows = quantized.view();
  REQUIRE(rows.stride == 512);
  for (size_t i = 0; i < rows.stride; ++i) {
    const float scale = rows.scales[i / 32];
    const float value = scale * static_cast<float>(rows.values[i]);
    const float expected = i < cols ? x[i] : 0.0f;
    // 0.5 steps, and three roundings of numbers of at most 127 steps.
    CHECK(std::fabs(value - expected) <= scale * (0.5f + 3 * 127 * 0x1p-24f));
  }
  for (size_t group = 0; group < rows.stride / 16; ++group) {
    int sum = 0;
    for (size_t i = 0; i < 16; ++i) sum += rows.values[group * 16 + i];
    CHECK(rows.sums16[group] == rows.scales[group / 2] * static_cast<float>(sum));
    CHECK(rows.minus16[group] == -sum);
  }
  CHECK(rows.minus32[1] == rows.minus16[2] + rows.minus16[3]);
  CHECK(rows.sums32[1] == Approx(rows.sums16[2] + rows.sums16[3]));
  CHECK(rows.scales[2] == 0.0f);
}

TEST_CASE("quantize_row with scales of 256 is within half a step too") {
  std::mt19937 random(7);
  const auto x = test::RandomFloats(512, random);
  const ActivationRows quantized = test::QuantizedRows(x, 1, 512, ScaleOf::k256);
  const Activations8 rows = quantized.view();
  for (size_t group = 0; group < 16; ++group) {
    CHECK(rows.scales[group] == rows.scales[group / 8 * 8]);
    int sum = 0;
    for (size_t i = group * 32; i < group * 32 + 32; ++i) {
      CHECK(std::fabs(rows.scales[group] * static_cast<float>(rows.values[i]) - x[i]) <=
            rows.scales[group] * (0.5f + 3 * 127 * 0x1p-24f));
      sum += rows.values[i];
    }
    CHECK(rows.whole32[group] == sum);
  }
}

TEST_CASE("quantize_row makes a group with an infinite or NaN element NaN") {
  for (const float bad :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> x(64, 1.0f);
    x[40] = bad;
    const ActivationRows quantized = test::QuantizedRows(x, 1, 64);
    const Activations8 rows = quantized.view();
    CHECK(rows.scales[0] == Approx(1.0f / 127));
    CHECK(std::isnan(rows.scales[1]));
  }
}

TEST_CASE("quantize_row of every instruction set gives the same numbers") {
  const ScaleOf scale_of = GENERATE(ScaleOf::k32, ScaleOf::k256);
  std::mt19937 random(6);
  for (const size_t cols : {1u, 32u, 250u, 256u, 512u, 544u, 800u, 5632u}) {
    auto x = test::RandomFloats(3 * cols, random);
    x[0] = 1e-40f;                 // too small for a scale of its own, alone in a group of one
    x[cols - 1] = 2.5f * 1000.0f;  // ties
    x[3 * cols - 1] = std::numeric_limits<float>::quiet_NaN();
    if (cols > 40) std::fill(x.begin() + 32, x.begin() + 41, 0.0f);
    const ActivationRows expected_rows = test::QuantizedRows(x, 3, cols, scale_of);
    const Activations8 expected = expected_rows.view();
    for (const Isa isa : kAllIsas) {
      const QuantizedKernels* table = GetQuantizedKernels(isa);
      if (table == nullptr) continue;
      INFO(IsaName(isa) << " " << cols);
      ActivationRows rows;
      rows.Resize(3, cols);
      for (size_t row = 0; row < 3; ++row) {
        table->quantize_row(x.data() + row * cols, cols, rows.stride(), scale_of, rows.row(row));
      }
      const Activations8 got = rows.view();
      REQUIRE(got.stride == expected.stride);
      const size_t groups = 3 * got.stride / 32;
      // Compared as bytes, since NaN is not itself.
      CHECK(std::memcmp(got.values, expected.values, groups * 32) == 0);
      CHECK(std::memcmp(got.scales, expected.scales, groups * sizeof(float)) == 0);
      CHECK(std::memcmp(got.sums16, expected.sums16, 2 * groups * sizeof(float)) == 0);
      CHECK(std::memcmp(got.sums32, expected.sums32, groups * sizeof(float)) == 0);
      CHECK(std::memcmp(got.minus16, expected.minus16, 2 * groups * sizeof(int32_t)) == 0);
      CHECK(std::memcmp(got.minus32, expected.minus32, groups * sizeof(int32_t)) == 0);
      CHECK(std::memcmp(got.whole32, expected.whole32, groups * sizeof(int16_t)) == 0);
    }
  }
}

TEST_CASE("MatMul of every type is the product of the dequantized weights") {
  std::mt19937 random(4);
  const size_t cols = 512;
  const size_t tokens = 19;  // more than a tile of 16
  const auto x = test::RandomFloats(tokens * cols, random);
  const ActivationRows quantized = test::QuantizedRows(x, tokens, cols);
  for (const Isa isa : kAllIsas) {
    if (GetQuantizedKernels(isa) == nullptr) continue;
    const auto runtime = test::MakeRuntime(std::string(IsaName(isa)));
    std::vector<DType> types(std::begin(test::kBlockTypes), std::end(test::kBlockTypes));
    types.insert(types.end(), std::begin(test::kFloatTypes), std::end(test::kFloatTypes));
    for (const DType type : types) {
      INFO(IsaName(isa) << " " << GetDTypeInfo(type).name);
      const size_t rows[2] = {70, 3};
      std::vector<std::byte> bytes[2];
      TensorView weights[2];
      std::vector<float> out[2];
      for (size_t i = 0; i < 2; ++i) {
        bytes[i] = test::RandomWeights(type, rows[i], cols, random);
        weights[i] = {type, {rows[i], cols}, bytes[i]};
        out[i].resize(tokens * rows[i]);
      }
      ProductInput input;
      input.Set({x.data(), tokens, cols});
      const Product products[] = {{&weights[0], out[0].data(), rows[0]},
                                  {&weights[1], out[1].data(), rows[1]}};
      MatMul(*runtime, input, products);
      for (size_t i = 0; i < 2; ++i) {
        std::vector<float> values(rows[i] * cols);
        REQUIRE_OK(DequantizeTo(weights[i], 0, values));
        size_t wrong = 0;
        for (size_t t = 0; t < tokens; ++t) {
          for (size_t row = 0; row < rows[i]; ++row) {
            double sum = 0;
            double magnitude = 0;
            double steps = 0;
            for (size_t j = 0; j < cols; ++j) {
              const double weight = values[row * cols + j];
              sum += weight * x[t * cols + j];
              magnitude += std::fabs(weight * x[t * cols + j]);
              steps += std::fabs(weight) * quantized.view().scales[(t * cols + j) / 32];
            }
            // Half a step of every quantized activation; the rest is rounding, bounded in
            // quantized_dot_test.cc and far smaller.
            const bool blocks = GetDTypeInfo(type).block_size > 1;
            const double bound = blocks ? 0.501 * steps : 0.0;
            const double rounding = 600 * 0x1p-24 * magnitude;
            if (std::fabs(out[i][t * rows[i] + row] - sum) > bound + rounding) ++wrong;
          }
        }
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("MatMul gives the same bits for any number of threads and tokens") {
  std::mt19937 random(5);
  const size_t cols = 256;
  const size_t rows = 50;
  const size_t tokens = 6;
  const auto bytes = test::RandomWeights(DType::kQ4_K, rows, cols, random);
  const TensorView weights{DType::kQ4_K, {rows, cols}, bytes};
  const auto x = test::RandomFloats(tokens * cols, random);
  std::vector<float> together(tokens * rows);
  std::vector<float> alone(tokens * rows);
  ProductInput input;
  input.Set({x.data(), tokens, cols});
  const Product all{&weights, together.data(), rows};
  MatMul(*test::MakeRuntime("", 3), input, {&all, 1});
  const auto one_thread = test::MakeRuntime("", 1);
  for (size_t t = 0; t < tokens; ++t) {
    input.Set({x.data() + t * cols, 1, cols});
    const Product one{&weights, alone.data() + t * rows, rows};
    MatMul(*one_thread, input, {&one, 1});
  }
  CHECK(together == alone);
}

}  // namespace
}  // namespace rag
