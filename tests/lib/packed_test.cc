// Packed weights against the scalar products of the file's blocks.
#include <catch2/catch.hpp>

#include <cmath>

#include "lib/kernels/packed.h"
#include "tests/lib/quantized_support.h"
#include "tests/support/support.h"

namespace rag {
namespace {

// Runtimes on which weights are packed; says so where there are none.
std::unique_ptr<Runtime> PackingRuntime(int threads) {
  if (GetPackedKernels(Isa::kAvx512, DType::kQ4_K) == nullptr) return nullptr;
  return test::MakeRuntime("avx512", threads);
}

TEST_CASE("packed: every type, with rows that fill no tile, is the scalar product") {
  const auto runtime = PackingRuntime(2);
  if (runtime == nullptr) RAG_SKIP("this processor packs no weights");
  const QuantizedKernels& scalar = *GetQuantizedKernels(Isa::kScalar);
  std::mt19937 random(11);
  const size_t tokens = 21;
  size_t packed_types = 0;
  for (const DType type : test::kBlockTypes) {
    const size_t block = GetDTypeInfo(type).block_size;
    for (const size_t cols : {block, size_t{768}, block == 32 ? size_t{352} : size_t{1'280}}) {
      for (const size_t rows : {size_t{1}, size_t{16}, size_t{53}}) {
        INFO(GetDTypeInfo(type).name << " " << rows << " x " << cols);
        const auto bytes = test::RandomWeights(type, rows, cols, random);
        const TensorView weights{type, {rows, cols}, bytes};
        const auto packed = PackedMatrix::Pack(weights, *runtime);
        REQUIRE_OK(packed);
        if (packed->empty()) continue;
        ++packed_types;
        const auto x = test::RandomFloats(tokens * cols, random);
        const test::QuantizedRows quantized(x, tokens, cols);
        std::vector<float> out(tokens * rows), expected(tokens * rows);
        ProductInput input;
        input.Set({x.data(), tokens, cols});
        const Product product{&weights, out.data(), rows, &*packed};
        MatMul(*runtime, input, {&product, 1});
        const size_t row_bytes = bytes.size() / rows;
        std::vector<float> values(rows * cols);
        REQUIRE_OK(DequantizeTo(weights, 0, values));
        size_t wrong = 0;
        for (size_t row = 0; row < rows; ++row) {
          scalar.block_dot[static_cast<size_t>(type)](bytes.data() + row * row_bytes, cols,
                                                      quantized.view(), tokens,
                                                      expected.data() + row, rows);
          for (size_t t = 0; t < tokens; ++t) {
            double magnitude = 0;
            for (size_t i = 0; i < cols; ++i) {
              magnitude += std::fabs(double{values[row * cols + i]} * x[t * cols + i]);
            }
            // Roundings of f32, also of what a zero point adds and takes off again.
            const double bound = 1e-5 * magnitude + 1e-30;
            const size_t at = t * rows + row;
            if (!(std::fabs(double{out[at]} - expected[at]) <= bound)) ++wrong;
          }
        }
        CHECK(wrong == 0);
        // As much memory as the file's blocks, but for the last tile's rows and a group's scales.
        const size_t tiles = (rows + kTileRows - 1) / kTileRows;
        const double whole = static_cast<double>(tiles * kTileRows * row_bytes);
        CHECK(static_cast<double>(packed->bytes()) <=
              1.04 * whole + 512 * static_cast<double>(tiles));
      }
    }
  }
  REQUIRE(packed_types == 10 * 9);
}

TEST_CASE("packed: the same bits for any number of threads and tokens") {
  const auto runtime = PackingRuntime(3);
  if (runtime == nullptr) RAG_SKIP("this processor packs no weights");
  const auto one_thread = PackingRuntime(1);
  std::mt19937 random(12);
  const size_t cols = 512, rows = 70, tokens = 31;
  const auto x = test::RandomFloats(tokens * cols, random);
  for (const DType type : {DType::kQ4_K, DType::kQ6_K, DType::kQ8_0, DType::kQ5_1}) {
    const auto bytes = test::RandomWeights(type, rows, cols, random);
    const TensorView weights{type, {rows, cols}, bytes};
    const auto packed = PackedMatrix::Pack(weights, *runtime);
    REQUIRE_OK(packed);
    const auto packed_by_one = PackedMatrix::Pack(weights, *one_thread);
    REQUIRE_OK(packed_by_one);
    std::vector<float> together(tokens * rows), alone(tokens * rows);
    ProductInput input;
    input.Set({x.data(), tokens, cols});
    const Product all{&weights, together.data(), rows, &*packed};
    MatMul(*runtime, input, {&all, 1});
    for (size_t first = 0, count = 1; first < tokens; first += count, count += 2) {
      count = std::min(count, tokens - first);
      input.Set({x.data() + first * cols, count, cols});
      const Product some{&weights, alone.data() + first * rows, rows, &*packed_by_one};
      MatMul(*one_thread, input, {&some, 1});
    }
    CHECK(together == alone);
  }
}

TEST_CASE("packed: an activation that is no number spoils its own token alone") {
  const auto runtime = PackingRuntime(1);
  if (runtime == nullptr) RAG_SKIP("this processor packs no weights");
  std::mt19937 random(13);
  const size_t cols = 256, rows = 20;
  const auto bytes = test::RandomWeights(DType::kQ4_K, rows, cols, random);
  const TensorView weights{DType::kQ4_K, {rows, cols}, bytes};
  const auto packed = PackedMatrix::Pack(weights, *runtime);
  REQUIRE_OK(packed);
  auto x = test::RandomFloats(2 * cols, random);
  x[cols + 5] = NAN;
  std::vector<float> out(2 * rows);
  ProductInput input;
  input.Set({x.data(), 2, cols});
  const Product product{&weights, out.data(), rows, &*packed};
  MatMul(*runtime, input, {&product, 1});
  for (size_t row = 0; row < rows; ++row) {
    CHECK(std::isfinite(out[row]));
    CHECK(std::isnan(out[rows + row]));
  }
}

}  // namespace
}  // namespace rag
