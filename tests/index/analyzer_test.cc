#include "index/lexical/analyzer.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "lib/text/utf8.h"

using rag::AnalyzeText;
using Terms = std::vector<std::string>;

TEST_CASE("English words are folded, stemmed and stripped of function words") {
  CHECK(AnalyzeText("The Runners were running") == Terms{"runner", "were", "run"});
  CHECK(AnalyzeText("Searching SEARCHED searches") == Terms{"search", "search", "search"});
  CHECK(AnalyzeText("the of and").empty());
  CHECK(AnalyzeText("Kim's dogs don't bark") == Terms{"kim", "dog", "don't", "bark"});
  CHECK(AnalyzeText("Kim\xe2\x80\x99s") == Terms{"kim"});
}

TEST_CASE("numbers and mixed words stay whole, punctuation separates") {
  CHECK(AnalyzeText("IL-6 rose 3.5-fold to 1,200.") ==
        Terms{"il", "6", "rose", "3.5", "fold", "1,200"});
  CHECK(AnalyzeText("covid19 x86_64") == Terms{"covid19", "x86", "64"});
  CHECK(AnalyzeText("a.b.c/d") == Terms{"b", "c", "d"});
}

TEST_CASE("accents are folded in Latin, Greek and Cyrillic") {
  CHECK(AnalyzeText("Schlüssel café") == AnalyzeText("schlussel cafe"));
  CHECK(AnalyzeText("cafe\xcc\x81") == AnalyzeText("café"));
  CHECK(AnalyzeText("Ёлка") == AnalyzeText("елка"));
  CHECK(AnalyzeText("Άλφα") == AnalyzeText("αλφα"));
}

TEST_CASE("compatibility forms are one") {
  CHECK(AnalyzeText("ﬁne ＡＢＣ") == AnalyzeText("fine abc"));
}

TEST_CASE("Korean, Chinese and Japanese give pairs of characters") {
  CHECK(AnalyzeText("대한민국의 수도") == Terms{"대한", "한민", "민국", "국의", "수도"});
  CHECK(AnalyzeText("강") == Terms{"강"});
  CHECK(AnalyzeText("東京都に") == Terms{"東京", "京都", "都に"});
  CHECK(AnalyzeText("GPU메모리") == Terms{"gpu", "메모", "모리"});
}

TEST_CASE("letters of scripts with vowel marks keep them") {
  CHECK(AnalyzeText("हिन्दी भाषा") == Terms{"हिन्दी", "भाषा"});
}

TEST_CASE("a term is bounded and whole characters") {
  const Terms latin = AnalyzeText(std::string(1000, 'z'));
  REQUIRE(latin.size() == 1);
  CHECK(latin[0].size() <= 64);
  std::string russian;
  for (int i = 0; i < 200; ++i) russian += "ж";
  const Terms cut = AnalyzeText(russian);
  REQUIRE(cut.size() == 1);
  CHECK(cut[0].size() <= 64);
  CHECK(rag::IsValidUtf8(cut[0]));
}

TEST_CASE("broken UTF-8 neither crashes nor leaks into terms") {
  for (const std::string& term : AnalyzeText("abc\xff\xfe def\xc3 ghi\xed\xa0\x80")) {
    CHECK(rag::IsValidUtf8(term));
  }
}
