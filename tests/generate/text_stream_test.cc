// Streaming: whole characters, stop strings over token borders.
#include "generate/text_stream.h"

#include <catch2/catch.hpp>
#include <random>

#include "tests/support/support.h"

namespace rag {
namespace {

struct Streamed {
  std::string text;
  std::vector<std::string> pieces;
  bool stopped = false;
};

Streamed Run(const std::vector<std::string>& tokens, const std::vector<std::string>& stops) {
  TextStream stream(stops);
  Streamed out;
  const auto take = [&] {
    const std::string_view ready = stream.TakeReady();
    if (!ready.empty()) out.pieces.emplace_back(ready);
  };
  for (const std::string& token : tokens) {
    stream.Append(token);
    take();
  }
  stream.Finish();
  take();
  std::string joined;
  for (const std::string& piece : out.pieces) joined += piece;
  CHECK(joined == stream.text());
  out.text = stream.text();
  out.stopped = stream.stopped();
  return out;
}

using Pieces = std::vector<std::string>;

TEST_CASE("characters come whole however their bytes are cut") {
  const Streamed out = Run({"\xED", "\x95", "\x9C", "a\xF0\x9F", "\x98\x80"}, {});
  CHECK(out.pieces == Pieces{"\xED\x95\x9C", "a", "\xF0\x9F\x98\x80"});
}

TEST_CASE("bytes that are no UTF-8 become U+FFFD, and half a character at the end is dropped") {
  CHECK(Run({"a\xFF", "b"}, {}).text ==
        "a\xEF\xBF\xBD"
        "b");
  CHECK(Run({"\xED\xA0\x80"}, {}).text == "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate
  CHECK(Run({"\xC0\xAF"}, {}).text == "\xEF\xBF\xBD\xEF\xBF\xBD");                  // overlong
  CHECK(Run({"\xF0\x9F", "x"}, {}).text == "\xEF\xBF\xBDx");
  CHECK(Run({"ok\xE2\x82"}, {}).text == "ok");
}

TEST_CASE("a stop string is found over token borders and never shown in part") {
  const Streamed out = Run({"Hello ", "<", "/st", "op>", " more"}, {"</stop>"});
  CHECK(out.text == "Hello ");
  CHECK(out.stopped);
  CHECK(out.pieces == Pieces{"Hello "});
}

TEST_CASE("what only looked like a stop string is shown as soon as it cannot be one") {
  const Streamed out = Run({"a<", "/s", "x", "<"}, {"</stop>"});
  CHECK(out.text == "a</sx<");
  CHECK_FALSE(out.stopped);
  CHECK(out.pieces == Pieces{"a", "</sx", "<"});
}

TEST_CASE("the stop string that begins first ends the text") {
  CHECK(Run({"abcdef"}, {"ef", "cd"}).text == "ab");
  CHECK(Run({"abc", "def"}, {"cde", "b"}).text == "a");
  CHECK(Run({"aaab"}, {"aab"}).text == "a");
  CHECK(Run({"a", "a", "a", "b"}, {"aab"}).text == "a");
  CHECK(Run({"stop"}, {"stop"}).text.empty());
}

TEST_CASE("the text does not depend on how it is cut into tokens") {
  const std::string text = "one \xEC\x95\x88\xEB\x85\x95 ababac \xF0\x9F\x98\x80 END. ababab tail";
  const std::vector<std::vector<std::string>> all_stops = {
      {}, {"ababab"}, {"END", "babac"}, {"\x98\x80 E"}, {"\xF0\x9F\x98\x80"}, {"nowhere"}};
  std::mt19937 random(6);
  for (const auto& stops : all_stops) {
    if (!ValidateStops(stops).ok()) continue;
    const Streamed whole = Run({text}, stops);
    size_t expected = text.size();
    for (const std::string& stop : stops) expected = std::min(expected, text.find(stop));
    CHECK(whole.text == text.substr(0, expected));
    for (int i = 0; i < 200; ++i) {
      std::vector<std::string> tokens;
      for (size_t at = 0; at < text.size();) {
        const size_t length = 1 + random() % 5;
        tokens.push_back(text.substr(at, length));
        at += length;
      }
      CHECK(Run(tokens, stops).text == whole.text);
    }
  }
}

TEST_CASE("stop strings are checked") {
  const auto code = [](const std::vector<std::string>& stops) {
    return ValidateStops(stops).code();
  };
  CHECK(code({}) == StatusCode::kOk);
  CHECK(code(std::vector<std::string>(16, "x")) == StatusCode::kOk);
  CHECK(code(std::vector<std::string>(17, "x")) == StatusCode::kInvalidArgument);
  CHECK(code({""}) == StatusCode::kInvalidArgument);
  CHECK(code({"\xFF"}) == StatusCode::kInvalidArgument);
  CHECK(code({std::string(5000, 'x')}) == StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace rag
