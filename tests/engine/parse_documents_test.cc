// Presentations, spreadsheets, books and OpenDocument files: what comes out of files that other
// libraries made, beside what these libraries read from them (golden/documents).
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>

#include "engine/chunk.h"
#include "engine/parse.h"
#include "engine/parse/number_format.h"
#include "engine/parse/sheet_rows.h"
#include "lib/base/value.h"
#include "tests/engine/check_document.h"
#include "tests/support/support.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

const fs::path kFolder = fs::path(RAG_SOURCE_DIR) / "tests/golden/documents";

Document Parse(const std::string& name) {
  Result<ParsedFile> parsed = ParseFile((kFolder / name).string());
  REQUIRE_OK(parsed);
  CHECK(parsed->problems.empty());
  REQUIRE(parsed->documents.size() == 1);
  test::CheckDocument(parsed->documents[0]);
  return parsed->documents[0];
}

std::string TextOf(const Document& document, const Block& block) {
  return document.text.substr(block.begin, block.end - block.begin);
}

std::string WithoutSpace(std::string text) {
  std::erase_if(text, [](char c) { return c == ' ' || c == '\n' || c == '|'; });
  return text;
}

Value Expected() {
  Result<Value> expected = ParseJson(test::ReadAll(kFolder / "expected.json"));
  REQUIRE_OK(expected);
  return std::move(expected).value();
}

// The blocks are each section's heading and then its texts, and nothing else.
void CheckSections(const Document& document, const Value& sections) {
  size_t at = 0;
  for (const Value& section : sections.as_array()) {
    REQUIRE(at < document.blocks.size());
    const Block& heading = document.blocks[at++];
    CHECK(heading.kind == BlockKind::kHeading);
    CHECK(heading.level == 1);
    CHECK(TextOf(document, heading) == section.Find("heading")->as_string());
    const Value* page = section.Find("page");
    const uint32_t number = page == nullptr ? 0 : static_cast<uint32_t>(page->as_int());
    CHECK(heading.page == number);
    for (const Value& text : section.Find("texts")->as_array()) {
      REQUIRE(at < document.blocks.size());
      CHECK(TextOf(document, document.blocks[at]) == text.as_string());
      CHECK(document.blocks[at].page == number);
      ++at;
    }
  }
  CHECK(at == document.blocks.size());
}

void CheckProperties(const Document& document, const Value& expected) {
  const Value* title = expected.Find("title");
  if (title != nullptr) CHECK(document.title == title->as_string());
  const Value* author = expected.Find("author");
  if (author == nullptr) return;
  const Value* found = document.metadata.Find("author");
  REQUIRE(found != nullptr);
  CHECK(found->as_string() == author->as_string());
}

}  // namespace

TEST_CASE(
    "presentations, spreadsheets and OpenDocument files read as their own libraries read them") {
  const Value expected = Expected();
  for (const char* name : {"made.pptx", "made.xlsx", "made.odt", "made.ods", "made.odp"}) {
    INFO(name);
    const Document document = Parse(name);
    const Value* file = expected.Find(name);
    REQUIRE(file != nullptr);
    CheckSections(document, *file->Find("sections"));
    CheckProperties(document, *file);
  }
}

TEST_CASE("an EPUB file's chapters come in the order of its spine") {
  const Value expected = Expected();
  const Document document = Parse("made.epub");
  const Value* file = expected.Find("made.epub");
  CheckProperties(document, *file);
  CHECK(document.metadata.Find("lang")->as_string() == "en-GB");
  CHECK(document.media_type == "application/epub+zip");
  std::string words;
  for (const Value& section : file->Find("sections")->as_array()) {
    words += section.Find("heading")->as_string() + section.Find("words")->as_string();
  }
  CHECK(WithoutSpace(document.text) == WithoutSpace(words));
  std::vector<BlockKind> kinds;
  for (const Block& block : document.blocks) kinds.push_back(block.kind);
  CHECK(kinds ==
        std::vector<BlockKind>{BlockKind::kHeading, BlockKind::kParagraph, BlockKind::kHeading,
                               BlockKind::kHeading, BlockKind::kListItem, BlockKind::kListItem,
                               BlockKind::kTableRow, BlockKind::kTableRow, BlockKind::kHeading,
                               BlockKind::kParagraph, BlockKind::kQuote});
}

TEST_CASE("chunks of slides and sheets have their page and heading") {
  ChunkOptions options;
  options.strategy = ChunkStrategy::kStructure;
  const auto find = [&](const Document& document, const std::string& text) {
    const Result<std::vector<Chunk>> chunks = ChunkDocument(document, options, nullptr);
    REQUIRE_OK(chunks);
    test::CheckChunks(document, *chunks, options);
    const size_t at = document.text.find(text);
    REQUIRE(at != std::string::npos);
    const auto chunk = std::find_if(chunks->begin(), chunks->end(), [&](const Chunk& candidate) {
      return candidate.begin <= at && at < candidate.end;
    });
    REQUIRE(chunk != chunks->end());
    return *chunk;
  };
  const Chunk slide = find(Parse("made.pptx"), "purple ones");
  CHECK(slide.page == 3);
  CHECK(slide.headings == std::vector<std::string>{"What they eat"});
  const Chunk untitled = find(Parse("made.pptx"), "inside a group");
  CHECK(untitled.page == 4);
  CHECK(untitled.headings == std::vector<std::string>{"Slide 4"});
  CHECK(find(Parse("made.xlsx"), "name: crabs").headings ==
        std::vector<std::string>{"Second & last"});
}

