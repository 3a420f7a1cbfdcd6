// Templates rendered by Jinja2 itself (tests/golden/template), byte for byte.
#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "lib/base/value.h"
#include "lib/template/template.h"
#include "tests/support/support.h"

namespace rag {
namespace {

Value GoldenFile(const std::string& name) {
  auto value = ParseJson(test::ReadAll(test::Golden("template") / name));
  REQUIRE_OK(value);
  return std::move(value).value();
}

Result<std::string> RenderSource(const std::string& source, const Value& variables) {
  auto parsed = Template::Parse(source, "golden");
  if (!parsed.ok()) return std::move(parsed).status();
  return parsed->Render(variables);
}

// What Jinja2 does and we refuse, each with a message that says so: block inheritance, recursive
// loops, printf formatting, integers past 64 bits.
bool IsKnownGap(const std::string& source) {
  return source.starts_with("{% block") || source.find(" recursive %}") != std::string::npos ||
         source.starts_with("{{ \"%s") || source.starts_with("{{ 12345678901234567890123");
}

TEST_CASE("chat templates give what Jinja2 gives") {
  const Value golden = GoldenFile("golden.json");
  size_t compared = 0;
  for (const Value& test : golden.Find("chat_cases")->as_array()) {
    const std::string& name = test.Find("template")->as_string();
    const std::string& chat = test.Find("chat")->as_string();
    Value::Object variables = golden.Find("common")->as_object();
    variables.Set("messages", *golden.Find("chats")->Find(chat));
    const auto number = static_cast<size_t>(test.Find("settings")->as_int());
    for (const auto& [key, value] : golden.Find("settings")->as_array()[number].as_object()) {
      variables.Set(key, value);
    }
    const auto got =
        RenderSource(test::ReadAll(test::Golden("template") / "chat" / name), Value(variables));
    INFO(name << ", chat " << chat << ", settings " << number << ": " << got.status().ToString());
    const Value* output = test.Find("output");
    REQUIRE(got.ok() == (output != nullptr));
    if (output != nullptr) REQUIRE(*got == output->as_string());
    ++compared;
  }
  REQUIRE(compared >= 700);
}

TEST_CASE("expressions and statements give what Jinja2 gives") {
  const Value golden = GoldenFile("golden.json");
  const Value variables = GoldenFile("variables.json");
  size_t compared = 0;
  for (const Value& test : golden.Find("expression_cases")->as_array()) {
    const std::string& source = test.Find("source")->as_string();
    const auto got = RenderSource(source, variables);
    INFO(source << "\n" << got.status().ToString());
    if (IsKnownGap(source)) {
      CHECK(got.status().code() == StatusCode::kInvalidArgument);
      continue;
    }
    const Value* output = test.Find("output");
    CHECK(got.ok() == (output != nullptr));
    if (output != nullptr && got.ok()) CHECK(*got == output->as_string());
    if (!got.ok()) CHECK(got.status().message().starts_with("golden:"));
    ++compared;
  }
  REQUIRE(compared >= 165);
}

}  // namespace
}  // namespace rag
