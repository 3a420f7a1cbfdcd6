// Plain text, character sets, source code, detection and the limits that hold for all formats.
#include <catch2/catch.hpp>
#include <fstream>

#include "engine/parse.h"
#include "engine/parse/encoding.h"
#include "tests/engine/check_document.h"
#include "tests/support/support.h"

namespace rag {
namespace {

Document ParseOne(std::string_view content, const std::string& path, Format format) {
  Result<ParsedFile> parsed = ParseContent(content, path, format);
  REQUIRE_OK(parsed);
  REQUIRE(parsed->documents.size() == 1);
  test::CheckDocument(parsed->documents[0]);
  return std::move(parsed->documents[0]);
}

std::string BlockText(const Document& document, size_t i) {
  const Block& block = document.blocks.at(i);
  return document.text.substr(block.begin, block.end - block.begin);
}

Format Detected(const std::string& path, std::string_view bytes) {
  const Result<Format> format = DetectFormat(path, bytes);
  REQUIRE_OK(format);
  return *format;
}

}  // namespace

TEST_CASE("text is kept byte for byte and cut into paragraphs") {
  const std::string content = "First line\r\nstill first\r\n\r\n  Second \n\n\nThird";
  const Document document = ParseOne(content, "/a/notes.txt", Format::kText);
  CHECK(document.text == content);
  CHECK(document.title == "notes");
  CHECK(document.key == "/a/notes.txt");
  REQUIRE(document.blocks.size() == 3);
  CHECK(BlockText(document, 0) == "First line\r\nstill first");
  CHECK(BlockText(document, 1) == "Second");
  CHECK(BlockText(document, 2) == "Third");
}

TEST_CASE("character sets are recognized") {
  const std::string korean = "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.";
  const auto decoded = [](std::string_view bytes) {
    Result<std::string> text = DecodeText(bytes);
    return text.ok() ? *text : text.status().ToString();
  };
  CHECK(decoded("\xEF\xBB\xBF" + korean) == korean);
  CHECK(decoded(std::string_view("\xFF\xFEh\0\xE9\0!\0", 8)) == "h\u00e9!");
  CHECK(decoded(std::string_view("\xFE\xFF\0h\0\xE9\0!", 8)) == "h\u00e9!");
  CHECK(decoded(std::string_view("p\0l\0a\0i\0n\0 \0t\0e\0x\0t\0", 20)) == "plain text");
  CHECK(decoded("Stra\xDF"
                "e und caf\xE9, \x93quoted\x94 \x80 5") ==
        "Stra\u00dfe und caf\u00e9, \u201cquoted\u201d \u20ac 5");
  // "한국어 문서 검색을 위한 시험 문장입니다. 똠방각하와 시콜라" in CP949; 똠 is in its extension
  // of EUC-KR only.
  CHECK(decoded("\xC7\xD1\xB1\xB9\xBE\xEE \xB9\xAE\xBC\xAD \xB0\xCB\xBB\xF6\xC0\xBB "
                "\xC0\xA7\xC7\xD1 \xBD\xC3\xC7\xE8 \xB9\xAE\xC0\xE5\xC0\xD4\xB4\xCF\xB4\xD9. "
                "\x8C\x63\xB9\xE6\xB0\xA2\xC7\xCF\xBF\xCD \xBD\xC3\xC4\xDD\xB6\xF3") ==
        "한국어 문서 검색을 위한 시험 문장입니다. 똠방각하와 시콜라");
  // Shift-JIS.
  CHECK(decoded("\x82\xB1\x82\xEA\x82\xCD\x93\xFA\x96\x7B\x8C\xEA\x82\xCC\x95\xB6\x8F\xCD\x82\xC5"
                "\x82\xB7\x81\x42\x8C\x9F\x8D\xF5\x82\xCC\x83\x65\x83\x58\x83\x67\x81\x42") ==
        "これは日本語の文章です。検索のテスト。");
  // UTF-8 with a broken byte is repaired, not read as another set.
  CHECK(decoded(korean + "\xFF" + korean) == korean + "\uFFFD" + korean);
  CHECK(decoded(korean.substr(0, korean.size() - 2)) ==
        korean.substr(0, korean.size() - 4) + "\uFFFD");
}

TEST_CASE("what is not text is refused") {
  for (const Format format : {Format::kText, Format::kMarkdown, Format::kHtml, Format::kCsv,
                              Format::kJsonl, Format::kCode}) {
    INFO(FormatName(format));
    const Result<ParsedFile> zero =
        ParseContent(std::string_view("ab\0\x01\x02 cd", 8), "/x/f", format);
    CHECK(zero.status().code() == StatusCode::kInvalidArgument);
    CHECK(zero.status().message().starts_with("/x/f: "));
    const Result<ParsedFile> empty = ParseContent("", "/x/f", format);
    CHECK(empty.status().code() == StatusCode::kInvalidArgument);
    CHECK(empty.status().message() == "/x/f: the file is empty");
    const Result<ParsedFile> blank = ParseContent(" \n\n", "/x/f", format);
    CHECK(blank.status().code() == StatusCode::kInvalidArgument);
    CHECK(blank.status().message().starts_with("/x/f: "));
  }
}

TEST_CASE("a file over the limit is refused without being read") {
  test::TemporaryFolder folder;
  const std::string path = folder.file("large.txt");
  std::ofstream(path) << std::string(100, 'x');
  ParseOptions options;
  options.max_file_bytes = 99;
  const Result<ParsedFile> parsed = ParseFile(path, options);
  CHECK(parsed.status().code() == StatusCode::kResourceExhausted);
  CHECK(parsed.status().message().find(path) != std::string::npos);
  CHECK(parsed.status().message().find("100") != std::string::npos);
  CHECK(parsed.status().message().find("99") != std::string::npos);
  options.max_file_bytes = 100;
  CHECK(ParseFile(path, options).ok());
  const Result<ParsedFile> missing = ParseFile(folder.file("absent.txt"), options);
  CHECK(missing.status().code() == StatusCode::kNotFound);
}

TEST_CASE("formats are known by name, and binary ones by their bytes") {
  CHECK(Detected("/a/b.md", "# x") == Format::kMarkdown);
  CHECK(Detected("/a/b.MD", "# x") == Format::kMarkdown);
  CHECK(Detected("/a/README", "hello") == Format::kText);
  CHECK(Detected("/a/page", "\n<!DOCTYPE html><html>") == Format::kHtml);
  CHECK(Detected("/a/b.py", "x = 1") == Format::kCode);
  CHECK(Detected("/a/b.json", "{}") == Format::kJsonl);
  CHECK(Detected("/a/b.tsv", "a\tb") == Format::kCsv);
  // A PDF under another name is read as what it is.
  CHECK(Detected("/a/b.docx", "%PDF-1.7\n") == Format::kPdf);
  CHECK(Detected("/a/b.txt", "%PDF-1.7\n") == Format::kPdf);
  const auto zip = [](const std::string& entry) {
    return "PK\x03\x04" + std::string(26, '\0') + entry;
  };
  CHECK(Detected("/a/b.bin", zip("_rels/.rels") + zip("word/document.xml")) == Format::kDocx);
  CHECK(Detected("/a/b.docx", zip("[Content_Types].xml") + zip("ppt/p.xml")) == Format::kPptx);
  CHECK(Detected("/a/b", zip("xl/workbook.xml")) == Format::kXlsx);
  CHECK(Detected("/a/b", zip("mimetypeapplication/epub+zip")) == Format::kEpub);
  CHECK(Detected("/a/b.epub", zip("mimetypeapplication/vnd.oasis.opendocument.text")) ==
        Format::kOdf);
  CHECK(Detected("/a/b.xlsx", zip("docProps/app.xml")) == Format::kXlsx);
  CHECK(Detected("/a/b.txt", "\x89PNG\r\n\x1A\n") == Format::kImage);
  CHECK(Detected("/a/b", "GIF89a") == Format::kImage);
  CHECK(Detected("/a/b.pdf", std::string("RIFF....WEBPVP8 ")) == Format::kImage);
  // Named as a binary format that it is not: its parser says so.
  CHECK(Detected("/a/b.pdf", "hello") == Format::kPdf);
  CHECK(ParseContent("hello", "/a/b.pdf", Format::kPdf).status().code() ==
        StatusCode::kInvalidArgument);
  CHECK(ParseContent("hello", "/a/b.docx", Format::kDocx).status().code() ==
        StatusCode::kInvalidArgument);
  const auto refused = [](const std::string& path, std::string_view bytes) {
    const Status status = DetectFormat(path, bytes).status();
    CHECK(status.code() == StatusCode::kUnsupported);
    CHECK(status.message().starts_with(path));
    return status.message();
  };
  CHECK(refused("/a/b.txt", std::string_view("II*\0", 4)).find("TIFF") != std::string::npos);
  CHECK(refused("/a/b.jar", std::string("PK\x03\x04")).find(".jar") != std::string::npos);
  CHECK(refused("/a/b.rtf", "{\\rtf1").find("RTF") != std::string::npos);
  CHECK(refused("/a/b.dat", std::string_view("\0\x01\x02\x03", 4)).find("00 01 02 03") !=
        std::string::npos);
}

TEST_CASE("source code is cut at its top-level definitions") {
  const std::string content =
      "#include <x>\n\nint A() {\n  int a = 1;\n\n  return a;\n}\n\n// About B.\nint B() {\n"
      "  return 2;\n}\n";
  const Document document = ParseOne(content, "/src/two.cc", Format::kCode);
  CHECK(document.text == content);
  CHECK(document.title == "two.cc");
  CHECK(document.metadata.Find("language")->as_string() == "c++");
  CHECK(document.metadata.Find("lines")->as_int() == 12);
  REQUIRE(document.blocks.size() == 3);
  CHECK(document.blocks[1].kind == BlockKind::kCode);
  CHECK(BlockText(document, 1) == "int A() {\n  int a = 1;\n\n  return a;\n}");
  CHECK(BlockText(document, 2) == "// About B.\nint B() {\n  return 2;\n}");
}

}  // namespace rag
