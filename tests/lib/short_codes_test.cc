// Every table of lib/kernels/short_codes.h against the definitions.
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>

#include "lib/kernels/short_codes.h"
#include "tests/support/support.h"

namespace rag::test {
namespace {

std::vector<const ShortCodeKernels*> Tables() {
  std::vector<const ShortCodeKernels*> tables;
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
    if (const ShortCodeKernels* table = GetShortCodeKernels(isa)) {
      REQUIRE(table->isa == isa);
      tables.push_back(table);
    }
  }
  return tables;
}

struct alignas(kShortAlign) Line {
  std::byte bytes[kShortAlign];
};

constexpr size_t kCount = 11;

// Codes of random bytes, or all of one.
struct Codes {
  Codes(size_t lines, int fill, std::mt19937& random) : all(lines * kCount) {
    for (Line& line : all) {
      for (std::byte& byte : line.bytes) {
        byte = static_cast<std::byte>(fill < 0 ? random() : static_cast<unsigned>(fill));
      }
    }
    for (size_t i = 0; i < kCount; ++i) pointers.push_back(all[i * lines].bytes);
  }
  std::vector<Line> all;
  std::vector<const std::byte*> pointers;
};

}  // namespace

TEST_CASE("products of 4-bit codes are exact, at their extremes too") {
  std::mt19937 random(1);
  for (const ShortCodeKernels* table : Tables()) {
    for (const size_t lines : {1, 2, 3, 7, 16}) {
      for (const int fill : {-1, 0, 255}) {
        const Codes codes(lines, fill, random);
        std::vector<Line> query(2 * lines);
        auto* const values = reinterpret_cast<int8_t*>(query.data());
        for (size_t j = 0; j < 2 * lines * kShortAlign; ++j) {
          values[j] = static_cast<int8_t>(fill < 0 ? static_cast<int>(random() % 255) - 127 : -127);
        }
        std::vector<int32_t> dots(kCount);
        table->nibble_dots(values, codes.pointers.data(), kCount, lines * kShortAlign, dots.data());
        for (size_t i = 0; i < kCount; ++i) {
          int64_t dot = 0;
          for (size_t j = 0; j < 2 * lines * kShortAlign; ++j) {
            const size_t within = j % 128;
            const int both = std::to_integer<int>(codes.pointers[i][j / 128 * 64 + within % 64]);
            dot += values[j] * (within < 64 ? both % 16 : both / 16);
          }
          INFO(IsaName(table->isa) << ", lines " << lines << ", fill " << fill);
          REQUIRE(dots[i] == dot);
        }
      }
    }
  }
}

TEST_CASE("products of 1-bit codes with a query in planes are exact") {
  std::mt19937 random(2);
  constexpr int kLeast = -(1 << (kQueryPlanes - 1));
  for (const ShortCodeKernels* table : Tables()) {
    for (const size_t lines : {1, 2, 3, 7, 16}) {
      for (const int fill : {-1, 0, 255}) {
        const Codes codes(lines, fill, random);
        const size_t n = lines * kShortAlign * 8;
        std::vector<int> query(n);
        std::vector<Line> planes(lines * kQueryPlanes);
        for (size_t j = 0; j < n; ++j) {
          query[j] = fill < 0 ? static_cast<int>(random() % (1u << kQueryPlanes)) + kLeast : kLeast;
          for (size_t plane = 0; plane < kQueryPlanes; ++plane) {
            planes[j / 512 * kQueryPlanes + plane].bytes[j % 512 / 8] |=
                static_cast<std::byte>((query[j] >> plane & 1) << j % 8);
          }
        }
        std::vector<int32_t> dots(kCount);
        table->bit_dots(planes[0].bytes, codes.pointers.data(), kCount, lines * kShortAlign,
                        dots.data());
        for (size_t i = 0; i < kCount; ++i) {
          int64_t dot = 0;
          for (size_t j = 0; j < n; ++j) {
            if ((codes.pointers[i][j / 8] >> j % 8 & std::byte{1}) != std::byte{0}) dot += query[j];
          }
          INFO(IsaName(table->isa) << ", lines " << lines << ", fill " << fill);
          REQUIRE(dots[i] == dot);
        }
      }
    }
  }
}

// Element (i, j) of the matrix is -1 to the number of bits that i and j share.
TEST_CASE("the Walsh-Hadamard transform is the product with its matrix") {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const ShortCodeKernels* table : Tables()) {
    for (size_t n = 1; n <= 512; n *= 2) {
      std::vector<float> x(n);
      for (float& value : x) value = normal(random);
      std::vector<float> y = x;
      table->hadamard(y.data(), n);
      for (size_t i = 0; i < n; ++i) {
        double sum = 0, size = 0;
        for (size_t j = 0; j < n; ++j) {
          sum += std::popcount(i & j) % 2 == 0 ? x[j] : -x[j];
          size += std::fabs(x[j]);
        }
        // log2 n additions, each rounded.
        INFO(IsaName(table->isa) << ", n " << n << ", element " << i);
        REQUIRE(y[i] == Approx(sum).margin(size * 10 * 0x1p-24));
      }
    }
  }
}

}  // namespace rag::test
