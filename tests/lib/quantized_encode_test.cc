// Blocks that we make of f32 values: the gguf package's bytes, and bounds on what rounding loses.
#include "lib/kernels/quantized_encode.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>

#include "lib/base/value.h"
#include "tests/support/support.h"

namespace rag {
namespace {

// Relative root mean square errors of llama.cpp's reference quantization of normal values
// (ggml-quants.c, quantize_row_q*_K_ref, 65,536 values).
constexpr double kQ4_KError = 0.07135;
constexpr double kQ5_KError = 0.03617;
constexpr double kQ6_KError = 0.01776;

std::vector<std::byte> FromHex(const std::string& hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(digit(hex[i]) * 16 + digit(hex[i + 1])));
  }
  return bytes;
}

TEST_CASE("blocks of 32 are the bytes of gguf's quantize") {
  const auto golden = ParseJson(test::ReadAll(test::Golden("gguf_blocks.json")));
  REQUIRE_OK(golden);
  for (const DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1}) {
    INFO(GetDTypeInfo(type).name);
    const Value* entry = golden->Find("encoded")->Find(GetDTypeInfo(type).name);
    REQUIRE(entry != nullptr);
    const auto raw = FromHex(entry->Find("f32")->as_string());
    const auto expected = FromHex(entry->Find("bytes")->as_string());
    std::vector<float> values(raw.size() / sizeof(float));
    std::memcpy(values.data(), raw.data(), raw.size());
    std::vector<std::byte> bytes(expected.size());
    REQUIRE_OK(EncodeBlocks(type, values, bytes));
    CHECK(bytes == expected);
  }
}

double RelativeError(DType type, const std::vector<float>& values) {
  const DTypeInfo& info = GetDTypeInfo(type);
  std::vector<std::byte> bytes(values.size() / info.block_size * info.block_bytes);
  REQUIRE_OK(EncodeBlocks(type, values, bytes));
  std::vector<float> back(values.size());
  REQUIRE_OK(DequantizeTo({type, {values.size()}, bytes}, 0, back));
  double error = 0, total = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double difference = static_cast<double>(back[i]) - static_cast<double>(values[i]);
    error += difference * difference;
    total += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  }
  return std::sqrt(error / total);
}

TEST_CASE("K blocks of normal values lose no more than llama.cpp's own quantization does") {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> values(256 * 64);
  for (float& value : values) value = 0.02f * normal(random);
  // 2% for the luck of the values.
  CHECK(RelativeError(DType::kQ4_K, values) < 1.02 * kQ4_KError);
  CHECK(RelativeError(DType::kQ5_K, values) < 1.02 * kQ5_KError);
  CHECK(RelativeError(DType::kQ6_K, values) < 1.02 * kQ6_KError);
}

TEST_CASE("K blocks hold what is awkward: zeros, constants, one sign, outliers") {
  for (const DType type : {DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    INFO(GetDTypeInfo(type).name);
    const std::vector<float> zeros(256);
    std::vector<std::byte> bytes(GetDTypeInfo(type).block_bytes);
    REQUIRE_OK(EncodeBlocks(type, zeros, bytes));
    std::vector<float> back(256, 1.0f);
    REQUIRE_OK(DequantizeTo({type, {256}, bytes}, 0, back));
    CHECK(back == zeros);
    CHECK(RelativeError(type, std::vector<float>(256, 0.3f)) < 0.02);
    CHECK(RelativeError(type, std::vector<float>(256, -0.3f)) < 0.02);
    std::vector<float> rising(512);
    for (size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<float>(i);
    CHECK(RelativeError(type, rising) < 0.02);
    std::vector<float> outlier(256, 1e-3f);
    outlier[200] = -100.0f;
    CHECK(RelativeError(type, outlier) < 0.02);
  }
}

TEST_CASE("what cannot be written is named") {
  std::vector<float> values(32, 1.0f);
  std::vector<std::byte> bytes(18);
  CHECK(EncodeBlocks(DType::kQ2_K, values, bytes).code() == StatusCode::kInvalidArgument);
  CHECK_FALSE(CanEncode(DType::kQ2_K));
  CHECK(CanEncode(DType::kBF16));
  CHECK(EncodeBlocks(DType::kQ4_0, std::span(values).first(31), bytes).code() ==
        StatusCode::kInvalidArgument);
  values[3] = NAN;
  const Status status = EncodeBlocks(DType::kQ4_0, values, bytes);
  CHECK_THAT(status.message(), Catch::Matchers::Contains("value 3"));
}

}  // namespace
}  // namespace rag
