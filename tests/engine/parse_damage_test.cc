// Files that are empty, cut off, random, mutated or not what they are called: an error that names
// the file, or a document that holds together, and never a crash.
#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>
#include <random>

#include "engine/parse.h"
#include "tests/engine/check_document.h"
#include "tests/support/support.h"

namespace rag {
namespace {

constexpr Format kFormats[] = {Format::kText, Format::kMarkdown, Format::kHtml,  Format::kPdf,
                               Format::kDocx, Format::kPptx,     Format::kXlsx,  Format::kOdf,
                               Format::kEpub, Format::kCsv,      Format::kJsonl, Format::kCode,
                               Format::kImage};

bool IsArchive(Format format) {
  return format == Format::kDocx || format == Format::kPptx || format == Format::kXlsx ||
         format == Format::kOdf || format == Format::kEpub;
}

constexpr const char* kDocument =
    R"(<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>
<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>First &amp; last</w:t></w:r></w:p>
<w:p><w:r><w:t xml:space="preserve">Some </w:t></w:r><w:del><w:r><w:delText>old </w:delText></w:r>
</w:del><w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:r><w:t xml:space="preserve"> text.</w:t></w:r></w:p>
<w:p><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr><w:r><w:t>item</w:t></w:r></w:p>
<w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>b</w:t></w:r></w:p>
</w:tc></w:tr><w:tr><w:tc><w:p><w:r><w:t>c</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
<w:p><w:pPr><w:pStyle w:val="Odd"/></w:pPr><w:r><w:t>Based on a heading</w:t></w:r></w:p>
</w:body></w:document>)";

constexpr const char* kStyles =
    R"(<w:styles xmlns:w="x"><w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/>
</w:style><w:style w:type="paragraph" w:styleId="Berschrift"><w:name w:val="heading 2"/><w:pPr>
<w:outlineLvl w:val="1"/></w:pPr></w:style><w:style w:type="paragraph" w:styleId="Odd">
<w:name w:val="odd"/><w:basedOn w:val="Berschrift"/></w:style><w:style w:type="paragraph" w:styleId="Loop">
<w:name w:val="loop"/><w:basedOn w:val="Loop"/></w:style></w:styles>)";

uint32_t Crc32(const std::string& bytes) {
  uint32_t crc = 0xFFFFFFFF;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320 : 0);
  }
  return ~crc;
}

