// HashTensors against the number that the xxHash library makes of the same pieces.
#include "lib/model/tensor_hash.h"

#include <array>
#include <catch2/catch.hpp>
#include <mutex>

#include "tests/support/support.h"

namespace rag {
namespace {

std::string CrossedShape(std::span<const size_t> shape) {
  std::string text = shape.empty() ? "" : " ";
  for (const size_t extent : shape) text += StrCat(extent, 'x');
  return text;
}

TEST_CASE("tensors' hash is xxHash's of their pieces and names, and each piece may be let go of") {
  std::array<std::byte, 25> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
  const std::vector<NamedTensorView> tensors = {
      {"a.weight", {DType::kF32, {2, 3}, std::span(bytes).first(24)}},
      {"b", {DType::kI8, {}, std::span(bytes).last(1)}},
      {"c", {DType::kF32, {0, 4}, {}}}};
  for (const int threads : {1, 3}) {
    const auto runtime = Runtime::Create({.threads = threads});
    REQUIRE_OK(runtime);
    std::mutex mutex;  // guards the next
    std::array<int, 25> forgotten{};
    const auto forget = [&](std::span<const std::byte> piece) {
      const std::lock_guard lock(mutex);
      CHECK(piece.size() <= 16);
      for (const std::byte& byte : piece) ++forgotten[static_cast<size_t>(&byte - bytes.data())];
    };
    // XXH64 of the three pieces' XXH64, as 64-bit numbers, little-endian; the seed is that of
    // "a.weight F32 2x3x\nb I8\nc F32 0x4x\n".
    CHECK(HashTensors(tensors, {.piece_bytes = 16, .shape_text = CrossedShape}, (*runtime)->pool(),
                      forget) == 0xb15dd5827bdadb15u);
    for (const int times : forgotten) CHECK(times == 1);
  }
}

}  // namespace
}  // namespace rag
