// Reading order of PDF pages, from boxes.
#include <catch2/catch.hpp>

#include "engine/parse/pdf_layout.h"
#include "tests/support/support.h"

namespace rag {
namespace {

using Lines = std::vector<std::string>;

// One block of one line.
std::string Box(double x_min, double y_min, double x_max, double y_max, const std::string& text) {
  const std::string box = "xMin=\"" + std::to_string(x_min) + "\" yMin=\"" + std::to_string(y_min) +
                          "\" xMax=\"" + std::to_string(x_max) + "\" yMax=\"" +
                          std::to_string(y_max) + "\">\n";
  return "<block " + box + "<line " + box + "<word " + box.substr(0, box.size() - 1) + text +
         "</word>\n</line>\n</block>\n";
}

Lines Read(const std::string& blocks) {
  const auto pages = ReadPdfPages(
      "<page width=\"600.0\" height=\"800.0\">\n<flow>\n" + blocks + "</flow>\n</page>\n", nullptr);
  REQUIRE_OK(pages);
  REQUIRE(pages->size() == 1);
  return pages->front();
}

}  // namespace

TEST_CASE("two columns whose lines stand at one height are read one after the other") {
  std::string blocks = Box(50, 40, 550, 60, "Title across both columns");
  for (int i = 0; i < 4; ++i) {
    const double y = 80 + 15 * i;
    blocks += Box(50, y, 290, y + 11, "L" + std::to_string(i));
    blocks += Box(310, y + 1, 550, y + 12, "R" + std::to_string(i));
  }
  blocks += Box(50, 400, 550, 411, "A line across");
  for (int i = 0; i < 2; ++i) {
    const double y = 430 + 15 * i;
    blocks += Box(50, y, 290, y + 11, "l" + std::to_string(i));
    blocks += Box(310, y, 550, y + 11, "r" + std::to_string(i));
  }
  CHECK(Read(blocks) == Lines{"Title across both columns", "L0\nL1\nL2\nL3", "R0\nR1\nR2\nR3",
                              "A line across", "l0\nl1", "r0\nr1"});
}

TEST_CASE("cells of a table stay on their row") {
  std::string blocks;
  for (int i = 0; i < 4; ++i) {
    const double y = 80 + 20 * i;
    for (int j = 0; j < 3; ++j) {
      blocks += Box(50 + 150 * j, y, 90 + 150 * j, y + 11, std::to_string(i) + std::to_string(j));
    }
  }
  CHECK(Read(blocks) == Lines{"00 01 02", "10 11 12", "20 21 22", "30 31 32"});
}

TEST_CASE("lines join to paragraphs, and divided words are put together") {
  CHECK(Read(Box(50, 100, 300, 110, "the re-") + Box(50, 112, 300, 122, "trieval of") +
             Box(50, 124, 200, 134, "text.") + Box(50, 150, 300, 160, "Next one.") +
             Box(50, 162, 300, 182, "LARGER")) ==
        Lines{"the retrieval of\ntext.", "Next one.", "LARGER"});
}

TEST_CASE("damaged boxes and escapes do no harm") {
  CHECK(Read("<block xMin=\"nan\" yMin=\"inf\" xMax=\"-inf\" yMax=\"x\">\n<line >\n"
             "<word xMin=\"\">a &lt;b&gt; &amp;amp; &quot;c&#x;</word>\n") ==
        Lines{"a <b> &amp; \"c&#x;"});
  CHECK(Read("<word xMin=\"1\">outside</word>\n<block >\n</block>\n") == Lines{});
  const auto pages =
      ReadPdfPages("<page width=\"1\" height=\"1\">\n<page width=\"1\">\n</page>\n", nullptr);
  REQUIRE_OK(pages);
  CHECK(pages->size() == 2);
  CHECK(HasRightToLeft("a שלום"));
  CHECK(HasRightToLeft("كتاب"));
  CHECK_FALSE(HasRightToLeft("한국어 日本語 é €"));
}

}  // namespace rag