std::string LittleEndian(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

// A deflate stream (RFC 1951, fixed codes) of one space and `repeats` times 258 more of them.
std::string SwellingDeflate(size_t repeats) {
  std::string out;
  unsigned bits = 0;
  int count = 0;
  const auto put = [&](bool bit) {
    bits |= static_cast<unsigned>(bit) << count;
    if (++count == 8) {
      out += static_cast<char>(bits);
      bits = 0;
      count = 0;
    }
  };
  // Codes stand with their highest bit first.
  const auto code = [&](unsigned value, int length) {
    for (int i = length - 1; i >= 0; --i) put(((value >> i) & 1) != 0);
  };
  put(true);  // the last block
  put(true);  // fixed codes: 01, lowest bit first
  put(false);
  code(0x30 + ' ', 8);
  for (size_t i = 0; i < repeats; ++i) {
    code(0xC0 + 285 - 280, 8);  // length 258
    code(0, 5);                 // distance 1
  }
  code(0, 7);
  while (count != 0) put(false);
  return out;
}

struct ZipEntry {
  std::string name;
  std::string content;
  size_t repeats = 0;  // of a swelling entry, which has no content of its own
};

// APPNOTE 4.3: local headers and data, the central directory, its end. Entries are stored.
std::string Zip(const std::vector<ZipEntry>& entries) {
  std::string out;
  std::string directory;
  for (const ZipEntry& entry : entries) {
    const bool swells = entry.repeats > 0;
    const std::string data = swells ? SwellingDeflate(entry.repeats) : entry.content;
    const uint64_t size = swells ? 1 + 258 * entry.repeats : data.size();
    const std::string common = LittleEndian(20, 2) + LittleEndian(0, 2) +
                               LittleEndian(swells ? 8 : 0, 2) + LittleEndian(0, 4) +
                               LittleEndian(swells ? 0 : Crc32(data), 4) +
                               LittleEndian(data.size(), 4) + LittleEndian(size, 4) +
                               LittleEndian(entry.name.size(), 2) + LittleEndian(0, 2);
    directory += "PK\x01\x02" + LittleEndian(20, 2) + common + std::string(10, '\0') +
                 LittleEndian(out.size(), 4) + entry.name;
    out += "PK\x03\x04" + common + entry.name + data;
  }
  const size_t begin = out.size();
  out += directory;
  out += "PK\x05\x06" + LittleEndian(0, 4) + LittleEndian(entries.size(), 2) +
         LittleEndian(entries.size(), 2) + LittleEndian(directory.size(), 4) +
         LittleEndian(begin, 4) + LittleEndian(0, 2);
  return out;
}

std::string Docx(const std::string& body, const std::string& styles = kStyles) {
  return Zip({{"word/document.xml", body, 0}, {"word/styles.xml", styles, 0}});
}

std::string Relationships(const std::vector<std::pair<std::string, std::string>>& targets) {
  std::string out = "<Relationships>";
  for (size_t i = 0; i < targets.size(); ++i) {
    out += "<Relationship Id=\"r" + std::to_string(i + 1) + "\" Type=\"http://x/" +
           targets[i].first + "\" Target=\"" + targets[i].second + "\"/>";
  }
  return out + "</Relationships>";
}

constexpr const char* kSlide =
    R"(<p:sld xmlns:p="p" xmlns:a="a"><p:cSld><p:spTree><p:sp><p:nvSpPr><p:nvPr><p:ph/></p:nvPr></p:nvSpPr>
<p:txBody><a:p><a:r><a:t>Item</a:t></a:r><a:br/><a:fld><a:t>field</a:t></a:fld></a:p></p:txBody></p:sp>
<p:sp><p:nvSpPr><p:nvPr><p:ph type="title"/></p:nvPr></p:nvSpPr><p:txBody><a:p><a:r><a:t>Title</a:t></a:r></a:p>
</p:txBody></p:sp><p:grpSp><p:sp><p:txBody><a:p><a:pPr><a:buNone/></a:pPr><a:r><a:t>grouped</a:t></a:r></a:p></p:txBody>
</p:sp></p:grpSp><p:graphicFrame><a:graphic><a:graphicData><a:tbl><a:tr><a:tc><a:txBody><a:p><a:r><a:t>a</a:t></a:r>
</a:p></a:txBody></a:tc><a:tc><a:txBody><a:p><a:r><a:t>b</a:t></a:r></a:p></a:txBody></a:tc></a:tr><a:tr><a:tc vMerge="1"/>
<a:tc><a:txBody><a:p><a:r><a:t>c</a:t></a:r></a:p></a:txBody></a:tc></a:tr></a:tbl></a:graphicData></a:graphic>
</p:graphicFrame><p:graphicFrame><dgm:relIds r:dm="r1"/></p:graphicFrame></p:spTree></p:cSld></p:sld>)";

std::string Pptx(const std::string& slide = kSlide) {
  return Zip(
      {{"ppt/presentation.xml",
        "<p:presentation><p:sldIdLst><p:sldId id=\"9\" r:id=\"r1\"/></p:sldIdLst></p:presentation>",
        0},
       {"ppt/_rels/presentation.xml.rels", Relationships({{"slide", "slides/s.xml"}}), 0},
       {"ppt/slides/s.xml", slide, 0},
       {"ppt/slides/_rels/s.xml.rels", Relationships({{"diagramData", "/ppt/diagrams/d.xml"}}), 0},
       {"ppt/diagrams/d.xml",
        "<d:dataModel><d:ptLst><d:pt><d:t><a:p><a:r><a:t>point</a:t></a:r></a:p></d:t></d:pt>"
        "</d:ptLst></d:dataModel>",
        0}});
}

constexpr const char* kSheet =
    R"(<worksheet><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="inlineStr"><is><r><t>da</t></r>
<r><t>y</t></r><rPh><t>no</t></rPh></is></c></row><row r="2"><c r="A2" t="str"><f>1</f><v>x_x0041_</v></c><c s="1"><v>45356.5</v></c>
<c t="b"><v>1</v></c></row><row r="3"><c r="B3"><v>0.30000000000000004</v></c></row></sheetData>
<mergeCells><mergeCell ref="A2:A3"/></mergeCells></worksheet>)";

std::string Xlsx(const std::string& sheet = kSheet,
                 const std::string& strings = "<sst><si><t>name</t></si></sst>") {
  return Zip(
      {{"xl/workbook.xml",
        "<workbook><sheets><sheet name=\"S\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>", 0},
       {"xl/_rels/workbook.xml.rels",
        Relationships({{"worksheet", "worksheets/a.xml"},
                       {"sharedStrings", "sharedStrings.xml"},
                       {"styles", "styles.xml"}}),
        0},
       {"xl/worksheets/a.xml", sheet, 0},
       {"xl/sharedStrings.xml", strings, 0},
       {"xl/styles.xml",
        "<styleSheet><numFmts><numFmt numFmtId=\"170\" formatCode=\"yyyy/mm/dd hh:mm\"/></numFmts>"
        "<cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"170\"/></cellXfs></styleSheet>",
        0}});
}

