// Blocks of cached keys and values: every instruction set against the scalar table, and the forms
// against what was stored.
#include "lib/kernels/kv_block.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "lib/kernels/quantized_encode.h"
#include "tests/support/support.h"

namespace rag {
namespace {

constexpr size_t kTokens = kKvBlockTokens;
constexpr DType kTypes[] = {DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_0};
constexpr size_t kHeadDims[] = {1, 8, 16, 31, 32, 48, 64, 80, 128, 129};

std::vector<float> Random(size_t n, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> out(n);
  for (float& x : out) x = normal(random);
  return out;
}

struct Blocks {
  Blocks(DType type, size_t head_dim, std::mt19937& random)
      : rows(Random(kTokens * head_dim, random)),
        keys(KvBlockBytes(type, head_dim)),
        values(KvBlockBytes(type, head_dim)) {
    for (size_t j = 0; j < kTokens; ++j) {
      StoreKey(type, rows.data() + j * head_dim, head_dim, j, keys.data());
      StoreValue(type, rows.data() + j * head_dim, head_dim, j, values.data());
    }
  }
  std::vector<float> rows;  // [kTokens][head_dim]
  std::vector<std::byte> keys;
  std::vector<std::byte> values;
};

// Keys [head_dim][kTokens] and values [kTokens][head_dim] as f32.
std::vector<float> Load(const KvBlockKernels& table, DType type, const Blocks& blocks,
                        size_t head_dim, bool keys) {
  std::vector<float> out(kTokens * head_dim);
  const std::byte* from = keys ? blocks.keys.data() : blocks.values.data();
  if (type == DType::kF32) {
    std::memcpy(out.data(), from, out.size() * sizeof(float));
  } else if (keys) {
    table.load_keys(type, from, head_dim, out.data());
  } else {
    table.load_values(type, from, head_dim, kTokens, out.data());
  }
  return out;
}

TEST_CASE("a block gives back what was stored, within half a step of its form") {
  std::mt19937 random(5);
  for (const DType type : kTypes) {
    for (const size_t head_dim : kHeadDims) {
      INFO(GetDTypeInfo(type).name << " " << head_dim);
      const Blocks blocks(type, head_dim, random);
      const KvBlockKernels& scalar = *GetKvBlockKernels(Isa::kScalar);
      const auto keys = Load(scalar, type, blocks, head_dim, true);
      const auto values = Load(scalar, type, blocks, head_dim, false);
      for (size_t j = 0; j < kTokens; ++j) {
        for (size_t i = 0; i < head_dim; ++i) {
          const float x = blocks.rows[j * head_dim + i];
          REQUIRE(keys[i * kTokens + j] == values[j * head_dim + i]);
          float bound = 0;
          if (type == DType::kF16) bound = std::fabs(x) * 0x1p-11f + 0x1p-25f;
          if (type == DType::kQ8_0 || type == DType::kQ4_0) {
            const size_t begin = i / kKvScaleElements * kKvScaleElements;
            const size_t end = std::min(head_dim, begin + kKvScaleElements);
            float largest = 0;
            for (size_t k = begin; k < end; ++k) {
              largest = std::max(largest, std::fabs(blocks.rows[j * head_dim + k]));
            }
            // Half a step, and the scale's own rounding at the largest code. Of Q4_0 it is 7 on one
            // side: what is as large as the largest is cut off by a whole step.
            bound = type == DType::kQ8_0 ? largest / 127.0f * (0.5f + 127 * 0x1p-11f) * 1.001f
                                         : largest / 8.0f * (1.0f + 8 * 0x1p-11f) * 1.001f;
          }
          REQUIRE(std::fabs(values[j * head_dim + i] - x) <= bound);
        }
      }
    }
  }
}

// EncodeBlocks' bytes are the gguf package's (tests/lib/quantized_encode_test.cc).
TEST_CASE("Q4_0 rounds a group of 32 as GGUF's blocks do") {
  std::mt19937 random(8);
  constexpr size_t kHeadDim = 64;
  const Blocks blocks(DType::kQ4_0, kHeadDim, random);
  const auto values = Load(*GetKvBlockKernels(Isa::kScalar), DType::kQ4_0, blocks, kHeadDim, false);
  const DTypeInfo& info = GetDTypeInfo(DType::kQ4_0);
  std::vector<std::byte> encoded(values.size() / info.block_size * info.block_bytes);
  REQUIRE_OK(EncodeBlocks(DType::kQ4_0, blocks.rows, encoded));
  std::vector<float> expected(values.size());
  REQUIRE_OK(DequantizeTo({DType::kQ4_0, {kTokens, kHeadDim}, encoded}, 0, expected));
  CHECK(values == expected);
}

TEST_CASE("every instruction set reads a block as the scalar table does") {
  std::mt19937 random(6);
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    const KvBlockKernels* table = GetKvBlockKernels(isa);
    if (table == nullptr) continue;
    const KvBlockKernels& scalar = *GetKvBlockKernels(Isa::kScalar);
    for (const DType type : kTypes) {
      for (const size_t head_dim : kHeadDims) {
        INFO(IsaName(isa) << " " << GetDTypeInfo(type).name << " " << head_dim);
        const Blocks blocks(type, head_dim, random);
        for (const bool keys : {true, false}) {
          REQUIRE(Load(*table, type, blocks, head_dim, keys) ==
                  Load(scalar, type, blocks, head_dim, keys));
        }
      }
    }
  }
}

TEST_CASE("scores and weighted values equal the scalar table's, and do not depend on the rows") {
  std::mt19937 random(7);
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
    const KvBlockKernels* table = GetKvBlockKernels(isa);
    if (table == nullptr) continue;
    const KvBlockKernels& scalar = *GetKvBlockKernels(Isa::kScalar);
    for (const size_t head_dim : kHeadDims) {
      const auto block = Random(kTokens * head_dim, random);
      for (size_t rows = 1; rows <= 13; ++rows) {
        const size_t count = 1 + random() % kTokens;
        INFO(IsaName(isa) << " head_dim " << head_dim << " rows " << rows << " count " << count);
        const auto queries = Random(rows * head_dim, random);
        const auto weights = Random(rows * kTokens, random);
        const auto before = Random(rows * head_dim, random);
        const auto run = [&](const KvBlockKernels& of, size_t first, size_t n) {
          std::vector<float> scores(rows * kTokens);
          std::vector<float> out = before;
          std::vector<const float*> q, w;
          std::vector<float*> s, o;
          for (size_t i = first; i < first + n; ++i) {
            q.push_back(queries.data() + i * head_dim);
            w.push_back(weights.data() + i * kTokens);
            s.push_back(scores.data() + i * kTokens);
            o.push_back(out.data() + i * head_dim);
          }
          of.scores(q.data(), n, block.data(), head_dim, s.data());
          of.add_values(w.data(), n, block.data(), head_dim, count, o.data());
          return std::pair(scores, out);
        };
        const auto found = run(*table, 0, rows);
        const auto expected = run(scalar, 0, rows);
        // Sums of products of normal numbers, each rounded: far below 16 roundings of the sum of
        // magnitudes, which is at most some 8 a term.
        const double bound = 16 * 0x1p-24 * 8 * static_cast<double>(head_dim + kTokens);
        for (size_t i = 0; i < found.first.size(); ++i) {
          REQUIRE(found.first[i] == Approx(expected.first[i]).margin(bound));
        }
        for (size_t i = 0; i < found.second.size(); ++i) {
          REQUIRE(found.second[i] == Approx(expected.second[i]).margin(bound));
        }
        for (size_t i = 0; i < rows; ++i) {
          const auto alone = run(*table, i, 1);
          for (size_t j = 0; j < kTokens; ++j) {
            REQUIRE(alone.first[i * kTokens + j] == found.first[i * kTokens + j]);
          }
          for (size_t j = 0; j < head_dim; ++j) {
            REQUIRE(alone.second[i * head_dim + j] == found.second[i * head_dim + j]);
          }
        }
      }
    }
  }
}

