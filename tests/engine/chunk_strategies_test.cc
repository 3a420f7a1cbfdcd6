#include <catch2/catch.hpp>

#include "engine/chunk.h"
#include "engine/parse.h"
#include "tests/engine/check_document.h"
#include "tests/support/support.h"

namespace rag {
namespace {

using Lines = std::vector<std::string>;

constexpr ChunkStrategy kStrategies[] = {ChunkStrategy::kFixed, ChunkStrategy::kSentence,
                                         ChunkStrategy::kRecursive, ChunkStrategy::kStructure};

Document Markdown(std::string_view content) {
  Result<ParsedFile> parsed = ParseContent(content, "/docs/page.md", Format::kMarkdown);
  REQUIRE_OK(parsed);
  return std::move(parsed->documents.at(0));
}

std::vector<Chunk> Chunks(const Document& document, ChunkStrategy strategy, size_t tokens,
                          size_t overlap) {
  ChunkOptions options;
  options.strategy = strategy;
  options.chunk_tokens = tokens;
  options.overlap_tokens = overlap;
  Result<std::vector<Chunk>> chunks = ChunkDocument(document, options, nullptr);
  REQUIRE_OK(chunks);
  test::CheckChunks(document, *chunks, options);
  return std::move(chunks).value();
}

Lines Texts(const Document& document, const std::vector<Chunk>& chunks) {
  Lines texts;
  for (const Chunk& chunk : chunks) {
    texts.push_back(document.text.substr(chunk.begin, chunk.end - chunk.begin));
  }
  return texts;
}

// "w0 w1 … w99"
std::string Words(int from, int to) {
  std::string text;
  for (int i = from; i < to; ++i) text += (text.empty() ? "w" : " w") + std::to_string(i);
  return text;
}

}  // namespace

TEST_CASE("a structure chunk never spans a heading and knows its path") {
  const Document document = Markdown(
      "Before all.\n\n# Guide\n\nIntroduction.\n\n## Setup\n\n### Network\n\nPlug it "
      "in.\n\nWait.\n\n"
      "## Use\n\n- one\n- two\n");
  const std::vector<Chunk> chunks = Chunks(document, ChunkStrategy::kStructure, 50, 10);
  CHECK(Texts(document, chunks) == Lines{"Before all.", "Guide\n\nIntroduction.",
                                         "Setup\n\n### Network\n\nPlug it in.\n\nWait.",
                                         "Use\n\n- one\n- two"});
  REQUIRE(chunks.size() == 4);
  CHECK(chunks[0].headings.empty());
  CHECK(chunks[1].headings == Lines{"Guide"});
  CHECK(chunks[2].headings == Lines{"Guide", "Setup", "Network"});
  CHECK(chunks[3].headings == Lines{"Guide", "Use"});
  CHECK(chunks[0].tokens == 2);
  // The recursive strategy merges them all.
  CHECK(Chunks(document, ChunkStrategy::kRecursive, 50, 10).size() == 1);
}

TEST_CASE("fixed windows have their size and overlap exactly") {
  Document document;
  document.text = Words(0, 100);
  const std::vector<Chunk> chunks = Chunks(document, ChunkStrategy::kFixed, 40, 10);
  CHECK(Texts(document, chunks) == Lines{Words(0, 40), Words(30, 70), Words(60, 100)});
  for (const Chunk& chunk : chunks) CHECK(chunk.tokens == 40);
  CHECK(Texts(document, Chunks(document, ChunkStrategy::kFixed, 50, 0)) ==
        Lines{Words(0, 50), Words(50, 100)});
}

TEST_CASE("sentences are merged and the last ones repeated") {
  Document document;
  document.text = "One two three. Four five six. Seven eight. Nine ten eleven twelve. End.";
  CHECK(Texts(document, Chunks(document, ChunkStrategy::kSentence, 8, 2)) ==
        Lines{"One two three. Four five six. Seven eight.",
              "Seven eight. Nine ten eleven twelve. End."});
  CHECK(Texts(document, Chunks(document, ChunkStrategy::kSentence, 8, 0)) ==
        Lines{"One two three. Four five six. Seven eight.", "Nine ten eleven twelve. End."});
}

TEST_CASE("the recursive strategy keeps blocks whole where it can") {
  const std::string a = "A one two three. A four five six.";
  const std::string b = "B one two three. B four five six.";
  const std::string c = Words(0, 30) + ".";
  const Document document = Markdown(a + "\n\n" + b + "\n\n" + c);
  const std::vector<Chunk> chunks = Chunks(document, ChunkStrategy::kRecursive, 12, 4);
  const Lines texts = Texts(document, chunks);
  REQUIRE(texts.size() >= 4);
  CHECK(texts[0] == a);
  CHECK(texts[1] == "A four five six.\n\n" + b);
  CHECK(chunks.back().end == document.text.size());
}

TEST_CASE("a sentence that is too long is cut between words, with overlap") {
  Document document;
  document.text = Words(0, 100);
  const std::vector<Chunk> chunks = Chunks(document, ChunkStrategy::kStructure, 20, 5);
  REQUIRE(chunks.size() > 4);
  for (size_t i = 1; i < chunks.size(); ++i) {
    CHECK(chunks[i].begin < chunks[i - 1].end);
    CHECK(document.text[chunks[i].begin] == 'w');
  }
}

TEST_CASE("a word without end is cut between characters") {
  for (const ChunkStrategy strategy : kStrategies) {
    Document document;
    for (int i = 0; i < 20'000; ++i) document.text += "\u00e9";
    const std::vector<Chunk> chunks = Chunks(document, strategy, 16, 4);
    CHECK(chunks.size() > 10);
    Document korean;
    for (int i = 0; i < 2'000; ++i) korean.text += "가";
    CHECK(Chunks(korean, strategy, 100, 0).size() >= 20);
  }
}

TEST_CASE("rows of a table are merged and not repeated") {
  std::string csv = "a,b\n";
  for (int i = 0; i < 40; ++i) csv += std::to_string(i) + ",x\n";
  const Result<ParsedFile> parsed = ParseContent(csv, "/t/x.csv", Format::kCsv);
  REQUIRE_OK(parsed);
  const Document& document = parsed->documents.at(0);
  const std::vector<Chunk> chunks = Chunks(document, ChunkStrategy::kStructure, 40, 10);
  // "a: 1; b: x" is four words.
  REQUIRE(chunks.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    CHECK(chunks[i].tokens == 40);
    if (i > 0) CHECK(chunks[i].begin > chunks[i - 1].end);
  }
}

TEST_CASE("overlap does not cross a heading") {
  const Document document = Markdown(
      "# A\n\nOne two three four. Five six.\n\n# B\n\nSeven eight nine. Ten eleven twelve.");
  const Lines texts = Texts(document, Chunks(document, ChunkStrategy::kStructure, 8, 3));
  CHECK(texts ==
        Lines{"A\n\nOne two three four. Five six.", "B\n\nSeven eight nine. Ten eleven twelve."});
}

TEST_CASE("wrong chunk options and blocks are refused by name") {
  Document document;
  document.text = "text";
  const auto message = [&](size_t tokens, size_t overlap) {
    ChunkOptions options;
    options.chunk_tokens = tokens;
    options.overlap_tokens = overlap;
    const Status status = ChunkDocument(document, options, nullptr).status();
    CHECK(status.code() == StatusCode::kInvalidArgument);
    return status.message();
  };
  CHECK(message(7, 0).find("chunk_tokens 7") != std::string::npos);
  CHECK(message(8'193, 0).find("chunk_tokens 8193") != std::string::npos);
  CHECK(message(100, 50).find("overlap_tokens 50") != std::string::npos);
  document.blocks = {{BlockKind::kParagraph, 2, 9, 0, 0}};
  CHECK(message(100, 0).find("block 0") != std::string::npos);
}

TEST_CASE("an empty document has no chunks") {
  for (const ChunkStrategy strategy : kStrategies) {
    CHECK(Chunks(Document(), strategy, 100, 0).empty());
    Document blank;
    blank.text = " \n\n ";
    CHECK(Chunks(blank, strategy, 100, 0).empty());
  }
}

}  // namespace rag