constexpr const char* kPackage =
    R"(<package><metadata><dc:title>Book</dc:title></metadata><manifest><item id="a" href="a%20b.xhtml#x"
media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>)";

std::string Epub(
    const std::string& package = kPackage,
    const std::string& chapter = "<html><head><title/></head><body><p>Text</p></body></html>") {
  return Zip(
      {{"mimetype", "application/epub+zip", 0},
       {"META-INF/container.xml",
        "<container><rootfiles><rootfile full-path=\"O/p.opf\"/></rootfiles></container>", 0},
       {"O/p.opf", package, 0},
       {"O/a b.xhtml", chapter, 0}});
}

constexpr const char* kOdfContent =
    R"(<office:document-content><office:automatic-styles><style:style style:name="P1" style:parent-style-name="Title"/>
</office:automatic-styles><office:body><office:text><text:tracked-changes><text:p>gone</text:p></text:tracked-changes>
<text:p text:style-name="P1">Title</text:p><text:h text:outline-level="2">Part</text:h><text:p>a<text:s text:c="2"/>b
<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>note</text:p></text:note-body></text:note></text:p>
<text:list><text:list-item><text:p>item</text:p></text:list-item></text:list><table:table><table:table-row>
<table:table-cell table:number-rows-spanned="2"><text:p>x</text:p></table:table-cell><table:table-cell><text:p>y</text:p>
</table:table-cell></table:table-row><table:table-row><table:covered-table-cell/><table:table-cell><text:p>z</text:p>
</table:table-cell></table:table-row></table:table></office:text></office:body></office:document-content>)";

std::string Odf(const std::string& content = kOdfContent) {
  return Zip(
      {{"mimetype", "application/vnd.oasis.opendocument.text", 0}, {"content.xml", content, 0}});
}

// Whether it parsed. What parsed holds together and can be chunked; an error names the file.
bool ParseChecked(const std::string& content, const std::string& path, Format format) {
  const Result<ParsedFile> parsed = ParseContent(content, path, format);
  if (!parsed.ok()) {
    INFO(parsed.status().message());
    CHECK(parsed.status().message().starts_with(path));
    CHECK((parsed.status().code() == StatusCode::kInvalidArgument ||
           parsed.status().code() == StatusCode::kResourceExhausted));
    return false;
  }
  for (const Status& problem : parsed->problems) CHECK(problem.message().starts_with(path));
  for (const Document& document : parsed->documents) {
    test::CheckDocument(document);
    for (const ChunkStrategy strategy : {ChunkStrategy::kFixed, ChunkStrategy::kStructure}) {
      ChunkOptions options;
      options.strategy = strategy;
      options.chunk_tokens = 16;
      options.overlap_tokens = 4;
      const Result<std::vector<Chunk>> chunks = ChunkDocument(document, options, nullptr);
      REQUIRE_OK(chunks);
      test::CheckChunks(document, *chunks, options);
    }
  }
  return true;
}

// Replaces, inserts, removes and repeats bytes, and inserts pieces that mean something.
std::string Mutate(const std::string& seed, const std::vector<std::string>& pieces,
                   std::mt19937& random) {
  std::string text = seed;
  const auto below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
  for (size_t i = 0, count = 1 + below(6); i < count; ++i) {
    const size_t at = below(text.size() + 1);
    switch (below(6)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(random());
        break;
      case 1:
        text.insert(at, 1, static_cast<char>(random()));
        break;
      case 2:
        text.erase(at, below(20));
        break;
      case 3:
        text.insert(at, text.substr(below(text.size() + 1), below(60)));
        break;
      case 4:
        text.resize(at);
        break;
      default:
        if (!pieces.empty()) text.insert(at, pieces[below(pieces.size())]);
    }
  }
  return text;
}

struct Seed {
  Format format;
  std::string text;
  std::vector<std::string> pieces;
};

}  // namespace

TEST_CASE("a DOCX file's structure comes out") {
  const Result<ParsedFile> parsed = ParseContent(Docx(kDocument), "/d/x.docx", Format::kDocx);
  REQUIRE_OK(parsed);
  const Document& document = parsed->documents.at(0);
  CHECK(document.text ==
        "First & last\n\nSome new text.\n\nitem\n\na | b\nc\n\nBased on a heading");
  REQUIRE(document.blocks.size() == 6);
  CHECK(document.title == "First & last");
  CHECK(document.blocks[0].level == 1);
  CHECK(document.blocks[2].kind == BlockKind::kListItem);
  CHECK(document.blocks[3].kind == BlockKind::kTableRow);
  CHECK(document.blocks[5].level == 2);
}

