#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "lib/base/hash.h"

namespace rag {
namespace {

// The values are libxxhash 0.8.1's XXH64(bytes, length, seed).
TEST_CASE("Hash64 is XXH64") {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 7 + 3);
  CHECK(Hash64("") == 0xef46db3751d8e999u);
  CHECK(Hash64("a") == 0xd24ec4f1a98c6e5bu);
  CHECK(Hash64("abc") == 0x44bc2cf5ad770999u);
  CHECK(Hash64(std::string_view(text).substr(0, 1), 0u) == 0x1f25c8d0bc1f4bb6u);
  CHECK(Hash64(std::string_view(text).substr(0, 1), 12345u) == 0x9102786a712ff044u);
  CHECK(Hash64(std::string_view(text).substr(0, 3), 0u) == 0x31d2363f52e564c9u);
  CHECK(Hash64(std::string_view(text).substr(0, 3), 12345u) == 0xc6270ec97f034479u);
  CHECK(Hash64(std::string_view(text).substr(0, 4), 0u) == 0x9bb64b7d66ee9fdau);
  CHECK(Hash64(std::string_view(text).substr(0, 4), 12345u) == 0x6a3181371bbc2026u);
  CHECK(Hash64(std::string_view(text).substr(0, 7), 0u) == 0x9a7b149959ce60d8u);
  CHECK(Hash64(std::string_view(text).substr(0, 7), 12345u) == 0x6e596c9ec41c4637u);
  CHECK(Hash64(std::string_view(text).substr(0, 8), 0u) == 0xdab99d95c6f90092u);
  CHECK(Hash64(std::string_view(text).substr(0, 8), 12345u) == 0xbbcc4601a016b1e4u);
  CHECK(Hash64(std::string_view(text).substr(0, 12), 0u) == 0xd52e407833af5133u);
  CHECK(Hash64(std::string_view(text).substr(0, 12), 12345u) == 0xb6d582accfe8c643u);
  CHECK(Hash64(std::string_view(text).substr(0, 31), 0u) == 0xa2aa5f33cc4a6119u);
  CHECK(Hash64(std::string_view(text).substr(0, 31), 12345u) == 0x8086bf60119a7308u);
  CHECK(Hash64(std::string_view(text).substr(0, 32), 0u) == 0x23c3c17ef790fd97u);
  CHECK(Hash64(std::string_view(text).substr(0, 32), 12345u) == 0x244c3905cf320c2du);
  CHECK(Hash64(std::string_view(text).substr(0, 33), 0u) == 0x50a7cfc7ba588784u);
  CHECK(Hash64(std::string_view(text).substr(0, 33), 12345u) == 0x1edc993457cf1fd8u);
  CHECK(Hash64(std::string_view(text).substr(0, 63), 0u) == 0x5e3e54b431c7493cu);
  CHECK(Hash64(std::string_view(text).substr(0, 63), 12345u) == 0x0e4a6a50d61e6220u);
  CHECK(Hash64(std::string_view(text).substr(0, 100), 0u) == 0xa61f8d4c170fe531u);
  CHECK(Hash64(std::string_view(text).substr(0, 100), 12345u) == 0xacb8a02891fea7d2u);
  CHECK(Hash64(std::string_view(text).substr(0, 299), 0u) == 0x5e6f8a0c9110e74eu);
  CHECK(Hash64(std::string_view(text).substr(0, 299), 12345u) == 0xeea07702080f7f68u);
  CHECK(Hash64(std::string_view(text).substr(0, 300), 0u) == 0x240004dbee0ba6dcu);
  CHECK(Hash64(std::string_view(text).substr(0, 300), 12345u) == 0x3b45f71459bc8fafu);
}

TEST_CASE("Hash64 changes with any byte") {
  const std::string text(1000, 'x');
  const uint64_t hash = Hash64(text);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] ^= 1;
    REQUIRE(Hash64(changed) != hash);
  }
  CHECK(Hash64(text.substr(1)) != hash);
}

TEST_CASE("HashToHex writes 16 digits") {
  CHECK(HashToHex(0) == "0000000000000000");
  CHECK(HashToHex(0x0123456789abcdefu) == "0123456789abcdef");
}

}  // namespace
}  // namespace rag
