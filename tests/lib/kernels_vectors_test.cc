// Every table of lib/kernels/vectors.h against the definitions.
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>

#include "lib/kernels/vectors.h"
#include "lib/tensor/tensor.h"
#include "tests/support/support.h"

namespace rag::test {
namespace {

std::vector<const VectorKernels*> Tables() {
  std::vector<const VectorKernels*> tables;
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
    if (const VectorKernels* table = GetVectorKernels(isa)) {
      REQUIRE(table->isa == isa);
      tables.push_back(table);
    }
  }
  return tables;
}

// A row of the type and the numbers that it holds.
std::vector<std::byte> MakeRow(RowType type, size_t n, std::mt19937& random,
                               std::vector<float>& values) {
  std::normal_distribution<float> normal;
  std::vector<std::byte> row;
  const auto put = [&](auto element) {
    const size_t at = row.size();
    row.resize(at + sizeof(element));
    std::memcpy(row.data() + at, &element, sizeof(element));
  };
  values.clear();
  for (size_t i = 0; i < n; ++i) {
    switch (type) {
      case RowType::kF32:
        values.push_back(normal(random));
        put(values.back());
        break;
      case RowType::kF16: {
        const uint16_t half = FloatToHalf(normal(random));
        values.push_back(HalfToFloat(half));
        put(half);
        break;
      }
      case RowType::kBF16: {
        const uint16_t bits = FloatToBFloat16(normal(random));
        values.push_back(BFloat16ToFloat(bits));
        put(bits);
        break;
      }
      case RowType::kI8: {
        const auto value = static_cast<int8_t>(random());
        values.push_back(value);
        put(value);
        break;
      }
      case RowType::kU8: {
        const auto value = static_cast<uint8_t>(random());
        values.push_back(value);
        put(value);
        break;
      }
    }
  }
  return row;
}

struct alignas(64) Line {
  std::byte bytes[64];
};

}  // namespace

TEST_CASE("distances to rows of every type") {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (const VectorKernels* table : Tables()) {
    for (size_t type = 0; type < kRowTypes; ++type) {
      for (size_t n = 0; n < 200; n += n < 70 ? 1 : 13) {
        INFO(IsaName(table->isa) << ", type " << type << ", n " << n);
        std::vector<float> values, query(n);
        const std::vector<std::byte> row = MakeRow(static_cast<RowType>(type), n, random, values);
        for (float& x : query) x = 10 * normal(random);
        double dot = 0, l2 = 0, l1 = 0, size = 0;
        for (size_t i = 0; i < n; ++i) {
          const double difference = double{query[i]} - values[i];
          dot += double{query[i]} * values[i];
          size += std::fabs(double{query[i]} * values[i]);
          l2 += difference * difference;
          l1 += std::fabs(difference);
        }
        REQUIRE(table->dot[type](query.data(), row.data(), n) ==
                Approx(dot).margin(1e-5 * size + 1e-6));
        REQUIRE(table->l2_squared[type](query.data(), row.data(), n) ==
                Approx(l2).epsilon(1e-5).margin(1e-6));
        REQUIRE(table->l1[type](query.data(), row.data(), n) ==
                Approx(l1).epsilon(1e-5).margin(1e-6));
      }
    }
  }
}

TEST_CASE("bits that differ and bits in common") {
  std::mt19937_64 random(8);
  for (const VectorKernels* table : Tables()) {
    for (size_t words = 0; words < 40; ++words) {
      std::vector<uint64_t> a(words), b(words);
      uint64_t differ = 0, common = 0;
      for (size_t i = 0; i < words; ++i) {
        a[i] = random();
        b[i] = random();
        differ += static_cast<uint64_t>(std::popcount(a[i] ^ b[i]));
        common += static_cast<uint64_t>(std::popcount(a[i] & b[i]));
      }
      const auto* const x = reinterpret_cast<const std::byte*>(a.data());
      const auto* const y = reinterpret_cast<const std::byte*>(b.data());
      REQUIRE(table->hamming(x, y, words * 8) == differ);
      REQUIRE(table->common(x, y, words * 8) == common);
    }
  }
}

TEST_CASE("products of codes are exact, at their extremes too, and never see the header") {
  std::mt19937 random(9);
  for (const VectorKernels* table : Tables()) {
    for (const size_t lines : {1, 2, 3, 5, 16}) {
      for (const int fill : {-1, 0, 255}) {
        const size_t bytes = lines * 64, count = 11;
        std::vector<Line> codes(lines * count), query(lines), from(lines);
        const auto code = [&](size_t i) { return codes[i * lines].bytes; };
        const auto value = [&] {
          return static_cast<std::byte>(fill < 0 ? random() : static_cast<unsigned>(fill));
        };
        std::vector<const std::byte*> pointers;
        for (size_t i = 0; i < count; ++i) {
          for (size_t j = 0; j < bytes; ++j) code(i)[j] = value();
          pointers.push_back(code(i));
        }
        auto* const q = reinterpret_cast<int8_t*>(query.data());
        std::byte* const f = from.data()->bytes;
        for (size_t j = 0; j < bytes; ++j) {
          f[j] = value();
          q[j] =
              j < kCodeHeader
                  ? int8_t{0}
                  : static_cast<int8_t>(fill < 0 ? static_cast<int>(random() % 255) - 127 : -127);
        }
        std::vector<int32_t> dots(count), pairs(count);
        table->code_dots(q, pointers.data(), count, bytes, dots.data());
        table->code_pairs(f, pointers.data(), count, bytes, pairs.data());
        for (size_t i = 0; i < count; ++i) {
          int64_t dot = 0, pair = 0;
          for (size_t j = kCodeHeader; j < bytes; ++j) {
            const int x = std::to_integer<int>(code(i)[j]);
            dot += q[j] * x;
            pair += (std::to_integer<int>(f[j]) - 128) * (x - 128);
          }
          INFO(IsaName(table->isa) << ", lines " << lines << ", fill " << fill << ", code " << i);
          REQUIRE(dots[i] == dot);
          REQUIRE(pairs[i] == pair);
        }
      }
    }
  }
}

}  // namespace rag::test
