#include "lib/text/utf8.h"

#include <catch2/catch.hpp>

namespace rag {
namespace {

TEST_CASE("every character is read as it was written") {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    AppendUtf8(text, c);
    const DecodedChar decoded = DecodeChar(text, 0);
    REQUIRE(decoded.valid);
    REQUIRE(decoded.code_point == c);
    REQUIRE(decoded.length == text.size());
    REQUIRE(IsValidUtf8(text));
    REQUIRE(CompleteUtf8Prefix(text) == text.size());
    for (size_t length = 1; length < text.size(); ++length) {
      REQUIRE_FALSE(IsValidUtf8(std::string_view(text).substr(0, length)));
      REQUIRE(CompleteUtf8Prefix(std::string_view(text).substr(0, length)) == 0);
    }
  }
}

// The Unicode standard 15, section 3.9, tables 3-8 to 3-11.
TEST_CASE("broken bytes become one replacement for each maximal subpart") {
  const auto repaired = [](std::string_view text, size_t expected_broken) {
    size_t broken = 0;
    std::string out = RepairUtf8(text, &broken);
    CHECK(broken == expected_broken);
    return out;
  };
  const std::string r = "\xEF\xBF\xBD";
  CHECK(repaired("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", 8) == r + r + r + r + r + r + r + r + "A");
  CHECK(repaired("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", 8) == r + r + r + r + r + r + r + r + "A");
  CHECK(repaired("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", 7) ==
        r + r + r + r + r + "A" + r + r + "B");
  CHECK(repaired("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", 8) == r + r + r + r + "A");
  CHECK(repaired("caf\xC3\xA9", 0) == "caf\xC3\xA9");
  CHECK(repaired("", 0).empty());
  CHECK_FALSE(IsValidUtf8("eight by\xFF"));
  CHECK_FALSE(IsValidUtf8("12345678\xE2\x82"));
  CHECK(IsValidUtf8("12345678\xE2\x82\xAC"));
}

TEST_CASE("an unfinished character at the end is left for later") {
  CHECK(CompleteUtf8Prefix("") == 0);
  CHECK(CompleteUtf8Prefix("abc") == 3);
  CHECK(CompleteUtf8Prefix("abc\xE2\x82") == 3);
  CHECK(CompleteUtf8Prefix("abc\xE2\x82\xAC") == 6);
  CHECK(CompleteUtf8Prefix("abc\xF0\x9F\x98") == 3);
  CHECK(CompleteUtf8Prefix("abc\xFF") == 4);  // nothing can complete it
  CHECK(CompleteUtf8Prefix("abc\x80\x80") == 5);
  CHECK(CompleteUtf8Prefix("abc\xE0\x80") == 5);  // overlong
}

}  // namespace
}  // namespace rag