TEST_CASE("number formats tell dates from numbers") {
  const auto is = [](std::string_view code, bool date, bool time, bool duration = false) {
    INFO(code);
    const DateParts parts = DatePartsOf(code);
    CHECK(parts.date == date);
    CHECK(parts.time == time);
    CHECK(parts.duration == duration);
  };
  is("General", false, false);
  is("0.00%", false, false);
  is("#,##0.00_-;[Red]-#,##0.00_d", false, false);
  is("\"days\" 0", false, false);
  is("0\\d", false, false);
  is("[$-409]0", false, false);
  is("0.00E+00", false, false);
  is("yyyy\\-mm\\-dd", true, false);
  is("mmm", true, false);
  is("[$-412]yyyy\"년\" m\"월\" d\"일\";@", true, false);
  is("mm:ss.0", false, true);
  is("d/m/yy h:mm AM/PM", true, true);
  is("[h]:mm:ss", false, true, true);
  CHECK(BuiltInDateParts(14).date);
  CHECK(BuiltInDateParts(22).time);
  CHECK_FALSE(BuiltInDateParts(10).date);
  // The days around the one that 1900 did not have (ECMA-376, part 1, 18.17.4.1).
  CHECK(DateText(1, {true}, false) == "1900-01-01");
  CHECK(DateText(59, {true}, false) == "1900-02-28");
  CHECK(DateText(60, {true}, false) == "1900-02-29");
  CHECK(DateText(61, {true}, false) == "1900-03-01");
  CHECK(DateText(2'958'465, {true}, false) == "9999-12-31");
  CHECK(DateText(0, {true}, true) == "1904-01-01");
  CHECK(DateText(45'356.604166666664, {true, true}, false) == "2024-03-05 14:30:00");
  CHECK(DateText(0.5, {true, true}, false) == "12:00:00");
  CHECK(DateText(1.5, {false, true, true}, false) == "36:00:00");
  CHECK(DateText(-1, {true}, false) == "");
  CHECK(DateText(1e300, {true}, false) == "");
}

TEST_CASE("a sheet's titles, tables and notes are told apart") {
  const auto rows = [](const std::vector<std::vector<std::string>>& table) {
    TextBuilder builder(1 << 20);
    SheetRows sheet(builder);
    for (size_t i = 0; i < table.size(); ++i) {
      SheetRow row;
      row.number = i;
      for (size_t column = 0; column < table[i].size(); ++column) {
        const std::string& text = table[i][column];
        if (text.empty()) continue;
        row.all_text = row.all_text && (text[0] < '0' || text[0] > '9');
        row.fields.push_back({column, text});
      }
      sheet.Add(std::move(row));
    }
    sheet.End();
    Document document;
    REQUIRE(std::move(builder).Finish(document).ok());
    std::vector<std::string> out;
    for (const Block& block : document.blocks) {
      out.push_back((block.kind == BlockKind::kTableRow ? "" : "# ") + TextOf(document, block));
    }
    return out;
  };
  using Lines = std::vector<std::string>;
  CHECK(rows({{"Sales"}, {}, {"bay", "sum"}, {"North", "4"}, {"South", "5"}}) ==
        Lines{"# Sales", "bay: North; sum: 4", "bay: South; sum: 5"});
  CHECK(rows({{"Sales"}, {"in euros"}, {"bay", "sum"}, {"North", "4"}}) ==
        Lines{"# Sales", "# in euros", "bay: North; sum: 4"});
  CHECK(rows({{"a", "b"}, {"1", "2"}, {}, {"Costs"}, {"c", "d"}, {"3", "4"}}) ==
        Lines{"a: 1; b: 2", "# Costs", "c: 3; d: 4"});
  CHECK(rows({{"a", "b"}, {"1", "2"}, {}, {"c", "d"}, {"3", "4"}}) ==
        Lines{"a: 1; b: 2", "c: 3; d: 4"});
  // A gap within a table of texts is one.
  CHECK(rows({{"a", "b"}, {"x", "y"}, {}, {"u", "v"}, {"w", "z"}}) ==
        Lines{"a: x; b: y", "a: u; b: v", "a: w; b: z"});
  CHECK(rows({{"a", "b"}, {"1", "2"}, {}, {"Source: us"}}) == Lines{"a: 1; b: 2", "# Source: us"});
  CHECK(rows({{"word"}, {"otter"}, {"crab"}}) == Lines{"word: otter", "word: crab"});
  CHECK(rows({{"1", "2"}, {"3", "", "4"}}) ==
        Lines{"column 1: 1; column 2: 2", "column 1: 3; column 3: 4"});
}

}  // namespace rag
