#include "lib/base/value.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "tests/support/support.h"

using namespace rag;

TEST_CASE("JSON goes in and comes out unchanged") {
  for (const char* text : {"null", "true", "-12", "9223372036854775807", "1.5", "\"\\u00e9\\n\"",
                           "[]", "{}", R"({"a":[1,{"b":null}],"c":"한국어 😀"})"}) {
    const Result<Value> parsed = ParseJson(text);
    REQUIRE_OK(parsed);
    const Result<Value> again = ParseJson(ToJson(*parsed));
    REQUIRE_OK(again);
    CHECK(*parsed == *again);
  }
  CHECK(ToJson(*ParseJson(R"({"b":1,"a":[true,2.5]})")) == R"({"b":1,"a":[true,2.5]})");
  CHECK(ToJson(*ParseJson(R"({"a":[1]})"), 2) == "{\n  \"a\": [\n    1\n  ]\n}");
}

TEST_CASE("numbers keep their kind and their value") {
  CHECK(ParseJson("1")->is_int());
  CHECK(ParseJson("1.0")->is_double());
  CHECK(ParseJson("18446744073709551615")->is_double());
  CHECK(*ParseJson("1") == *ParseJson("1.0"));
  CHECK(ToJson(Value(0.1)) == "0.1");
  CHECK(ToJson(Value(std::numeric_limits<double>::infinity())) == "null");
}

TEST_CASE("text that is not JSON names the place") {
  for (const char* text : {"", "{", "[1,]", "{\"a\" 1}", "nul", "\"\\x\"", "1 2", "\"\xff\""}) {
    const Result<Value> parsed = ParseJson(text);
    INFO(text);
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.status().code() == StatusCode::kInvalidArgument);
    CHECK(parsed.status().message().find("byte") != std::string::npos);
  }
}

TEST_CASE("depth and size are bounded") {
  const std::string deep(200'000, '[');
  CHECK(ParseJson(deep).status().code() == StatusCode::kResourceExhausted);
  JsonLimits limits;
  limits.max_bytes = 4;
  CHECK(ParseJson("[1,2,3]", limits).status().code() == StatusCode::kResourceExhausted);
}

TEST_CASE("broken UTF-8 in a value still gives valid JSON") {
  const std::string json =
      ToJson(Value(std::string("a\xff"
                               "b")));
  const Result<Value> parsed = ParseJson(json);
  REQUIRE_OK(parsed);
  CHECK(parsed->as_string() ==
        "a\xef\xbf\xbd"
        "b");
}

TEST_CASE("typed members say what is wrong") {
  const Value object = *ParseJson(R"({"n":3,"s":"x","b":true,"f":0.5,"z":null})");
  CHECK(*object.GetInt("n", 0) == 3);
  CHECK(*object.GetInt("missing", 7) == 7);
  CHECK(*object.GetInt("z", 8) == 8);
  CHECK(*object.GetDouble("n", 0) == 3.0);
  CHECK(*object.GetString("s", "") == "x");
  CHECK(*object.GetBool("b", false));
  const Status wrong = object.GetInt("s", 0).status();
  CHECK(wrong.code() == StatusCode::kInvalidArgument);
  CHECK(wrong.message() == "'s' must be an integer, not string");
}
