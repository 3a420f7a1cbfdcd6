#include "index/filter.h"

#include <catch2/catch.hpp>

#include "tests/support/support.h"

using namespace rag;

namespace {

const Value& Attributes() {
  static const Value value = *ParseJson(
      R"({"year":2021,"lang":"ko","score":0.5,"draft":false,"tags":["a","b"],"title":"Intro to 검색",
          "author":{"name":"Kim","age":40},"odd name":1,"a.b":"flat","none":null})");
  return value;
}

bool Matches(std::string_view text) {
  const Result<Filter> filter = Filter::Parse(text);
  INFO(text);
  REQUIRE_OK(filter);
  CHECK(filter->text() == text);
  return filter->Matches(Attributes());
}

}  // namespace

TEST_CASE("comparisons of numbers, strings and booleans") {
  CHECK(Matches("year = 2021"));
  CHECK(Matches("year == 2021.0"));
  CHECK(Matches("year >= 2020 AND lang = \"ko\""));
  CHECK(Matches("year <= 2021 and year > 2020.5"));
  CHECK_FALSE(Matches("year < 2021"));
  CHECK(Matches("score > -1e3"));
  CHECK(Matches("lang != 'en'"));
  CHECK(Matches("lang <> 'en'"));
  CHECK(Matches("lang > 'kn'"));
  CHECK(Matches("draft = false"));
  CHECK_FALSE(Matches("draft = true"));
}

TEST_CASE("kinds do not compare with each other") {
  CHECK_FALSE(Matches("year = '2021'"));
  CHECK_FALSE(Matches("lang < 5"));
  CHECK(Matches("year != '2021'"));
}

TEST_CASE("AND binds tighter than OR, NOT tightest") {
  CHECK(Matches("lang = 'en' AND year = 1 OR year = 2021"));
  CHECK_FALSE(Matches("lang = 'en' AND (year = 1 OR year = 2021)"));
  CHECK(Matches("NOT lang = 'en' AND year = 2021"));
  CHECK(Matches("NOT (lang = 'ko' AND year = 1)"));
  CHECK(Matches("NOT NOT year = 2021"));
}

TEST_CASE("IN, LIKE, CONTAINS and EXISTS") {
  CHECK(Matches("lang IN ('en', 'ko')"));
  CHECK(Matches("year in (1, 2021)"));
  CHECK_FALSE(Matches("lang IN ('en')"));
  CHECK(Matches("lang NOT IN ('en')"));
  CHECK(Matches("title LIKE 'Intro%'"));
  CHECK(Matches("title LIKE '%검_'"));
  CHECK(Matches("title LIKE '%o%o%'"));
  CHECK_FALSE(Matches("title LIKE 'intro%'"));
  CHECK_FALSE(Matches("title LIKE 'Intro'"));
  CHECK(Matches("title NOT LIKE 'X%'"));
  CHECK(Matches("tags CONTAINS 'a'"));
  CHECK_FALSE(Matches("tags CONTAINS 'c'"));
  CHECK(Matches("title CONTAINS 'to'"));
  CHECK(Matches("EXISTS year"));
  CHECK_FALSE(Matches("EXISTS missing"));
  CHECK_FALSE(Matches("EXISTS none"));
}

TEST_CASE("names reach into objects and may be quoted") {
  CHECK(Matches("author.name = 'Kim' AND author.age >= 40"));
  CHECK_FALSE(Matches("author.name.x = 'Kim'"));
  CHECK(Matches("`odd name` = 1"));
  CHECK(Matches("\"odd name\" = 1"));
  CHECK(Matches("a.b = 'flat'"));
}

TEST_CASE("a missing attribute makes every comparison false") {
  for (const char* text : {"missing = 1", "missing != 1", "missing < 1", "missing IN (1)",
                           "missing LIKE '%'", "missing CONTAINS 1", "none = 1", "none != 1"}) {
    CHECK_FALSE(Matches(text));
  }
  CHECK(Matches("NOT missing = 1"));
}

