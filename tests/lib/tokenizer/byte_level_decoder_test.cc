// The byte-level decoder's letters, read by themselves, compared with UTF-8's characters.
#include <catch2/catch.hpp>
#include <string>

#include "lib/text/utf8.h"
#include "lib/tokenizer/decoder.h"
#include "lib/tokenizer/pre_tokenizer.h"

namespace rag {
namespace {

// As the format says: every character is a byte's letter, or the piece stays as it is.
std::string Decoded(const std::string& piece) {
  std::string bytes;
  for (size_t i = 0; i < piece.size();) {
    const DecodedChar next = DecodeChar(piece, i);
    const auto byte = CharToByte(next.code_point);
    if (!byte) return piece;
    bytes += static_cast<char>(*byte);
    i += next.length;
  }
  return bytes;
}

TEST_CASE("pieces become bytes letter by letter, and those with anything else stay") {
  const auto decoder = MakeByteLevelDecoder();
  size_t wrong = 0;
  size_t changed = 0;
  const auto check = [&](const std::string& piece) {
    std::string decoded = piece;
    decoder->ApplyFollowing(decoded);
    wrong += decoded == Decoded(piece) ? 0 : 1;
    changed += decoded == piece ? 0 : 1;
  };
  check("");
  for (int first = 0; first < 256; ++first) {
    check(std::string(1, static_cast<char>(first)));
    for (int second = 0; second < 256; ++second) {
      const std::string two = {static_cast<char>(first), static_cast<char>(second)};
      for (const char* after : {"", "a", "\xC4\xA0", "\xC4", "\xA0", "\xE2\x82\xAC"}) {
        check(two + after);
      }
    }
  }
  CHECK(wrong == 0);
  CHECK(changed > 256);
}

}  // namespace
}  // namespace rag