TEST_CASE("numbers that a form cannot hold stay what they mean") {
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> x(40, 1.0f);
  const auto stored = [&](DType type) {
    std::vector<std::byte> block(KvBlockBytes(type, x.size()));
    StoreValue(type, x.data(), x.size(), 0, block.data());
    std::vector<float> out(kTokens * x.size());
    GetKvBlockKernels(Isa::kScalar)->load_values(type, block.data(), x.size(), 1, out.data());
    out.resize(x.size());
    return out;
  };
  x[3] = 1e6f;
  x[4] = -infinity;
  CHECK(stored(DType::kF16)[3] == 65504.0f);
  CHECK(stored(DType::kF16)[4] == -65504.0f);
  CHECK(std::isnan(stored(DType::kQ8_0)[0]));  // the group of 3 and 4
  CHECK(stored(DType::kQ8_0)[39] == Approx(1).epsilon(0.01));
  x[4] = 0;
  x[3] = 1e9f;
  CHECK(stored(DType::kQ8_0)[3] == Approx(127 * 65504.0));
  CHECK(stored(DType::kQ4_0)[3] == Approx(8 * 65504.0));
  x[4] = -infinity;
  CHECK(std::isnan(stored(DType::kQ4_0)[0]));
  CHECK(stored(DType::kQ4_0)[39] == Approx(1).epsilon(0.01));
  x.assign(40, 1e-42f);
  CHECK(std::fabs(stored(DType::kQ4_0)[3]) <= 1e-42f);
  x.assign(40, 0.0f);
  CHECK(stored(DType::kQ8_0) == x);
  CHECK(stored(DType::kQ4_0) == x);
  x.assign(40, std::numeric_limits<float>::quiet_NaN());
  CHECK(std::isnan(stored(DType::kF16)[7]));
}

}  // namespace
}  // namespace rag
