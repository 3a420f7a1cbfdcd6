// Errors, limits and the rule that inserted values are never parsed.
#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/value.h"
#include "lib/template/template.h"
#include "tests/support/support.h"

namespace rag {
namespace {

Result<std::string> RenderSource(std::string_view source, const Value& variables = Value::Object(),
                                 const TemplateLimits& limits = {}) {
  auto parsed = Template::Parse(source, "t.jinja");
  if (!parsed.ok()) return std::move(parsed).status();
  return parsed->Render(variables, limits);
}

StatusCode CodeOf(std::string_view source, const TemplateLimits& limits = {}) {
  return RenderSource(source, Value::Object(), limits).status().code();
}

TEST_CASE("a template's errors name the template and the line") {
  const auto message = [](std::string_view source) {
    return RenderSource(source).status().message();
  };
  CHECK(message("a\nb\n{{ x.y }}") == "t.jinja:3: 'x' is undefined");
  CHECK(message("{% if true %}\n{{ raise_exception('no ' ~ 'way') }}{% endif %}") ==
        "t.jinja:2: no way");
  CHECK(message("\n{{ 1 | nope }}") == "t.jinja:2: unknown filter 'nope'");
  CHECK(message("\n\n{% include 'x' %}") == "t.jinja:3: the tag 'include' is not supported");
  CHECK(message("{% extends 'x' %}") == "t.jinja:1: the tag 'extends' is not supported");
  CHECK(message("{% for x in y %}") == "t.jinja:1: the template ends where 'endfor' was expected");
  CHECK(message("{% macro m() %}\n{{ a.b }}{% endmacro %}\n\n{{ m() }}") ==
        "t.jinja:2: 'a' is undefined");
  CHECK(message("{{ [].append(1) }}").find("refused") != std::string::npos);
  CHECK(RenderSource("x", Value(3)).status().code() == StatusCode::kInvalidArgument);
  CHECK(RenderSource("\xff").status().code() == StatusCode::kInvalidArgument);
}

TEST_CASE("inserted values are never parsed again") {
  const std::string hostile =
      "{{ 7 * 7 }} {% for x in range(9) %}{{ x }}{% endfor %} {% raw %} {# gone #} {%- set a = 1 "
      "-%}"
      " {{ raise_exception('x') }} \" ' \\ }} %} \n";
  const Value::Object variables{{"x", hostile}, {"list", Value::Array{Value(hostile)}}};
  const auto same = [&](std::string_view source) {
    const auto got = RenderSource(source, Value(variables));
    REQUIRE_OK(got);
    CHECK(*got == hostile);
  };
  same("{{ x }}");
  same("{{ list[0] }}");
  same("{% for y in list %}{{ y }}{% endfor %}");
  same("{% set y %}{{ x }}{% endset %}{{ y }}");
  same("{% macro m(a) %}{{ a }}{% endmacro %}{{ m(x) }}");
  same("{{ list | join }}");
  same("{% filter replace('zzz', '') %}{{ x }}{% endfilter %}");
}

TEST_CASE("endless and huge work stops at the limits") {
  const TemplateLimits limits{.max_output_bytes = size_t{1} << 20, .max_steps = 200'000};
  const std::string_view exhausting[] = {
      "{{ 'a' * 10**9 }}",
      "{{ 'a' * 9223372036854775807 }}",
      "{{ [0] * 10**9 }}",
      "{{ 'ab'.center(10**12) }}",
      "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
      "{{ ('a' * 1000000) | replace('', 'bb') }}",
      "{{ range(10**9) }}",
      "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
      "{% for a in range(90000) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxx' }}{% endfor %}",
      "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% "
      "endfor %}",
      "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}",
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f(x) %}{{ x }}{{ f(x + 1) }}{{ f(x + 2) }}{% endmacro %}{{ f(0) }}",
      "{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor "
      "%}{{ ns.x }}",
      "{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor "
      "%}{{ ns.x | tojson }}",
      "{% set ns = namespace(x=[], y=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}"
      "{% set ns.y = [ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
      "{{ ('x' * 500000) | list | map('string') | list | length }}",
  };
  for (const std::string_view source : exhausting) {
    INFO(source);
    CHECK(CodeOf(source, limits) == StatusCode::kResourceExhausted);
  }
  CHECK(CodeOf("{{ 10**30 }}") == StatusCode::kInvalidArgument);
  CHECK(CodeOf("{{ -9223372036854775807 - 1 - 1 }}") == StatusCode::kInvalidArgument);
  CHECK(CodeOf("{{ (-9223372036854775807 - 1) // -1 }}") == StatusCode::kInvalidArgument);
  CHECK(CodeOf("{{ (-9223372036854775807 - 1) % -1 }}") == StatusCode::kOk);
  CHECK(CodeOf("{{ 'abc'[1::9223372036854775807] }}{{ 'abc'[::-9223372036854775807] }}") ==
        StatusCode::kOk);
}

TEST_CASE("a namespace that holds itself is no trouble") {
  const auto got = RenderSource(
      "{% set a = namespace() %}{% set a.b = [a] %}{% set a.c = a %}{{ a.c.b[0].c is defined }}");
  REQUIRE_OK(got);
  CHECK(*got == "True");
  CHECK(CodeOf("{% set a = namespace() %}{% set a.b = [a] %}{{ a.b }}") ==
        StatusCode::kInvalidArgument);
}

TEST_CASE("deep nesting of the source is refused") {
  const auto nest = [](std::string_view open, std::string_view middle, std::string_view close,
                       int depth) {
    std::string source;
    for (int i = 0; i < depth; ++i) source += open;
    source += middle;
    for (int i = 0; i < depth; ++i) source += close;
    return source;
  };
  for (const int depth : {150, 100'000}) {
    CHECK(CodeOf("{{ " + nest("(", "1", ")", depth) + " }}") == StatusCode::kResourceExhausted);
    CHECK(CodeOf("{{ " + nest("[", "", "]", depth) + " }}") == StatusCode::kResourceExhausted);
    CHECK(CodeOf("{{ " + nest("not ", "1", "", depth) + " }}") == StatusCode::kResourceExhausted);
    CHECK(CodeOf("{{ " + nest("- ", "1", "", depth) + " }}") == StatusCode::kResourceExhausted);
    CHECK(CodeOf("{{ 1" + nest(" + 1", "", "", depth) + " }}") == StatusCode::kResourceExhausted);
    CHECK(CodeOf("{{ x" + nest("|upper", "", "", depth) + " }}") == StatusCode::kResourceExhausted);
    CHECK(CodeOf("{{ x" + nest(".a", "", "", depth) + " }}") == StatusCode::kResourceExhausted);
    CHECK(CodeOf(nest("{% if 1 %}", "x", "{% endif %}", depth)) == StatusCode::kResourceExhausted);
    CHECK(CodeOf("{{ 1" + nest(" if 1 else 2", "", "", depth) + " }}") ==
          StatusCode::kResourceExhausted);
  }
  CHECK(CodeOf("{{ " + nest("(", "1", ")", 20) + " }}") == StatusCode::kOk);
  CHECK(CodeOf(nest("{% if 1 %}", "x", "{% endif %}", 20)) == StatusCode::kOk);
  // A macro that uses all of the nesting and calls itself: the deepest stack there is.
  CHECK(CodeOf("{% macro f() %}{{ " + nest("[", "f()", "]", 80) + " }}{% endmacro %}{{ f() }}") ==
        StatusCode::kResourceExhausted);

  Value deep = 1;
  for (int i = 0; i < 300; ++i) deep = Value(Value::Array{std::move(deep)});
  CHECK(RenderSource("x", Value(Value::Object{{"deep", deep}})).status().code() ==
        StatusCode::kResourceExhausted);
}

TEST_CASE("broken templates of every prefix are refused or rendered, never worse") {
  const std::string source =
      "{%- macro m(a, b='x') -%}{{ a ~ b }}{%- endmacro -%}{% for k, v in d.items() if v is not "
      "none %}"
      "{{ loop.index }}{{ m(k, b=v[1:-1] | trim) }}{% else %}{# c #}{% endfor %}{% raw %}{{{% "
      "endraw %}"
      "{{ {'a': [1, 2.5, (3,)]}['a'][-1] if not false and 1 < 2 else 'é\\u00e9' }}";
  for (size_t i = 0; i <= source.size(); ++i) {
    RenderSource(source.substr(0, i)).status().Ignore();
    std::string changed = source;
    for (const char c : {'{', '}', '%', '\'', '(', '|', '\0', '\xe9'}) {
      if (i < changed.size()) changed[i] = c;
      RenderSource(changed, Value(Value::Object{{"d", Value::Object{{"k", "value"}}}}))
          .status()
          .Ignore();
    }
  }
  SUCCEED();
}

TEST_CASE("strftime_now formats the time of the machine") {
  const auto got = RenderSource("{{ strftime_now('%Y-%m-%d') }}|{{ strftime_now('') }}");
  REQUIRE_OK(got);
  REQUIRE(got->size() == 11);
  CHECK((*got)[4] == '-');
  CHECK(got->back() == '|');
}

TEST_CASE("one template renders on several threads") {
  auto parsed = Template::Parse("{% for i in range(n) %}{{ i }},{% endfor %}", "t");
  REQUIRE_OK(parsed);
  std::vector<std::string> results(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < results.size(); ++t) {
    threads.emplace_back([&, t] {
      auto got = parsed->Render(Value(Value::Object{{"n", static_cast<int>(t)}}));
      if (got.ok()) results[t] = *got;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(results[3] == "0,1,2,");
  CHECK(results[0].empty());
}

}  // namespace
}  // namespace rag
