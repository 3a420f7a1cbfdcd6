// Properties and normalization against Python's unicodedata (tests/golden/unicode).
#include "lib/text/unicode.h"

#include <catch2/catch.hpp>
#include <map>
#include <sstream>

#include "lib/text/utf8.h"
#include "tests/lib/model/model_bytes.h"
#include "tests/support/support.h"

namespace rag {
namespace {

std::map<std::string, std::vector<std::string>> ReadGolden() {
  std::map<std::string, std::vector<std::string>> out;
  std::istringstream lines(test::ReadAll(test::Golden("unicode/unicode.txt")));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string name, value;
    fields >> name;
    while (fields >> value) out[name].push_back(value);
  }
  return out;
}

template <class Visit>
void ForEachCodePoint(const Visit& visit) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c < 0xD800 || c > 0xDFFF) visit(c);
  }
}

// As random_strings() in tests/golden/unicode/make.py.
std::vector<std::string> RandomStrings() {
  static constexpr std::pair<uint32_t, uint32_t> kRanges[] = {
      {0x41, 0x250},    {0x300, 0x36F},     {0x590, 0x650},   {0x900, 0x9FF},
      {0x1100, 0x11FF}, {0x1E00, 0x2100},   {0x3040, 0x30FF}, {0xAC00, 0xD7A3},
      {0xF900, 0xFB50}, {0x1D100, 0x1D200}, {0x300, 0x36F}};
  std::vector<std::string> out;
  uint64_t state = 1;
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (int k = 0; k < 12; ++k) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      const auto [low, high] = kRanges[(state >> 33) % std::size(kRanges)];
      AppendUtf8(text, static_cast<char32_t>(low + (state >> 40) % (high - low)));
    }
    out.push_back(std::move(text));
  }
  return out;
}

TEST_CASE("character properties are those of unicodedata") {
  auto golden = ReadGolden();
  CHECK(golden["version"][0] == UnicodeVersion());
  std::string categories, lower, classes;
  ForEachCodePoint([&](char32_t c) {
    categories += static_cast<char>(CategoryOf(c));
    classes += static_cast<char>(CombiningClass(c));
    std::string text;
    AppendUtf8(text, c);
    lower += ToLower(text);
  });
  CHECK(test::Fnv(categories) == golden["category"][0]);
  CHECK(test::Fnv(classes) == golden["class"][0]);
  CHECK(test::Fnv(lower) == golden["lower"][0]);
  CHECK(CategoryOf(0x110000) == Category::kUnassigned);
  CHECK(CategoryOf(0xFFFFFFFF) == Category::kUnassigned);
  CHECK(ToSimpleLower('A') == 'a');
  CHECK(ToSimpleLower(0x130) == 0x130);  // two characters long
  CHECK(IsWhitespace(0x85));
  CHECK(IsWhitespace(0x3000));
  CHECK_FALSE(IsWhitespace(0x200B));
  CHECK(IsCjkIdeograph(0x4E00));
  CHECK_FALSE(IsCjkIdeograph(0xAC00));
}

TEST_CASE("normalization forms are those of unicodedata") {
  auto golden = ReadGolden();
  const std::vector<std::string> strings = RandomStrings();
  for (const auto& [name, form] : {std::pair<const char*, NormalForm>{"NFC", NormalForm::kNfc},
                                   {"NFD", NormalForm::kNfd},
                                   {"NFKC", NormalForm::kNfkc},
                                   {"NFKD", NormalForm::kNfkd}}) {
    INFO(name);
    std::string singles, several;
    ForEachCodePoint([&, form = form](char32_t c) {
      std::string text;
      AppendUtf8(text, c);
      if (c > 0) singles += '\n';
      singles += Normalize(text, form);
    });
    for (size_t i = 0; i < strings.size(); ++i) {
      if (i > 0) several += '\n';
      const std::string once = Normalize(strings[i], form);
      several += once;
      CHECK(Normalize(once, form) == once);
    }
    CHECK(test::Fnv(singles) == golden[name][0]);
    CHECK(test::Fnv(several) == golden[name][1]);
  }
}

}  // namespace
}  // namespace rag
