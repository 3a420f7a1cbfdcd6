// CSV and JSON Lines.
#include <catch2/catch.hpp>
#include <filesystem>

#include "engine/parse.h"
#include "tests/engine/check_document.h"
#include "tests/support/support.h"

namespace rag {
namespace {

using Lines = std::vector<std::string>;

ParsedFile Parse(std::string_view content, const std::string& path, Format format) {
  Result<ParsedFile> parsed = ParseContent(content, path, format);
  REQUIRE_OK(parsed);
  for (const Document& document : parsed->documents) test::CheckDocument(document);
  return std::move(parsed).value();
}

Lines Rows(const ParsedFile& file) {
  Lines rows;
  REQUIRE(file.documents.size() == 1);
  const Document& document = file.documents[0];
  for (const Block& block : document.blocks) {
    CHECK(block.kind == BlockKind::kTableRow);
    rows.push_back(document.text.substr(block.begin, block.end - block.begin));
  }
  return rows;
}

Lines CsvRows(std::string_view content, const std::string& path = "/t/table.csv") {
  return Rows(Parse(content, path, Format::kCsv));
}

}  // namespace

TEST_CASE("a CSV record reads by itself") {
  CHECK(CsvRows("name,year\nAda,1815\n\"Hopper, Grace\",1906\n") ==
        Lines{"name: Ada; year: 1815", "name: Hopper, Grace; year: 1906"});
  CHECK(CsvRows("a,b\r\n\"two\r\nlines\",\"say \"\"hi\"\"\"\r\n") ==
        Lines{"a: two lines; b: say \"hi\""});
  CHECK(CsvRows("a;b\n1,5;2\n3;4,5\n") == Lines{"a: 1,5; b: 2", "a: 3; b: 4,5"});
  CHECK(CsvRows("a|b\n1|2\n") == Lines{"a: 1; b: 2"});
  CHECK(CsvRows("a\tb\n1\t2\n", "/t/x.tsv") == Lines{"a: 1; b: 2"});
  CHECK(CsvRows("1,2\n3,4\n") == Lines{"column 1: 1; column 2: 2", "column 1: 3; column 2: 4"});
  CHECK(CsvRows("one\nalpha\nbeta\n") == Lines{"one: alpha", "one: beta"});
  CHECK(CsvRows("a,b\n") == Lines{"a; b"});
}

TEST_CASE("ragged CSV records keep all their fields") {
  CHECK(CsvRows("a,b\n1\n1,2,3\n,,\n\n4,\n") == Lines{"a: 1", "a: 1; b: 2; column 3: 3", "a: 4"});
}

TEST_CASE("a quote that is never closed is reported and read as text") {
  const ParsedFile file = Parse("a,b\n1,\"2\n3,4\n", "/t/table.csv", Format::kCsv);
  CHECK(Rows(file) == Lines{"a: 1; b: \"2", "a: 3; b: 4"});
  REQUIRE(file.problems.size() == 1);
  CHECK(file.problems[0].message().starts_with("/t/table.csv:2: "));
}

TEST_CASE("CSV text is bounded") {
  ParseOptions options;
  options.max_text_bytes = 100;
  std::string content = "a column with a long name\n";
  for (int i = 0; i < 20; ++i) content += "x\n";
  CHECK(ParseContent(content, "/t/x.csv", Format::kCsv, options).status().code() ==
        StatusCode::kResourceExhausted);
  const std::string wide(40'000, ',');
  CHECK(ParseContent(wide + "\nx\n", "/t/x.csv", Format::kCsv).status().code() ==
        StatusCode::kInvalidArgument);
}

TEST_CASE("tables of real data have a row a record") {
  const auto data = test::SharedData("docs-csv");
  if (!data) RAG_SKIP("docs-csv is not there");
  const std::pair<const char*, size_t> kTables[] = {{"penguins", 344}, {"tips", 244},
                                                    {"titanic", 891},  {"mpg", 398},
                                                    {"planets", 1035}, {"flights", 144}};
  for (const auto& [name, rows] : kTables) {
    const Result<ParsedFile> parsed = ParseFile((*data / (std::string(name) + ".csv")).string());
    REQUIRE_OK(parsed);
    INFO(name);
    CHECK(Rows(*parsed).size() == rows);
    CHECK(parsed->documents[0].metadata.Find("rows")->as_int() == static_cast<int64_t>(rows));
    CHECK(parsed->problems.empty());
  }
}

TEST_CASE("each line of JSON Lines is a document") {
  const ParsedFile file = Parse(
      "{\"id\": \"a\", \"title\": \"T\", \"text\": \"one\\n\\ntwo\", \"year\": 2020}\n"
      "\n{\"_id\": 7, \"text\": \"three\", \"metadata\": {\"lang\": \"ko\"}}\r\n"
      "{\"text\": \"four\"}\n{\"title\": \"only\", \"text\": \"\"}",
      "/t/c.jsonl", Format::kJsonl);
  REQUIRE(file.documents.size() == 4);
  CHECK(file.problems.empty());
  CHECK(file.documents[0].key == "a");
  CHECK(file.documents[0].title == "T");
  CHECK(file.documents[0].blocks.size() == 2);
  CHECK(ToJson(file.documents[0].metadata) == "{\"year\":2020}");
  CHECK(file.documents[0].source == "/t/c.jsonl");
  CHECK(file.documents[1].key == "7");
  CHECK(ToJson(file.documents[1].metadata) == "{\"lang\":\"ko\"}");
  CHECK(file.documents[2].key == "/t/c.jsonl#L4");
  CHECK(file.documents[3].text == "only");
}

TEST_CASE("an id that stands in two lines is the first one's, and both lines are named") {
  const ParsedFile file = Parse(
      "{\"id\": \"a\", \"text\": \"one\"}\n\n{\"id\": \"b\", \"text\": \"two\"}\n"
      "{\"_id\": \"a\", \"text\": \"three\"}\n",
      "/t/c.jsonl", Format::kJsonl);
  REQUIRE(file.documents.size() == 2);
  CHECK(file.documents[0].text == "one");
  REQUIRE(file.problems.size() == 1);
  CHECK(file.problems[0].code() == StatusCode::kInvalidArgument);
  CHECK(file.problems[0].message() ==
        "/t/c.jsonl:4: document 'a' is there already, in /t/c.jsonl:1, and is kept");
}

TEST_CASE("bad lines of JSON Lines are named, and the others kept") {
  const ParsedFile file = Parse(
      "{\"text\": \"good\"}\n{\"text\": 5}\nnot json\n[1]\n{\"id\": 1.5, \"text\": \"x\"}\n{}\n",
      "/t/c.jsonl", Format::kJsonl);
  CHECK(file.documents.size() == 1);
  REQUIRE(file.problems.size() == 5);
  for (size_t i = 0; i < 5; ++i) {
    INFO(file.problems[i].message());
    CHECK(file.problems[i].message().starts_with("/t/c.jsonl:" + std::to_string(i + 2) + ": "));
    CHECK(file.problems[i].code() == StatusCode::kInvalidArgument);
  }
  const Result<ParsedFile> none = ParseContent("nothing\n", "/t/c.jsonl", Format::kJsonl);
  CHECK(none.status().code() == StatusCode::kInvalidArgument);
  CHECK(none.status().message().starts_with("/t/c.jsonl:1: "));
  std::string many;
  for (int i = 0; i < 3'000; ++i) many += "x\n";
  const ParsedFile flood = Parse(many + "{\"text\": \"x\"}", "/t/c.jsonl", Format::kJsonl);
  CHECK(flood.problems.size() == 1'001);
}

TEST_CASE("JSON files are read as lists of documents, or as they are") {
  const ParsedFile list = Parse("[{\"id\": \"x\", \"text\": \"one\"},\n {\"text\": \"two\"}]",
                                "/t/c.json", Format::kJsonl);
  REQUIRE(list.documents.size() == 2);
  CHECK(list.documents[0].key == "x");
  CHECK(list.documents[1].key == "/t/c.json#2");
  const ParsedFile one =
      Parse("{\"text\": \"one\", \"lang\": \"en\"}", "/t/c.json", Format::kJsonl);
  REQUIRE(one.documents.size() == 1);
  CHECK(one.documents[0].key == "/t/c.json");
  const ParsedFile other = Parse("{\"port\": 80}\n", "/t/c.json", Format::kJsonl);
  REQUIRE(other.documents.size() == 1);
  CHECK(other.documents[0].text == "{\"port\": 80}\n");
  CHECK(other.documents[0].blocks[0].kind == BlockKind::kCode);
  const ParsedFile lines =
      Parse("{\"text\": \"one\"}\n{\"text\": \"two\"}\n", "/t/c.json", Format::kJsonl);
  CHECK(lines.documents.size() == 2);
  CHECK(ParseContent("{\"text\": ", "/t/c.json", Format::kJsonl).status().code() ==
        StatusCode::kInvalidArgument);
}

}  // namespace rag
