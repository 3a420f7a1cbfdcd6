// Markers, quotes and their verification.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "engine/ask/cite.h"
#include "tests/engine/ask/fakes.h"
#include "tests/support/support.h"

namespace rag {
namespace {

using test::FakeCollection;

std::vector<size_t> Numbers(std::string_view answer, size_t sources = 9) {
  std::vector<size_t> numbers;
  for (const CitationMarker& marker : FindMarkers(answer, sources)) {
    numbers.insert(numbers.end(), marker.numbers.begin(), marker.numbers.end());
  }
  return numbers;
}

TEST_CASE("citation markers are found in all their forms") {
  using List = std::vector<size_t>;
  CHECK(Numbers("A [1]. B [2, 3][4]; C [ 5 ] D [6;7] [1-3].") ==
        List{1, 2, 3, 4, 5, 6, 7, 1, 2, 3});
  CHECK(Numbers("[0] [10] [-1] [1, 99] [abc] [1a] [] [ ] [1.5] [[2]]") == List{1, 2});
  CHECK(Numbers("`a[1]` ```\nb[2]\n``` c [3] ``x ` [4]`` [5](http://x) lone ` [6]") == List{3, 6});
  CHECK(Numbers("```\nopen [1]").empty());
  CHECK(Numbers("[999999999999999999999] [1,").empty());
  CHECK(Numbers("[1-9999]").empty());
  CHECK(Numbers("[1]", 0).empty());
}

TEST_CASE("the citing sentence is the one before or around its marker") {
  const std::string answer = "The sky is blue [1]. Grass is green. [2] Snow is white [3]";
  const std::vector<CitationMarker> markers = FindMarkers(answer, 3);
  REQUIRE(markers.size() == 3);
  CHECK(CitingSentence(answer, markers[0]).starts_with("The sky is blue"));
  CHECK(CitingSentence(answer, markers[1]).starts_with("Grass is green."));
  CHECK(CitingSentence(answer, markers[2]).starts_with("Snow is white"));
  CHECK(CitingSentence("[1]", FindMarkers("[1]", 1)[0]).empty());
}

TEST_CASE("the quote is the sentence that supports the citing one, as stored") {
  FakeCollection collection;
  const std::string body =
      "Intro line.\n\nThe tower was built in 1889. It is 330 metres tall. Paris has many "
      "bridges.\n";
  collection.bodies["tower"] = body;
  const size_t begin = body.find("The tower");
  const std::vector<Hit> hits = {collection.MakeHit("tower", begin, body.size()),
                                 collection.Add("fish", "Salmon swim upstream to spawn.")};
  const auto cited = CiteAnswer(
      "It stands 330 metres tall [1]. It was built in 1889 [1]. Salmon spawn upstream [2]. "
      "Quantum chromodynamics explains gluons [2].",
      hits, {collection, nullptr, nullptr}, nullptr);
  REQUIRE_OK(cited);
  REQUIRE(cited->citations.size() == 3);
  CHECK(cited->citations[0].quote == "It is 330 metres tall.");
  CHECK(cited->citations[0].start == body.find("It is 330"));
  CHECK(cited->citations[0].end == body.find("It is 330") + 22);
  CHECK(cited->citations[1].quote == "The tower was built in 1889.");
  CHECK(cited->citations[2].n == 2);
  CHECK(cited->citations[2].document == "fish");
  for (const Citation& citation : cited->citations) {
    CHECK(citation.verified);
    const std::string& stored = collection.bodies[citation.document];
    CHECK(stored.substr(citation.start, citation.end - citation.start) == citation.quote);
  }
  CHECK(cited->note ==
        "a citation of [2] was dropped: nothing in that source supports its sentence");
}

TEST_CASE("a quote whose stored bytes changed is not verified") {
  FakeCollection collection;
  const std::vector<Hit> hits = {collection.Add("a", "The sky is blue today.")};
  const auto cite = [&] {
    auto cited = CiteAnswer("The sky is blue [1].", hits, {collection, nullptr, nullptr}, nullptr);
    REQUIRE_OK(cited);
    REQUIRE(cited->citations.size() == 1);
    return cited->citations[0].verified;
  };
  CHECK(cite());
  collection.bodies["a"] = "The sky is grey today.";
  CHECK_FALSE(cite());
  collection.bodies["a"] = "short";
  CHECK_FALSE(cite());
  collection.bodies.clear();
  CHECK_FALSE(cite());
}

TEST_CASE("Korean sentences are cited too") {
  FakeCollection collection;
  const std::vector<Hit> hits = {
      collection.Add("ko", "서울은 대한민국의 수도이다. 부산은 항구 도시이다. 제주는 섬이다.")};
  const auto cited = CiteAnswer("부산은 항구가 있는 도시입니다 [1].", hits,
                                {collection, nullptr, nullptr}, nullptr);
  REQUIRE_OK(cited);
  REQUIRE(cited->citations.size() == 1);
  CHECK(cited->citations[0].quote == "부산은 항구 도시이다.");
  CHECK(cited->citations[0].verified);
}

}  // namespace
}  // namespace rag