TEST_CASE("quotes can be escaped") {
  const Value attributes = *ParseJson(R"({"q":"it's \"x\""})");
  CHECK(Filter::Parse(R"(q = 'it''s "x"')")->Matches(attributes));
  CHECK(Filter::Parse(R"(q = "it's \"x\"")")->Matches(attributes));
}

TEST_CASE("errors say where and what was expected") {
  const auto message = [](std::string_view text) {
    const Result<Filter> filter = Filter::Parse(text);
    INFO(text);
    REQUIRE_FALSE(filter.ok());
    CHECK(filter.status().code() == StatusCode::kInvalidArgument);
    return filter.status().message();
  };
  CHECK(message("") == "filter at byte 0: expected an attribute's name, found the end");
  CHECK(message("year") ==
        "filter at byte 4: expected one of = != < <= > >= IN LIKE CONTAINS, "
        "found the end");
  CHECK(message("year = ") ==
        "filter at byte 7: expected a string, a number, true or false, found "
        "the end");
  CHECK(message("year = 1 lang = 2") ==
        "filter at byte 9: expected AND, OR or the end, found 'lang'");
  CHECK(message("(year = 1") == "filter at byte 9: expected ')', found the end");
  CHECK(message("year = 'x") == "filter at byte 7: the ' that opens here is never closed");
  CHECK(message("year = 1.2.3") == "filter at byte 7: '1.2.3' is not a number");
  CHECK(message("year % 2") == "filter at byte 5: unexpected '%'");
  CHECK(message("lang IN ()") ==
        "filter at byte 9: expected a string, a number, true or false, found "
        "')'");
  CHECK(message("title LIKE 5") == "filter at byte 11: expected a pattern in quotes, found '5'");
}

TEST_CASE("a diagnosis names fields that nothing has, and kinds that do not compare") {
  const auto findings = [](const std::string& text, const std::vector<std::string>& looked_at) {
    const Result<Filter> filter = Filter::Parse(text);
    REQUIRE_OK(filter);
    FilterDiagnosis diagnosis(*filter);
    for (const std::string& attributes : looked_at) diagnosis.Look(*ParseJson(attributes));
    return diagnosis.Findings();
  };
  const std::vector<std::string> some = {R"({"year": 2020, "lang": "ko"})",
                                         R"({"tags": ["a"], "deep": {"x": 1.5}, "no": null})"};
  CHECK(findings("yaer >= 2020", some) ==
        "no passage has a field 'yaer' (they have deep, lang, no, tags, year)");
  CHECK(findings("yaer = 1", {"{}"}) == "no passage has a field 'yaer' (they have none)");
  CHECK(findings("yaer = 1", {}) == "no passage has a field 'yaer' (they have none)");
  CHECK(findings("year = \"2020\"", some) ==
        "'year' is of type int, for which no comparison with a string is true");
  CHECK(
      findings("tags = \"a\"", some) ==
      "'tags' is of type array, for which no comparison with a string is true; CONTAINS looks into "
      "arrays");
  CHECK(findings("year LIKE \"20%\" AND lang < 5", some) ==
        "'year' is of type int, for which no comparison with a string is true; 'lang' is of type "
        "string, for which no comparison with a int is true");
  CHECK(findings("flag < true", {R"({"flag": true})"}) ==
        "'flag' is of type bool, for which no comparison with a bool is true");
  CHECK(findings("deep.y = 1", some) ==
        "no passage has a field 'deep.y' (they have deep, lang, no, tags, year)");
  CHECK(findings("no = 1", some) == "'no' is null in every passage that has it");
  CHECK(findings("no = 1 AND yaer = 2", some) ==
        "'no' is null in every passage that has it; no passage has a field 'yaer' (they have deep, "
        "lang, no, tags, year)");
  CHECK(findings("no = 1", {R"({"no": null})", R"({"no": "a"})"}) ==
        "'no' is of type string, for which no comparison with a int is true");
  // Any of these can be true, for others than were looked at.
  for (const char* text :
       {"year = 1999.5", "lang IN (1, \"en\")", "tags CONTAINS 7", "deep.x < 0",
        "lang CONTAINS \"x\"", "year != \"2020\" AND year > 3000", "NOT yaer = 1"}) {
    CHECK(findings(text, some) == "");
  }
  std::string many = "{";
  for (int i = 0; i < 50; ++i) many += StrCat(i == 0 ? "" : ",", "\"f", i, "\": 1");
  const std::string cut = findings("x = 1", {many + "}"});
  CHECK(cut.ends_with(", …)"));
  CHECK(cut.size() < 200);
}

TEST_CASE("size and nesting are bounded") {
  CHECK(Filter::Parse(std::string(70'000, ' ')).status().code() == StatusCode::kResourceExhausted);
  CHECK(Filter::Parse(std::string(1000, '(') + "a = 1").status().code() ==
        StatusCode::kResourceExhausted);
  std::string nots;
  for (int i = 0; i < 1000; ++i) nots += "NOT ";
  CHECK(Filter::Parse(nots + "a = 1").status().code() == StatusCode::kResourceExhausted);
  std::string deep(60, '(');
  deep += "year = 2021";
  deep.append(60, ')');
  CHECK(Matches(deep));
}

TEST_CASE("no text crashes the parser") {
  uint32_t state = 99;
  const std::string_view alphabet = "ab.1-e()=<>!'\"`,% \\NOTINANDORLIKE";
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (int i = 0; i < 24; ++i) {
      state = state * 1664525u + 1013904223u;
      text += alphabet[(state >> 16) % alphabet.size()];
    }
    const Result<Filter> filter = Filter::Parse(text);
    if (filter.ok()) (void)filter->Matches(Attributes());
  }
}