TEST_CASE("ZIP archives that swell, and other traps of DOCX, are refused") {
  const auto status = [](const std::string& content) {
    const Result<ParsedFile> parsed = ParseContent(content, "/d/x.docx", Format::kDocx);
    INFO(parsed.status().message());
    CHECK(parsed.status().message().starts_with("/d/x.docx: "));
    return parsed.status().code();
  };
  // 77 MB of 490 KB.
  CHECK(status(Zip({{"word/document.xml", "", 300'000}})) == StatusCode::kResourceExhausted);
  CHECK(status(Zip({{"xl/workbook.xml", "<x/>", 0}})) == StatusCode::kInvalidArgument);
  CHECK(status(Docx("<w:document><w:body><w:p>")) == StatusCode::kInvalidArgument);
  std::string deep = "<w:document><w:body>";
  for (int i = 0; i < 20'000; ++i) deep += "<w:sdt>";
  for (int i = 0; i < 20'000; ++i) deep += "</w:sdt>";
  CHECK(status(Docx(deep + "</w:body></w:document>")) == StatusCode::kResourceExhausted);
  // Entities of a document type stay unexpanded.
  std::string laughs = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]>";
  laughs += "<w:document><w:body><w:p><w:r><w:t>&b;</w:t></w:r></w:p></w:body></w:document>";
  const Result<ParsedFile> parsed = ParseContent(Docx(laughs), "/d/x.docx", Format::kDocx);
  REQUIRE_OK(parsed);
  CHECK(parsed->documents.at(0).text == "&b;");
  std::vector<ZipEntry> entries;
  for (int i = 0; i < 10'001; ++i) entries.push_back({"e" + std::to_string(i), "", 0});
  CHECK(status(Zip(entries)) == StatusCode::kResourceExhausted);
}

TEST_CASE("the structure of presentations, workbooks, books and OpenDocument texts comes out") {
  const auto text = [](const std::string& content, Format format) {
    const Result<ParsedFile> parsed = ParseContent(content, "/d/x", format);
    REQUIRE_OK(parsed);
    return parsed->documents.at(0).text;
  };
  CHECK(text(Pptx(), Format::kPptx) == "Title\n\nItem\nfield\n\ngrouped\n\na | b\na | c\n\npoint");
  CHECK(text(Xlsx(), Format::kXlsx) ==
        "S\n\nname: xA; day: 2024-03-05 12:00:00; column 3: TRUE\nname: xA; day: 0.3");
  CHECK(text(Epub(), Format::kEpub) == "Text");
  CHECK(text(Odf(), Format::kOdf) == "Title\n\nPart\n\na  b\n\nitem\n\nx | y\nx | z\n\nnote");
}

TEST_CASE("what writers of office files and books put differently means the same") {
  const auto text = [](const std::string& content, Format format) {
    const Result<ParsedFile> parsed = ParseContent(content, "/d/x", format);
    REQUIRE_OK(parsed);
    return parsed->documents.at(0).text;
  };
  const auto odf = [&](const std::string& body, const std::string& kind = "text") {
    return text(Odf("<d><o:body><o:" + kind + ">" + body + "</o:" + kind + "></o:body></d>"),
                Format::kOdf);
  };
  // A blank by itself between two spans; drawings in a paragraph.
  CHECK(odf("<p><span>Hello</span> <span>bold</span>\n<span>world</span></p>") ==
        "Hello bold world");
  CHECK(odf("<p>before<draw:custom-shape><p>one</p><p>two</p></draw:custom-shape>after</p>") ==
        "beforeafter\n\none\n\ntwo");
  // Rows and columns that stand there many times; cells that show nothing of what they hold.
  const std::string head = "<table name=\"T\"><table-row><table-cell><p>n</p></table-cell>";
  const std::string gap = "<table-cell number-columns-repeated=\"1499\"/>";
  CHECK(odf(head + gap + "<table-cell><p>far</p></table-cell></table-row><table-row>" +
                "<table-cell value-type=\"string\" string-value=\"a\"/>" + gap +
                "<table-cell value-type=\"float\" value=\"7\"/></table-row></table>",
            "spreadsheet") == "T\n\nn: a; far: 7");
  const std::string many = odf(head + "</table-row><table-row number-rows-repeated=\"1500\">" +
                                   "<table-cell><p>5</p></table-cell></table-row></table>",
                               "spreadsheet");
  CHECK(std::count(many.begin(), many.end(), '5') == 1'500);
  // A cell of one blank is none; whole numbers keep their digits; text in pieces; names' case.
  CHECK(
      text(Xlsx("<worksheet><sheetData><row><c t=\"str\"><v>Report</v></c><c t=\"str\"><v> </v></c>"
                "</row><row><c t=\"s\"><v>0</v></c><c t=\"str\"><v>b</v></c></row><row><c>"
                "<v>1234567890123456</v></c><c t=\"s\"/><c t=\"str\"><v>x<![CDATA[ y]]> z</v></c>"
                "</row></sheetData></worksheet>"),
           Format::kXlsx) == "S\n\nReport\n\nname: 1234567890123456; column 3: x y z");
  std::string other_case = Xlsx();
  for (size_t at = 0; (at = other_case.find("xl/sharedStrings", at)) != std::string::npos; ++at) {
    other_case.replace(at, 16, "xl/SharedStrings");
  }
  CHECK(text(other_case, Format::kXlsx) == text(Xlsx(), Format::kXlsx));
  // Chapters: quotes in scripts, character data, other encodings.
  const auto epub = [&](const std::string& chapter) {
    return text(Epub(kPackage, chapter), Format::kEpub);
  };
  CHECK(epub("<html><head><script>if (a<b) x='don\"t</script><title/></head><body><p>Some "
             "<![CDATA[a < b & c]]> here</p></body></html>") == "Some a < b & c here");
  CHECK(epub("<?xml version=\"1.0\" encoding=\"windows-1251\"?><html><body><p>"
             "\xCF\xF0\xE8\xE2\xE5\xF2</p></body></html>") == "Привет");
  std::string wide = "\xFF\xFE";
  for (const char c : std::string("<html><head><title/></head><body><p>wide</p></body></html>")) {
    wide += c;
    wide += '\0';
  }
  CHECK(epub(wide) == "wide");
  // Names of entries beyond ASCII, whatever the program's locale.
  std::string package = kPackage;
  package.replace(package.find("a%20b.xhtml"), 11, "cap%C3%ADtulo.xhtml");
  const std::string book =
      Zip({{"mimetype", "application/epub+zip", 0},
           {"META-INF/container.xml",
            "<container><rootfiles><rootfile full-path=\"O/p.opf\"/></rootfiles></container>", 0},
           {"O/p.opf", package, 0},
           {"O/capítulo.xhtml", "<html><body><p>Uno</p></body></html>", 0}});
  CHECK(text(book, Format::kEpub) == "Uno");
}

TEST_CASE("a book of which a chapter is missing is read without it") {
  std::string package = kPackage;
  package.replace(package.find("<itemref"), 0, "<itemref idref=\"gone\"/><itemref idref=\"b\"/>");
  package.replace(package.find("</manifest>"), 0,
                  "<item id=\"b\" href=\"b.xhtml\" media-type=\"application/xhtml+xml\"/>");
  const Result<ParsedFile> parsed = ParseContent(Epub(package), "/d/x", Format::kEpub);
  REQUIRE_OK(parsed);
  CHECK(parsed->documents.at(0).text == "Text");
  REQUIRE(parsed->problems.size() == 2);
  CHECK(parsed->problems[0].message().find("'gone'") != std::string::npos);
  CHECK(parsed->problems[1].message().find("O/b.xhtml") != std::string::npos);
}

// Each is small, and took minutes or gigabytes.
TEST_CASE("what stands there again and again costs no more than its bytes") {
  const auto repeat = [](const std::string& piece, size_t times) {
    std::string out;
    for (size_t i = 0; i < times; ++i) out += piece;
    return out;
  };
  const Status spaces =
      ParseContent(Odf("<d><o:body><o:text><p>a" + repeat("<text:s text:c=\"1000\"/>", 100'000) +
                       "</p></o:text></o:body></d>"),
                   "/d/x", Format::kOdf)
          .status();
  CHECK(spaces.code() == StatusCode::kResourceExhausted);
  CHECK(spaces.message().find("paragraph") != std::string::npos);
  const Result<ParsedFile> words = ParseContent(
      Zip({{"content.xml", kOdfContent, 0},
           {"meta.xml", "<m><meta>" + repeat("<keyword>word</keyword>", 200'000) + "</meta></m>",
            0}}),
      "/d/x", Format::kOdf);
  REQUIRE_OK(words);
  CHECK(words->documents.at(0).metadata.Find("keywords")->as_string().size() <= 64 << 10);
  const std::string frame = "<dgm:relIds r:dm=\"r1\"/>";
  CHECK(ParseContent(Pptx("<p:sld><p:cSld><p:spTree>" + repeat(frame, 100'000) +
                          "</p:spTree></p:cSld></p:sld>"),
                     "/d/x", Format::kPptx)
            .ok());
  const Status string = ParseContent(Xlsx("<worksheet><sheetData><row><c r=\"A1\" t=\"s\"><v>9</v>"
                                          "</c></row></sheetData></worksheet>"),
                                     "/d/x", Format::kXlsx)
                            .status();
  CHECK(string.code() == StatusCode::kInvalidArgument);
  CHECK(string.message().find("cell A1 is string '9' of 1") != std::string::npos);
}

TEST_CASE("traps of presentations, workbooks, books and OpenDocument files are refused") {
  const auto refused = [](const std::string& content, Format format, StatusCode code,
                          const std::string& names) {
    const Status status = ParseContent(content, "/d/x", format).status();
    INFO(status.message());
    CHECK(status.code() == code);
    CHECK(status.message().starts_with("/d/x: "));
    CHECK(status.message().find(names) != std::string::npos);
  };
  constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
  constexpr StatusCode kExhausted = StatusCode::kResourceExhausted;
  const auto repeat = [](const std::string& piece, size_t times) {
    std::string out;
    for (size_t i = 0; i < times; ++i) out += piece;
    return out;
  };
  // Damaged and missing parts are named.
  refused(Pptx("<p:sld>"), Format::kPptx, kInvalid, "ppt/slides/s.xml");
  refused(Xlsx("<worksheet>"), Format::kXlsx, kInvalid, "xl/worksheets/a.xml");
  refused(Xlsx(kSheet, "<sst"), Format::kXlsx, kInvalid, "xl/sharedStrings.xml");
  refused(Epub("<package>"), Format::kEpub, kInvalid, "O/p.opf");
  refused(Odf("<a>"), Format::kOdf, kInvalid, "content.xml");
  refused(Zip({{"xl/workbook.xml", "<w><sheets><sheet name=\"S\" r:id=\"r1\"/></sheets></w>", 0},
               {"xl/_rels/workbook.xml.rels", Relationships({{"worksheet", "gone.xml"}}), 0}}),
          Format::kXlsx, kInvalid, "xl/gone.xml");
  std::string package = kPackage;
  package.replace(package.find("a%20b"), 5, "gone");
  refused(Epub(package), Format::kEpub, kInvalid, "O/gone.xhtml");
  // What is encrypted says so.
  refused(Zip({{"META-INF/manifest.xml",
                "<m><f full-path=\"content.xml\"><encryption-data/></f></m>", 0},
               {"content.xml", "noise", 0}}),
          Format::kOdf, kInvalid, "encrypted");
  // Archives that swell, and elements that are nested without end.
  for (const auto& [name, format] :
       {std::pair("ppt/presentation.xml", Format::kPptx),
        std::pair("xl/workbook.xml", Format::kXlsx), std::pair("content.xml", Format::kOdf),
        std::pair("META-INF/container.xml", Format::kEpub)}) {
    refused(Zip({{name, "", 300'000}}), format, kExhausted, name);
  }
  refused(Pptx("<p:sld><p:cSld><p:spTree>" + repeat("<p:grpSp>", 20'000) +
               repeat("</p:grpSp>", 20'000) + "</p:spTree></p:cSld></p:sld>"),
          Format::kPptx, kExhausted, "nested");
  refused(Odf("<d><o:body><o:text>" + repeat("<text:list>", 20'000) +
              repeat("</text:list>", 20'000) + "</o:text></o:body></d>"),
          Format::kOdf, kExhausted, "nested");
  // A string of a megabyte in each of a row's cells; cells beyond the last column.
  const std::string row = "<worksheet><sheetData><row>" + repeat("<c t=\"s\"><v>0</v></c>", 1'000) +
                          "</row></sheetData></worksheet>";
  refused(Xlsx(row, "<sst><si><t>" + std::string(1 << 20, 'x') + "</t></si></sst>"), Format::kXlsx,
          kExhausted, "bytes of text");
  refused(Xlsx("<worksheet><sheetData><row>" + repeat("<c/>", 16'385) +
               "</row></sheetData></worksheet>"),
          Format::kXlsx, kExhausted, "columns");
  // A cell that says that it stands in thousands of columns.
  refused(Odf("<d><o:body><o:text><table><table-row>" +
              repeat("<table-cell number-columns-repeated=\"1000\"><p>" + std::string(2'000, 'x') +
                         "</p></table-cell>",
                     16) +
              "</table-row></table></o:text></o:body></d>"),
          Format::kOdf, kExhausted, "bytes of text");
  // Entities of a document type stay unexpanded.
  const Result<ParsedFile> parsed =
      ParseContent(Odf("<!DOCTYPE d [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>"
                       "<d><o:body><o:text><p>&a;</p></o:text></o:body></d>"),
                   "/d/x", Format::kOdf);
  REQUIRE_OK(parsed);
  CHECK(parsed->documents.at(0).text == "&a;");
}

TEST_CASE("HTML that would make a huge or deep tree is refused") {
  const auto code = [](const std::string& html) {
    return ParseContent(html, "/h/x.html", Format::kHtml).status().code();
  };
  const auto repeat = [](const std::string& text, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += text;
    return out;
  };
  CHECK(code(repeat("<div>", 100'000) + "x") == StatusCode::kResourceExhausted);
  CHECK(code(repeat("<b>", 1'100'000) + "x") == StatusCode::kResourceExhausted);
  CHECK(code("<p " + repeat("a ", 2'000) + ">x") == StatusCode::kResourceExhausted);
  CHECK(code(repeat("<br>", 1'100'000) + "x") == StatusCode::kResourceExhausted);
  CHECK(code(repeat("<p>x", 5'000)) == StatusCode::kOk);
  CHECK(code(repeat("<div>", 900) + "x") == StatusCode::kOk);
  CHECK(code("<p title=\"" + repeat("a ", 5'000) + "\">x") == StatusCode::kOk);
}

TEST_CASE("random bytes under any name give an error, or text") {
  std::mt19937 random(20260101);
  for (const Format format : kFormats) {
    for (const size_t size : {1u, 2u, 3u, 7u, 64u, 1'000u, 20'000u}) {
      std::string content(size, '\0');
      for (char& c : content) c = static_cast<char>(random());
      INFO(FormatName(format) << ", " << size << " bytes");
      const bool parsed = ParseChecked(content, "/r/random", format);
      if (size >= 1'000) CHECK_FALSE(parsed);
    }
  }
}

TEST_CASE("mutated files keep every promise") {
  const Seed kSeeds[] = {
      {Format::kMarkdown,
       "---\ntitle: x\ntags: [a, 'b']\n---\n# H {#a}\n\ntext *b* [l](u)\n\n- a\n  - b\n\n> q\n\n"
       "|a|b|\n|-|-|\n|1|2|\n\n```c\nx\n```\n\nS\n===\n\n<div>\nx</div>\n\n[r]: /u\n한국어 본문.\n",
       {"\n\n", "```", "\t", "> ", "- ", "|", "\r", "<!--", "-->", "# ", "---\n", "\n===\n", "1. ",
        "\xEA\xB0", "{#"}},
      {Format::kHtml,
       "<!doctype html><html lang=en><head><title>T</title><meta name=author "
       "content=A></head><body>"
       "<h1>H</h1><p>a<br>b<ul><li>x<li>y</ul><table><tr><th>a<td>b<tr><td colspan=2>c</table>"
       "<pre> x\n  y</pre><blockquote>q</blockquote><script>s</script>&amp;&#x41; 한국어</body>",
       {"<table>", "</table>", "<td>", "<tr>", "<pre>", "</", "<!--", "<li>", "<h2>", "&#xD800;",
        "<svg>", "<math>", "<select>", "<template>", "\"", "<td rowspan=9>", "</p>", "<caption>"}},
      {Format::kCsv,
       "name,year,\"a \"\"q\"\"\"\nAda,1815,x\n\"L\nM\",2,\"\"\n;;\nGrace;1906;한국어\n",
       {",", "\"", "\n", ";", "\"\"", "\t", "|", "\r"}},
      {Format::kJsonl,
       "{\"id\":\"a\",\"title\":\"T\",\"text\":\"one\\n\\ntwo\",\"n\":1}\n{\"_id\":2,\"text\":"
       "\"한국어\"}\n",
       {"{", "}", "\"", "\\u0000", "\\ud800", "[", "\n", ",", "null", "1e999", "\"text\":"}},
      {Format::kText,
       "Some text.\n\nMore, e.g. this. 한국어 문장입니다.\n",
       {"\n\n", "\xFF", "\xEA"}},
      {Format::kCode, "def a():\n    return 1\n\n\nclass B:\n    x = 2\n", {"\n\n", "}", "\t"}},
  };
  size_t parsed = 0;
  size_t total = 0;
  std::mt19937 random(7);
  for (const Seed& seed : kSeeds) {
    for (int i = 0; i < 600; ++i) {
      const std::string content = Mutate(seed.text, seed.pieces, random);
      INFO(FormatName(seed.format) << ", mutation " << i << ": " << content);
      parsed += ParseChecked(content, "/m/file", seed.format);
      ++total;
    }
  }
  const std::vector<std::string> xml = {"<w:p>",   "</w:p>",  "<w:tbl>", "<w:tr>",
                                        "<w:tc>",  "<w:t>",   "&",       "<!--",
                                        "<w:del>", "<w:sdt>", "\xFF",    "<![CDATA["};
  for (int i = 0; i < 400; ++i) {
    const std::string body = Mutate(kDocument, xml, random);
    INFO("document.xml, mutation " << i << ": " << body);
    parsed += ParseChecked(Docx(body, Mutate(kStyles, xml, random)), "/m/file", Format::kDocx);
    ++total;
  }
  const std::vector<std::string> parts = {"<a:p>",
                                          "</a:p>",
                                          "<a:tbl>",
                                          "<a:tc>",
                                          "<p:sp>",
                                          "<row>",
                                          "<c r=\"B7\">",
                                          "<v>",
                                          "r=\"ZZZ9\"",
                                          "t=\"s\"",
                                          "99999999999",
                                          "-1e308",
                                          "A1:XFD1048576",
                                          "<text:p>",
                                          "<table:table-row>",
                                          "<p>",
                                          "<table:covered-table-cell/>",
                                          "number-rows-spanned=\"9\"",
                                          "<item/>",
                                          "&",
                                          "<!--",
                                          "\xFF",
                                          "../",
                                          "%FF",
                                          "<![CDATA["};
  const std::pair<Format, std::function<std::string()>> kMade[] = {
      {Format::kPptx, [&] { return Pptx(Mutate(kSlide, parts, random)); }},
      {Format::kXlsx, [&] { return Xlsx(Mutate(kSheet, parts, random)); }},
      {Format::kEpub, [&] { return Epub(Mutate(kPackage, parts, random)); }},
      {Format::kOdf, [&] { return Odf(Mutate(kOdfContent, parts, random)); }}};
  for (const auto& [format, make] : kMade) {
    for (int i = 0; i < 400; ++i) {
      INFO(FormatName(format) << ", mutation " << i);
      parsed += ParseChecked(make(), "/m/file", format);
      ++total;
    }
  }
  const std::pair<Format, std::string> kArchives[] = {{Format::kDocx, Docx(kDocument)},
                                                      {Format::kPptx, Pptx()},
                                                      {Format::kXlsx, Xlsx()},
                                                      {Format::kEpub, Epub()},
                                                      {Format::kOdf, Odf()}};
  for (const auto& [format, zip] : kArchives) {
    for (int i = 0; i < (format == Format::kDocx ? 1'000 : 200); ++i) {
      INFO("archive of " << FormatName(format) << ", mutation " << i);
      parsed += ParseChecked(Mutate(zip, {"PK\x01\x02", "PK\x03\x04", "PK\x05\x06"}, random),
                             "/m/file", format);
      ++total;
    }
  }
  // Most mutations leave something to read; were it all errors, nothing would be tested.
  CHECK(parsed > total / 3);
}

TEST_CASE("files cut off anywhere, and under a wrong name") {
  const auto data = test::SharedData("docs-office");
  const auto pdf = test::SharedData("docs-pdf");
  if (!data || !pdf) RAG_SKIP("docs-office or docs-pdf is not there");
  const std::pair<std::filesystem::path, Format> kFiles[] = {
      {*data / "unstructured/fake.docx", Format::kDocx},
      {*data / "unstructured/simple.pptx", Format::kPptx},
      {*data / "unstructured/stanley-cups.xlsx", Format::kXlsx},
      {*data / "unstructured/fake.odt", Format::kOdf},
      {*data / "unstructured/winter-sports.epub", Format::kEpub},
      {*data / "unstructured/fake-html.html", Format::kHtml},
      {*data / "unstructured/stanley-cups.csv", Format::kCsv},
      {*data / "unstructured/README.md", Format::kMarkdown},
      {*pdf / "other/multi-column-2p.pdf", Format::kPdf},
  };
  for (const auto& [path, format] : kFiles) {
    const std::string content = test::ReadAll(path);
    const size_t steps = format == Format::kPdf ? 4 : 24;
    for (size_t i = 1; i < steps; ++i) {
      INFO(path << " cut to " << i << "/" << steps);
      const bool parsed =
          ParseChecked(content.substr(0, content.size() * i / steps), "/c/cut", format);
      if (IsArchive(format)) CHECK_FALSE(parsed);
    }
    CHECK(ParseChecked(content, "/c/whole", format));
    // Every parser is given every format.
    for (const Format wrong : kFormats) {
      INFO(path << " as " << FormatName(wrong));
      const bool parsed = ParseChecked(content, "/w/wrong", wrong);
      if (IsArchive(format) || format == Format::kPdf) CHECK(parsed == (wrong == format));
      if (IsArchive(wrong) || wrong == Format::kPdf) CHECK(parsed == (wrong == format));
    }
  }
}

}  // namespace rag
