#include <catch2/catch.hpp>
#include <filesystem>

#include "engine/parse.h"
#include "engine/parse/front_matter.h"
#include "tests/engine/check_document.h"
#include "tests/support/support.h"

namespace rag {
namespace {

Document Parse(std::string_view content) {
  Result<ParsedFile> parsed = ParseContent(content, "/docs/page.md", Format::kMarkdown);
  REQUIRE_OK(parsed);
  REQUIRE(parsed->documents.size() == 1);
  test::CheckDocument(parsed->documents[0]);
  CHECK(parsed->documents[0].text == content);
  return std::move(parsed->documents[0]);
}

// "h2:Title", "p:…", "li:…", "tr:…", "code:…", "q:…"
std::vector<std::string> Outline(const Document& document) {
  static constexpr const char* kNames[] = {"p", "h", "li", "tr", "code", "q"};
  std::vector<std::string> lines;
  for (const Block& block : document.blocks) {
    std::string line = kNames[static_cast<int>(block.kind)];
    if (block.level != 0) line += std::to_string(block.level);
    lines.push_back(line + ":" + document.text.substr(block.begin, block.end - block.begin));
  }
  return lines;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("Markdown's structure becomes blocks of the file's own bytes") {
  const Document document = Parse(
      "# Title #\n\nSome *text*\nover lines.\n\n## Setup {#setup}\n\n- one\n- two\n  1. inner\n\n"
      "> quoted\n> text\n\n```sh\nls -l\n\n  x\n```\n\n    indented\n\nSetext\n------\n\n"
      "| a | b |\n|---|---|\n| 1 | 2 |\n\n<!-- note -->\n\n<div>kept</div>\n\n***\nend");
  CHECK(document.title == "Title");
  CHECK(Outline(document) == Lines{"h1:Title", "p:Some *text*\nover lines.", "h2:Setup", "li:one",
                                   "li:two", "li:inner", "q:quoted\n> text", "code:ls -l\n\n  x",
                                   "code:indented", "h2:Setext", "tr:| a | b |", "tr:| 1 | 2 |",
                                   "p:<div>kept</div>", "p:end"});
}

TEST_CASE("front matter becomes metadata and stays out of the blocks") {
  const Document document = Parse(
      "---\ntitle: \"A page: on things\"\nreviewers:\n- ann\n- bob\nweight: 20\nratio: 0.5\n"
      "draft: true # for now\ntags: [one, 'two, three']\ndescription: >\n  folded\n  text\n"
      "card:\n  name: concepts\n  weight: 7\nempty:\n---\n\n# Heading\n\nBody {{< glossary >}}.\n");
  CHECK(document.title == "A page: on things");
  CHECK(Outline(document) == Lines{"h1:Heading", "p:Body {{< glossary >}}."});
  const Value expected = Value::Object{
      {"title", "A page: on things"},
      {"reviewers", Value::Array{"ann", "bob"}},
      {"weight", 20},
      {"ratio", 0.5},
      {"draft", true},
      {"tags", Value::Array{"one", "two, three"}},
      {"description", "folded text"},
      {"card", Value::Object{{"name", "concepts"}, {"weight", 7}}},
      {"empty", nullptr},
  };
  CHECK(ToJson(document.metadata) == ToJson(expected));
  // Without its end it is a rule and text.
  CHECK(ReadFrontMatter("---\ntitle: x\n").bytes == 0);
  CHECK(ReadFrontMatter("text\n---\ntitle: x\n---\n").bytes == 0);
}

TEST_CASE("CRLF, Korean and tabs keep their byte ranges") {
  const Document document = Parse(
      "# 쿠버네티스\r\n\r\n파드는 가장 작은\r\n단위이다.\r\n\r\n*\t항목 하나\r\n\r\n## 끝 ##\r\n");
  CHECK(document.title == "쿠버네티스");
  CHECK(Outline(document) ==
        Lines{"h1:쿠버네티스", "p:파드는 가장 작은\r\n단위이다.", "li:항목 하나", "h2:끝"});
}

TEST_CASE("deep nesting of quotes and lists is refused") {
  const std::string content = std::string(100'000, '>') + " x";
  const Result<ParsedFile> parsed = ParseContent(content, "/docs/deep.md", Format::kMarkdown);
  CHECK(parsed.status().code() == StatusCode::kInvalidArgument);
}

TEST_CASE("all pages of the Kubernetes documentation have a title and headings") {
  const auto data = test::SharedData("docs-k8s-en-ko");
  if (!data) RAG_SKIP("docs-k8s-en-ko is not there");
  size_t files = 0;
  size_t without_headings = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(*data)) {
    if (entry.path().extension() != ".md") continue;
    const std::string path = entry.path().string();
    const Result<ParsedFile> parsed = ParseFile(path);
    INFO(path);
    REQUIRE_OK(parsed);
    const Document& document = parsed->documents.at(0);
    test::CheckDocument(document);
    CHECK(document.metadata.Find("title") != nullptr);
    CHECK_FALSE(document.title.empty());
    CHECK(document.text == test::ReadAll(path));
    const bool has_heading =
        std::any_of(document.blocks.begin(), document.blocks.end(),
                    [](const Block& block) { return block.kind == BlockKind::kHeading; });
    // A page has headings exactly where a line outside of code begins with marks.
    without_headings += !has_heading;
    ++files;
  }
  CHECK(files == 390);
  CAPTURE(without_headings);
  CHECK(without_headings <= 20);
}

}  // namespace rag
