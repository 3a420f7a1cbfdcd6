#include "lib/tensor/tensor.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/support/support.h"

using namespace rag;

TEST_CASE("every half survives a round trip") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = HalfToFloat(half);
    if (std::isnan(value)) {
      CHECK(std::isnan(HalfToFloat(FloatToHalf(value))));
    } else {
      REQUIRE(FloatToHalf(value) == half);
    }
  }
}

#if defined(__FLT16_MAX__)
TEST_CASE("halves are rounded as the compiler's _Float16 rounds") {
  uint32_t state = 12345;
  for (int i = 0; i < 200'000; ++i) {
    state = state * 1664525u + 1013904223u;
    float value;
    std::memcpy(&value, &state, sizeof(value));
    if (std::isnan(value)) continue;
    const auto expected = static_cast<_Float16>(value);
    uint16_t expected_bits;
    std::memcpy(&expected_bits, &expected, sizeof(expected_bits));
    INFO(value);
    REQUIRE(FloatToHalf(value) == expected_bits);
  }
}
#endif

TEST_CASE("bfloat16 rounds to nearest even") {
  CHECK(FloatToBFloat16(1.0f) == 0x3f80);
  CHECK(BFloat16ToFloat(0x3f80) == 1.0f);
  CHECK(FloatToBFloat16(1.00390625f) == 0x3f80);  // a tie goes to the even neighbour
  CHECK(FloatToBFloat16(1.01171875f) == 0x3f82);
  CHECK(std::isnan(BFloat16ToFloat(FloatToBFloat16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST_CASE("a row is a whole number of blocks") {
  CHECK(*RowBytes(DType::kF32, 10) == 40);
  CHECK(*RowBytes(DType::kQ4_0, 64) == 36);
  CHECK(*RowBytes(DType::kQ6_K, 512) == 420);
  CHECK(RowBytes(DType::kQ4_K, 100).status().code() == StatusCode::kInvalidArgument);
  CHECK(RowBytes(DType::kF64, std::numeric_limits<size_t>::max()).status().code() ==
        StatusCode::kOutOfRange);
}

TEST_CASE("matrices are aligned, zeroed and copied by value") {
  Matrix matrix(3, 5);
  CHECK(reinterpret_cast<uintptr_t>(matrix.data()) % 64 == 0);
  for (size_t i = 0; i < 15; ++i) CHECK(matrix.data()[i] == 0.0f);
  matrix.row(1)[2] = 7;
  Matrix copy = matrix;
  copy.row(1)[2] = 8;
  CHECK(matrix.row(1)[2] == 7);
  const Matrix moved = std::move(copy);
  CHECK(moved.row(1)[2] == 8);
}
