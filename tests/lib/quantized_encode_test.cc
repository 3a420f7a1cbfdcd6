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
// (ggml-quants.c, ggml_quantize_chunk, 65,536 values).
constexpr std::pair<DType, double> kReferenceErrors[] = {
    {DType::kQ2_K, 0.29614}, {DType::kQ3_K, 0.1509},  {DType::kQ4_K, 0.07135},
    {DType::kQ5_K, 0.03617}, {DType::kQ6_K, 0.01776}, {DType::kIQ4_NL, 0.07587},
    {DType::kIQ4_XS, 0.0765}};

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
  for (const DType type :
       {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kMXFP4}) {
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
  for (const auto& [type, error] : kReferenceErrors) {
    INFO(GetDTypeInfo(type).name);
    // 2% for the luck of the values.
    CHECK(RelativeError(type, values) < 1.02 * error);
  }
}

std::vector<float> FloatsFromHex(const std::string& hex) {
  const auto raw = FromHex(hex);
  std::vector<float> values(raw.size() / sizeof(float));
  std::memcpy(values.data(), raw.data(), raw.size());
  return values;
}

// The sum of importance times the squares of the errors.
double WeightedError(DType type, std::span<const std::byte> bytes, const std::vector<float>& values,
                     const std::vector<float>& importance) {
  std::vector<float> back(values.size());
  REQUIRE_OK(DequantizeTo({type, {values.size()}, bytes}, 0, back));
  double error = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double difference = static_cast<double>(back[i]) - static_cast<double>(values[i]);
    error += static_cast<double>(importance[i % importance.size()]) * difference * difference;
  }
  return error;
}

TEST_CASE("with an importance, what matters loses less than without and no more than llama.cpp's") {
  const auto golden = ParseJson(test::ReadAll(test::Golden("gguf_importance.json")));
  REQUIRE_OK(golden);
  const std::vector<float> values = FloatsFromHex(golden->Find("values")->as_string());
  const std::vector<float> importance = FloatsFromHex(golden->Find("importance")->as_string());
  for (const auto& [name, entry] : golden->Find("types")->as_object()) {
    INFO(name);
    DType type = DType::kF32;
    for (size_t i = 0; i < kDTypeCount; ++i) {
      if (GetDTypeInfo(static_cast<DType>(i)).name == name) type = static_cast<DType>(i);
    }
    REQUIRE(type != DType::kF32);
    const auto theirs = FromHex(entry.Find("weighted")->as_string());
    const auto theirs_plain = FromHex(entry.Find("plain")->as_string());
    std::vector<std::byte> ours(theirs.size());
    std::vector<std::byte> plain(theirs.size());
    REQUIRE_OK(EncodeBlocks(type, values, ours, importance));
    REQUIRE_OK(EncodeBlocks(type, values, plain));
    const double error = WeightedError(type, ours, values, importance);
    CHECK(error < 1.02 * WeightedError(type, theirs, values, importance));
    CHECK(error < WeightedError(type, plain, values, importance));
    const std::vector<float> alike(importance.size(), 1.0f);
    CHECK(WeightedError(type, plain, values, alike) <
          1.02 * WeightedError(type, theirs_plain, values, alike));
  }
}

TEST_CASE("an importance of zeros is none, and its scale changes nothing but roundings") {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> values(512), importance(256);
  for (float& value : values) value = normal(random);
  for (float& value : importance) value = std::fabs(normal(random));
  for (const DType type : {DType::kQ2_K, DType::kQ4_0, DType::kQ6_K, DType::kMXFP4}) {
    INFO(GetDTypeInfo(type).name);
    const DTypeInfo& info = GetDTypeInfo(type);
    std::vector<std::byte> bytes(512 / info.block_size * info.block_bytes), other(bytes.size());
    REQUIRE_OK(EncodeBlocks(type, values, bytes));
    REQUIRE_OK(EncodeBlocks(type, values, other, std::vector<float>(256, 0.0f)));
    CHECK(bytes == other);
    std::vector<float> twice = importance;
    for (float& value : twice) value *= 2;
    REQUIRE_OK(EncodeBlocks(type, values, bytes, importance));
    REQUIRE_OK(EncodeBlocks(type, values, other, twice));
    CHECK(bytes == other);  // a power of two
  }
}

// The largest relative errors; IQ4's types have no code for zero beside a large scale, and MXFP4's
// scales are powers of two.
struct AwkwardBounds {
  DType type;
  double constant, rising, outlier;
};

TEST_CASE("blocks hold what is awkward: zeros, constants, one sign, outliers") {
  for (const AwkwardBounds& bounds :
       {AwkwardBounds{DType::kQ2_K, 0.02, 0.1, 0.02}, AwkwardBounds{DType::kQ3_K, 0.02, 0.05, 0.02},
        AwkwardBounds{DType::kQ4_K, 0.02, 0.02, 0.02},
        AwkwardBounds{DType::kQ5_K, 0.02, 0.02, 0.02},
        AwkwardBounds{DType::kQ6_K, 0.02, 0.02, 0.02},
        AwkwardBounds{DType::kIQ4_NL, 0.02, 0.03, 0.05},
        AwkwardBounds{DType::kIQ4_XS, 0.02, 0.03, 0.05},
        AwkwardBounds{DType::kMXFP4, 0.2, 0.17, 0.05}}) {
    const DType type = bounds.type;
    INFO(GetDTypeInfo(type).name);
    const std::vector<float> zeros(256);
    std::vector<std::byte> bytes(256 / GetDTypeInfo(type).block_size *
                                 GetDTypeInfo(type).block_bytes);
    REQUIRE_OK(EncodeBlocks(type, zeros, bytes));
    std::vector<float> back(256, 1.0f);
    REQUIRE_OK(DequantizeTo({type, {256}, bytes}, 0, back));
    CHECK(back == zeros);
    CHECK(RelativeError(type, std::vector<float>(256, 0.3f)) < bounds.constant);
    CHECK(RelativeError(type, std::vector<float>(256, -0.3f)) < bounds.constant);
    std::vector<float> rising(512);
    for (size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<float>(i);
    CHECK(RelativeError(type, rising) < bounds.rising);
    std::vector<float> outlier(256, 1e-3f);
    outlier[200] = -100.0f;
    CHECK(RelativeError(type, outlier) < bounds.outlier);
  }
}

TEST_CASE("what cannot be written is named") {
  std::vector<float> values(32, 1.0f);
  std::vector<std::byte> bytes(18);
  CHECK(EncodeBlocks(DType::kI8, values, bytes).code() == StatusCode::kInvalidArgument);
  CHECK_FALSE(CanEncode(DType::kI8));
  CHECK(EncodeBlocks(DType::kQ4_0, values, bytes, std::vector<float>(16, 1.0f)).code() ==
        StatusCode::kInvalidArgument);
  std::vector<float> importance(32, 1.0f);
  importance[5] = -1.0f;
  CHECK_THAT(EncodeBlocks(DType::kQ4_0, values, bytes, importance).message(),
             Catch::Matchers::Contains("column 5"));
  CHECK(CanEncode(DType::kBF16));
  CHECK(EncodeBlocks(DType::kQ4_0, std::span(values).first(31), bytes).code() ==
        StatusCode::kInvalidArgument);
  values[3] = NAN;
  const Status status = EncodeBlocks(DType::kQ4_0, values, bytes);
  CHECK_THAT(status.message(), Catch::Matchers::Contains("value 3"));
}

}  // namespace
}  // namespace rag
