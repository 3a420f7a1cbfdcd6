// Office, web and text files of three projects' own test folders.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "engine/chunk.h"
#include "engine/parse.h"
#include "engine/parse/paragraphs.h"
#include "lib/base/value.h"
#include "tests/engine/check_document.h"
#include "tests/support/support.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

// Letters and digits alone: white space, emphasis and the marks of tables differ between tools.
std::string Letters(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) || (c & 0x80) != 0) out += c;
  }
  return out;
}

}  // namespace

TEST_CASE("what markitdown's tests expect of its files is in the text") {
  const auto data = test::SharedData("docs-office");
  if (!data) RAG_SKIP("docs-office is not there");
  const Result<Value> list = ParseJson(test::ReadAll(*data / "markitdown/EXPECTED_strings.json"));
  REQUIRE_OK(list);
  const std::set<std::string> formats = {".docx", ".pptx", ".xlsx", ".epub",
                                         ".html", ".csv",  ".pdf",  ".json"};
  const std::set<std::string> charted = {"a3f6004b-6f4f-4ea8-bee3-3741f4dc385f", "2003"};
  size_t strings = 0;
  for (const Value& entry : list->as_array()) {
    const std::string name = entry.Find("filename")->as_string();
    if (!formats.contains(fs::path(name).extension())) continue;
    const Result<ParsedFile> parsed = ParseFile((*data / "markitdown" / name).string());
    INFO(name);
    REQUIRE_OK(parsed);
    const Document& document = parsed->documents.at(0);
    const std::string letters = Letters(document.text);
    for (const Value& expected : entry.Find("must_include")->as_array()) {
      const std::string& text = expected.as_string();
      // Addresses of links, embedded pictures and the rule below a table's head are no text here.
      if (text.find("](") != std::string::npos || text.starts_with("data:") ||
          text.starts_with("| ---")) {
        continue;
      }
      // What charts show is left out.
      if (name == "test.pptx" && charted.contains(text)) continue;
      // A book's properties are metadata.
      if (text == "**Authors:** Test Author") {
        CHECK(document.metadata.Find("author")->as_string() == "Test Author");
        continue;
      }
      if (text == "A test EPUB document for MarkItDown testing") {
        CHECK(document.metadata.Find("description")->as_string() == text);
        continue;
      }
      INFO(text);
      if (name == "test_mskanji.csv") {
        // Rows are written with their columns' names: every cell is there.
        size_t begin = 0;
        while (begin < text.size()) {
          const size_t end = std::min(text.find('|', begin), text.size());
          const std::string cell(Trim(std::string_view(text).substr(begin, end - begin)));
          CHECK(document.text.find(cell) != std::string::npos);
          begin = end + 1;
        }
      } else {
        CHECK(letters.find(Letters(text)) != std::string::npos);
      }
      ++strings;
    }
    for (const Value& unwanted : entry.Find("must_not_include")->as_array()) {
      INFO(unwanted.as_string());
      // What it keeps out of a page's text; we keep pages' navigation only by its element.
      if (name == "test_wikipedia.html") continue;
      CHECK(document.text.find(unwanted.as_string()) == std::string::npos);
    }
  }
  CHECK(strings >= 20);
}

