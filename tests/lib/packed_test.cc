// Packed weights against the scalar products of the file's blocks.
#include <catch2/catch.hpp>

#include <cmath>
#include <string>

#include "lib/base/pages.h"
#include "lib/kernels/packed.h"
#include "tests/lib/quantized_support.h"
#include "tests/support/support.h"

namespace rag {
namespace {

// Instruction sets that pack weights here.
std::vector<std::string> PackingIsas() {
  std::vector<std::string> isas;
  for (const Isa isa : kAllIsas) {
    if (GetPackedKernels(isa, DType::kQ4_K) != nullptr) isas.emplace_back(IsaName(isa));
  }
  return isas;
}

// Weights packed in memory of their own.
struct Packed {
  Packed(const TensorView& weights, const Runtime& runtime)
      : bytes(PackedMatrix::BytesFor(weights, runtime)) {
    auto allocated = PageBuffer::Allocate(bytes);
    REQUIRE_OK(allocated);
    memory = std::move(allocated).value();
    matrix = PackedMatrix::Pack(weights, runtime, memory.data());
  }

  const size_t bytes;
  PageBuffer memory;
  PackedMatrix matrix;
};

std::vector<float> Multiply(const Runtime& runtime, const TensorView& weights,
                            const PackedMatrix& packed, const float* x, size_t tokens) {
  const size_t rows = weights.shape[0];
  std::vector<float> out(tokens * rows);
  ProductInput input;
  input.Set({x, tokens, weights.shape[1]});
  const Product product{&weights, out.data(), rows, &packed};
  MatMul(runtime, input, {&product, 1});
  return out;
}

TEST_CASE("packed: every type, with rows that fill no tile, is the scalar product") {
  const std::vector<std::string> isas = PackingIsas();
  if (isas.empty()) RAG_SKIP("this processor packs no weights");
  const std::string isa = GENERATE_REF(from_range(isas));
  const auto runtime = test::MakeRuntime(isa, 2);
  const QuantizedKernels& scalar = *GetQuantizedKernels(Isa::kScalar);
  std::mt19937 random(11);
  // A whole panel of 16, one that lacks some, and few without a panel.
  const size_t tokens = GENERATE(29, 35);
  size_t packed_types = 0;
  for (const DType type : test::kBlockTypes) {
    const size_t block = GetDTypeInfo(type).block_size;
    for (const size_t cols : {block, size_t{768}, block == 32 ? size_t{352} : size_t{1'280}}) {
      for (const size_t rows : {size_t{1}, size_t{16}, size_t{53}}) {
        INFO(isa << " " << GetDTypeInfo(type).name << " " << rows << " x " << cols);
        const auto bytes = test::RandomWeights(type, rows, cols, random);
        const TensorView weights{type, {rows, cols}, bytes};
        const Packed packed(weights, *runtime);
        if (packed.matrix.empty()) continue;
        ++packed_types;
        const auto x = test::RandomFloats(tokens * cols, random);
        const ActivationRows quantized =
            test::QuantizedRows(x, tokens, cols, packed.matrix.scale_of());
        const auto out = Multiply(*runtime, weights, packed.matrix, x.data(), tokens);
        std::vector<float> expected(tokens * rows);
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
        CHECK(static_cast<double>(packed.bytes) <= 1.04 * whole + 512 * static_cast<double>(tiles));
      }
    }
  }
  REQUIRE(packed_types == 10 * 9);
}

TEST_CASE("packed: the same bits for any number of threads and tokens, and with tiles") {
  const std::vector<std::string> isas = PackingIsas();
  if (isas.empty()) RAG_SKIP("this processor packs no weights");
  std::mt19937 random(12);
  // 13 tiles, more than are read side by side, of which the last is not full; more tokens than are
  // taken through a tile at once.
  const size_t cols = 1'280, rows = 200, tokens = 300;
  const auto x = test::RandomFloats(tokens * cols, random);
  size_t packed_types = 0;
  for (const DType type : test::kBlockTypes) {
    const auto bytes = test::RandomWeights(type, rows, cols, random);
    const TensorView weights{type, {rows, cols}, bytes};
    std::vector<float> first_together;
    for (const std::string& isa : isas) {
      INFO(isa << " " << GetDTypeInfo(type).name);
      const auto runtime = test::MakeRuntime(isa, 3);
      const auto one_thread = test::MakeRuntime(isa, 1);
      const Packed packed(weights, *runtime);
      if (packed.matrix.empty()) continue;
      ++packed_types;
      const Packed packed_by_one(weights, *one_thread);
      const auto together = Multiply(*runtime, weights, packed.matrix, x.data(), tokens);
      std::vector<float> alone;
      for (size_t first = 0, count = 1; first < tokens; first += count, ++count) {
        count = std::min(count, tokens - first);
        const auto some =
            Multiply(*one_thread, weights, packed_by_one.matrix, x.data() + first * cols, count);
        alone.insert(alone.end(), some.begin(), some.end());
      }
      CHECK(together == alone);
      // Every instruction set's whole numbers are the same, and so is what follows.
      if (first_together.empty()) first_together = together;
      CHECK(together == first_together);
    }
  }
  CHECK(packed_types == 10 * isas.size());
}

TEST_CASE("packed: the largest codes with the largest activations overflow nothing") {
  const std::vector<std::string> isas = PackingIsas();
  if (isas.empty()) RAG_SKIP("this processor packs no weights");
  const auto runtime = test::MakeRuntime(GENERATE_REF(from_range(isas)), 1);
  const QuantizedKernels& scalar = *GetQuantizedKernels(Isa::kScalar);
  std::mt19937 random(14);
  const size_t rows = 19, cols = 512;
  const size_t tokens = GENERATE(1, 2, 4, 20);
  // Of every 127 or -127: one sign, signs in turns by element, and by pair.
  const size_t first = GENERATE(0, 1, 2, 3);
  std::vector<float> x(tokens * cols);
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t pattern = (first + i / cols) % 4, column = i % cols;
    const bool negative =
        pattern == 1 || (pattern == 2 && column % 2 == 1) || (pattern == 3 && column / 2 % 2 == 1);
    x[i] = negative ? -1.0f : 1.0f;
  }
  for (const DType type : test::kBlockTypes) {
    for (const int fill : {0x00, 0xff, 0x7f, 0x80, 0x0f, 0xf0}) {
      INFO(GetDTypeInfo(type).name << " of bytes " << fill);
      auto bytes = test::RandomWeights(type, rows, cols, random);
      const DTypeInfo& info = GetDTypeInfo(type);
      for (size_t i = 0; i < bytes.size(); ++i) {
        const size_t at = i % info.block_bytes;
        bool of_scale = false;
        for (const size_t scale : test::ScaleOffsets(type)) of_scale |= at / 2 * 2 == scale;
        if (!of_scale) bytes[i] = static_cast<std::byte>(fill);
      }
      const TensorView weights{type, {rows, cols}, bytes};
      const Packed packed(weights, *runtime);
      if (packed.matrix.empty()) continue;
      const ActivationRows quantized =
          test::QuantizedRows(x, tokens, cols, packed.matrix.scale_of());
      const auto out = Multiply(*runtime, weights, packed.matrix, x.data(), tokens);
      std::vector<float> values(rows * cols);
      REQUIRE_OK(DequantizeTo(weights, 0, values));
      std::vector<float> expected(tokens * rows);
      size_t wrong = 0;
      for (size_t row = 0; row < rows; ++row) {
        scalar.block_dot[static_cast<size_t>(type)](bytes.data() + row * bytes.size() / rows, cols,
                                                    quantized.view(), tokens, expected.data() + row,
                                                    rows);
        double magnitude = 0;
        for (size_t i = 0; i < cols; ++i) magnitude += std::fabs(double{values[row * cols + i]});
        for (size_t t = 0; t < tokens; ++t) {
          const double difference = double{out[t * rows + row]} - expected[t * rows + row];
          if (!(std::fabs(difference) <= 1e-5 * magnitude + 1e-30)) ++wrong;
        }
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("packed: an activation that is no number spoils its own token alone") {
  const std::vector<std::string> isas = PackingIsas();
  if (isas.empty()) RAG_SKIP("this processor packs no weights");
  const auto runtime = test::MakeRuntime(GENERATE_REF(from_range(isas)), 1);
  std::mt19937 random(13);
  const size_t cols = 256, rows = 20, tokens = 16;
  const auto bytes = test::RandomWeights(DType::kQ4_K, rows, cols, random);
  const TensorView weights{DType::kQ4_K, {rows, cols}, bytes};
  const Packed packed(weights, *runtime);
  auto x = test::RandomFloats(tokens * cols, random);
  x[cols + 5] = NAN;
  const auto out = Multiply(*runtime, weights, packed.matrix, x.data(), tokens);
  for (size_t i = 0; i < tokens * rows; ++i) {
    CHECK(std::isnan(out[i]) == (i / rows == 1));
  }
}

TEST_CASE("packed: the same bits however weights come from memory") {
  if (GetPackedKernels(Isa::kAvx512, DType::kQ4_K) == nullptr) RAG_SKIP("no AVX-512 here");
  std::mt19937 random(14);
  // Eight tiles side by side, three more, of which the last is not full.
  const size_t rows = 10 * kTileRows + 5, tokens = 15, cols = 768;
  size_t packed_types = 0;
  for (const DType type : test::kBlockTypes) {
    const PackedKernels* const one = Avx512PackedKernels(type, WeightStreams::kOne);
    if (one == nullptr) continue;
    ++packed_types;
    const PackedKernels* const many = Avx512PackedKernels(type, WeightStreams::kMany);
    REQUIRE(many != one);
    const auto bytes = test::RandomWeights(type, rows, cols, random);
    const Packed packed({type, {rows, cols}, bytes}, *test::MakeRuntime("avx512", 1));
    const auto x = test::RandomFloats(tokens * cols, random);
    const ActivationRows quantized = test::QuantizedRows(x, tokens, cols, one->scale_of);
    for (size_t count = 1; count <= tokens; ++count) {
      INFO(GetDTypeInfo(type).name << ", " << count << " tokens");
      const auto dot = [&](const PackedKernels& kernels) {
        std::vector<float> out(count * rows);
        kernels.dot(packed.memory.data(), cols, quantized.view(), count, rows, out.data(), rows);
        return out;
      };
      CHECK(dot(*one) == dot(*many));
    }
  }
  CHECK(packed_types > 5);
}

}  // namespace
}  // namespace rag
