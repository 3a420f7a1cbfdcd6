// Decoded blocks against the gguf package's dequantize().
#include <catch2/catch.hpp>

#include <cstring>

#include "lib/base/value.h"
#include "lib/tensor/tensor.h"
#include "tests/support/support.h"

namespace rag {
namespace {

std::vector<std::byte> FromHex(const std::string& hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(digit(hex[i]) * 16 + digit(hex[i + 1])));
  }
  return bytes;
}

constexpr DType kTypes[] = {DType::kF32,  DType::kF16,    DType::kBF16,   DType::kQ8_0,
                            DType::kQ4_0, DType::kQ4_1,   DType::kQ5_0,   DType::kQ5_1,
                            DType::kQ2_K, DType::kQ3_K,   DType::kQ4_K,   DType::kQ5_K,
                            DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4};

TEST_CASE("DequantizeTo equals gguf's dequantize bit for bit") {
  const auto golden = ParseJson(test::ReadAll(test::Golden("gguf_blocks.json")));
  REQUIRE_OK(golden);
  const Value* types = golden->Find("types");
  REQUIRE(types != nullptr);
  for (const DType type : kTypes) {
    const DTypeInfo& info = GetDTypeInfo(type);
    INFO(info.name);
    const Value* entry = types->Find(info.name);
    REQUIRE(entry != nullptr);
    const std::vector<std::byte> bytes = FromHex(entry->Find("bytes")->as_string());
    const std::vector<std::byte> expected = FromHex(entry->Find("f32")->as_string());
    const size_t count = bytes.size() / info.block_bytes * info.block_size;
    REQUIRE(expected.size() == count * sizeof(float));

    // Blocks need no alignment: shift them by one byte.
    std::vector<std::byte> shifted(bytes.size() + 1);
    std::memcpy(shifted.data() + 1, bytes.data(), bytes.size());
    const TensorView view{type, {count}, std::span(shifted).subspan(1)};
    std::vector<float> values(count);
    REQUIRE_OK(DequantizeTo(view, 0, values));
    CHECK(std::memcmp(values.data(), expected.data(), expected.size()) == 0);

    std::vector<float> second(info.block_size);
    REQUIRE_OK(DequantizeTo(view, info.block_size, second));
    CHECK(std::memcmp(second.data(), values.data() + info.block_size,
                      second.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("DequantizeTo refuses parts of blocks and ranges outside of the tensor") {
  std::vector<std::byte> bytes(2 * 18);
  const TensorView view{DType::kQ4_0, {2, 32}, bytes};
  std::vector<float> out(32);
  CHECK(DequantizeTo(view, 16, out).code() == StatusCode::kInvalidArgument);
  CHECK(DequantizeTo(view, 0, std::span(out).first(31)).code() == StatusCode::kInvalidArgument);
  CHECK(DequantizeTo(view, 64, out).code() == StatusCode::kOutOfRange);
  CHECK(DequantizeTo(view, SIZE_MAX - 31, out).code() == StatusCode::kOutOfRange);
  CHECK(DequantizeTo(view, 64, {}).ok());
}

TEST_CASE("DequantizeTo converts the plain integer types") {
  const int16_t values[] = {-300, 0, 7};
  const TensorView view{DType::kI16, {3}, std::as_bytes(std::span(values))};
  std::vector<float> out(3);
  REQUIRE_OK(DequantizeTo(view, 0, out));
  CHECK(out == std::vector<float>{-300.0f, 0.0f, 7.0f});
}

}  // namespace
}  // namespace rag