TEST_CASE("every file of the office sets is read, or refused for a known reason") {
  const auto data = test::SharedData("docs-office");
  if (!data) RAG_SKIP("docs-office is not there");
  std::map<std::string, size_t> read;
  std::map<StatusCode, size_t> refused;
  for (const auto& entry : fs::recursive_directory_iterator(*data)) {
    if (!entry.is_regular_file()) continue;
    const std::string path = entry.path().string();
    INFO(path);
    const Result<ParsedFile> parsed = ParseFile(path);
    if (!parsed.ok()) {
      INFO(parsed.status().ToString());
      CHECK(parsed.status().message().find(path) != std::string::npos);
      CHECK((parsed.status().code() == StatusCode::kUnsupported ||
             parsed.status().code() == StatusCode::kInvalidArgument));
      ++refused[parsed.status().code()];
      // Only formats that are not read, and documents without any text.
      if (parsed.status().code() == StatusCode::kInvalidArgument) {
        CHECK((parsed.status().message().find("no text") != std::string::npos));
      }
      continue;
    }
    ++read[std::string(FormatName(parsed->format))];
    for (const Document& document : parsed->documents) {
      test::CheckDocument(document);
      ChunkOptions options;
      const Result<std::vector<Chunk>> chunks = ChunkDocument(document, options, nullptr);
      REQUIRE_OK(chunks);
      test::CheckChunks(document, *chunks, options);
    }
  }
  CHECK(read["docx"] >= 50);
  CHECK(read["pptx"] >= 8);
  CHECK(read["xlsx"] >= 7);
  CHECK(read["epub"] >= 2);
  CHECK(read["odf"] >= 3);
  CHECK(read["html"] >= 15);
  CHECK(read["csv"] >= 12);
  CHECK(read["markdown"] >= 5);
  CHECK(read["pdf"] >= 7);
}

TEST_CASE("headings, lists and tables of HTML and DOCX pages come out as such") {
  const auto data = test::SharedData("docs-docling-expected");
  if (!data) RAG_SKIP("docs-docling-expected is not there");
  const auto headings = [](const fs::path& path) {
    const Result<ParsedFile> parsed = ParseFile(path.string());
    REQUIRE_OK(parsed);
    const Document& document = parsed->documents.at(0);
    std::vector<std::string> out;
    for (const Block& block : document.blocks) {
      if (block.kind != BlockKind::kHeading) continue;
      out.push_back(std::to_string(block.level) + " " +
                    document.text.substr(block.begin, block.end - block.begin));
    }
    return out;
  };
  const std::vector<std::string> docx = headings(*data / "docx/unit_test_headers.docx");
  REQUIRE(docx.size() >= 4);
  CHECK(docx[0] == "1 Test Document");
  CHECK(docx[1] == "1 Section 1");
  CHECK(docx[2] == "2 Section 1.1");
  const std::vector<std::string> html = headings(*data / "html/wiki_duck.html");
  CHECK(std::find(html.begin(), html.end(), "1 Duck") != html.end());
  CHECK(std::find(html.begin(), html.end(), "2 Etymology") != html.end());
}

TEST_CASE("the Universal Declaration in all its languages is valid text") {
  const auto data = test::SharedData("docs-udhr");
  if (!data) RAG_SKIP("docs-udhr is not there");
  test::TemporaryFolder folder;
  const std::string command = "cd '" + folder.path().string() + "' && python3 -m zipfile -e '" +
                              (*data / "udhr2.zip").string() + "' . > /dev/null 2>&1";
  REQUIRE(std::system(command.c_str()) == 0);
  size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder.path())) {
    if (entry.path().extension() != ".txt") continue;
    const std::string path = entry.path().string();
    INFO(path);
    const Result<ParsedFile> parsed = ParseFile(path);
    if (fs::file_size(entry.path()) == 0) {
      CHECK_FALSE(parsed.ok());
      continue;
    }
    REQUIRE_OK(parsed);
    const Document& document = parsed->documents.at(0);
    test::CheckDocument(document);
    for (const ChunkStrategy strategy : {ChunkStrategy::kSentence, ChunkStrategy::kRecursive}) {
      ChunkOptions options;
      options.strategy = strategy;
      options.chunk_tokens = 64;
      options.overlap_tokens = 16;
      const Result<std::vector<Chunk>> chunks = ChunkDocument(document, options, nullptr);
      REQUIRE_OK(chunks);
      test::CheckChunks(document, *chunks, options);
    }
    ++files;
  }
  CHECK(files >= 380);
}

}  // namespace rag
