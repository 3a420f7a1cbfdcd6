#include <catch2/catch.hpp>

#include "engine/chunk.h"

namespace rag {
namespace {

using Lines = std::vector<std::string>;

Lines Split(const std::string& text) {
  Lines sentences;
  for (const TextRange range : SplitSentences(text)) {
    sentences.push_back(text.substr(range.begin, range.end - range.begin));
  }
  return sentences;
}

}  // namespace

TEST_CASE("sentences end where they end") {
  CHECK(Split("Hello there. How are you? Fine! Good.") ==
        Lines{"Hello there.", "How are you?", "Fine!", "Good."});
  CHECK(Split("  One.\n\n  Two ") == Lines{"One.", "Two"});
  CHECK(Split("") == Lines{});
  CHECK(Split(" \n ") == Lines{});
  CHECK(Split("He said \"Stop.\" Then he left.") == Lines{"He said \"Stop.\"", "Then he left."});
}

TEST_CASE("abbreviations, initials and numbers do not end a sentence") {
  CHECK(Split("Dr. Smith met Mrs. Jones. They spoke.") ==
        Lines{"Dr. Smith met Mrs. Jones.", "They spoke."});
  CHECK(Split("Use a tool, e.g. Make, i.e. GNU Make. It works.") ==
        Lines{"Use a tool, e.g. Make, i.e. GNU Make.", "It works."});
  CHECK(Split("See Fig. 3 and Eq. 4. Both agree.") ==
        Lines{"See Fig. 3 and Eq. 4.", "Both agree."});
  CHECK(Split("Smith et al. (2020) showed it. Later work agrees.") ==
        Lines{"Smith et al. (2020) showed it.", "Later work agrees."});
  CHECK(Split("The U.S. Army moved. It was late in the U.S. The end.") ==
        Lines{"The U.S. Army moved.", "It was late in the U.S.", "The end."});
  CHECK(Split("J. R. R. Tolkien wrote it. Pi is 3.14159. Version 1.2.3 is out.") ==
        Lines{"J. R. R. Tolkien wrote it.", "Pi is 3.14159.", "Version 1.2.3 is out."});
  CHECK(Split("It cost $5.50 at 3 p.m. on Monday. Cheap.") ==
        Lines{"It cost $5.50 at 3 p.m. on Monday.", "Cheap."});
  CHECK(Split("It began in 1999. 2 years passed.") == Lines{"It began in 1999. 2 years passed."});
}

TEST_CASE("lines that are wrapped belong together, items of a list do not") {
  CHECK(Split("A sentence that\nwas wrapped\r\nhere. Next.") ==
        Lines{"A sentence that\nwas wrapped\r\nhere.", "Next."});
  CHECK(Split("- one\n- two\n3. three") == Lines{"- one", "- two", "3. three"});
}

TEST_CASE("Korean, Japanese and Chinese sentences") {
  CHECK(Split("안녕하세요. 반갑습니다! 오늘은 2021. 7. 22. 목요일입니다.") ==
        Lines{"안녕하세요.", "반갑습니다!", "오늘은 2021. 7. 22. 목요일입니다."});
  CHECK(Split("これは文です。次の文です！本当？はい。") ==
        Lines{"これは文です。", "次の文です！", "本当？", "はい。"});
  CHECK(Split("这是第一句。这是第二句！对吗？") == Lines{"这是第一句。", "这是第二句！", "对吗？"});
}

}  // namespace rag
