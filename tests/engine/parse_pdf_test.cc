#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "engine/parse.h"
#include "engine/parse/child_process.h"
#include "tests/engine/check_document.h"
#include "tests/support/support.h"

namespace rag {
namespace {

size_t CountLetters(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (c & 0xC0) != 0x80 && std::isspace(static_cast<unsigned char>(c)) == 0;
  }));
}

}  // namespace

TEST_CASE("PDF files open, or say why not, as poppler does") {
  const auto data = test::SharedData("docs-pdf");
  if (!data) RAG_SKIP("docs-pdf is not there");
  std::ifstream list(*data / "LIST.tsv");
  std::string line;
  std::getline(list, line);
  size_t read = 0;
  size_t refused = 0;
  while (std::getline(list, line)) {
    std::istringstream fields(line);
    std::string name;
    std::string pages;
    std::string characters;
    std::getline(fields, name, '\t');
    std::getline(fields, pages, '\t');
    std::getline(fields, characters, '\t');
    // The list names folders; the files stand in one.
    std::string flat = name;
    const size_t slash = flat.find('/');
    if (slash != std::string::npos) flat.replace(slash, 1, "__");
    std::filesystem::path path = *data / "py-pdf" / flat;
    if (!std::filesystem::exists(path)) path = *data / "other" / name;
    if (!std::filesystem::exists(path)) path = *data / name;
    if (!std::filesystem::exists(path)) continue;
    INFO(name);
    const Result<ParsedFile> parsed = ParseFile(path.string());
    if (std::stoul(characters) == 0) {
      CHECK(parsed.status().code() == StatusCode::kInvalidArgument);
      CHECK(parsed.status().message().starts_with(path.string()));
      if (pages != "None") {
        CHECK(parsed.status().message().find("no text layer") != std::string::npos);
      }
      ++refused;
      continue;
    }
    REQUIRE_OK(parsed);
    const Document& document = parsed->documents.at(0);
    test::CheckDocument(document);
    CHECK(document.metadata.Find("pages")->as_int() == std::stol(pages));
    uint32_t page = 1;
    bool pages_ascend = true;
    for (const Block& block : document.blocks) {
      pages_ascend = pages_ascend && block.page >= page;
      page = block.page;
    }
    CHECK(pages_ascend);
    CHECK(page <= std::stoul(pages));
    // The list counts white space too, so it is an upper bound; half is far below any text.
    const size_t letters = CountLetters(document.text);
    CHECK(letters <= std::stoul(characters));
    CHECK(letters * 2 >= std::stoul(characters));
    ++read;
  }
  CHECK(read >= 20);
  CHECK(refused >= 7);
}

TEST_CASE("an encrypted PDF says so") {
  const auto data = test::SharedData("docs-pdf");
  if (!data) RAG_SKIP("docs-pdf is not there");
  const Result<ParsedFile> parsed = ParseFile(
      (*data / "py-pdf/005-libreoffice-writer-password__libreoffice-writer-password.pdf").string());
  CHECK(parsed.status().code() == StatusCode::kInvalidArgument);
  CHECK(parsed.status().message().find("password") != std::string::npos);
}

TEST_CASE("a child process is held to its limits") {
  ChildLimits limits;
  limits.timeout_ms = 200;
  CHECK(RunChild({"sleep", "10"}, "", limits, nullptr).status().code() ==
        StatusCode::kDeadlineExceeded);
  limits.timeout_ms = 20'000;
  limits.max_output_bytes = 100'000;
  CHECK(RunChild({"yes"}, "", limits, nullptr).status().code() == StatusCode::kResourceExhausted);
  const Result<ChildOutput> echo = RunChild({"cat"}, std::string(50'000, 'x'), limits, nullptr);
  REQUIRE_OK(echo);
  CHECK(echo->output == std::string(50'000, 'x'));
  CHECK(echo->exit_code == 0);
  const Result<ChildOutput> failed = RunChild({"cat", "/nonexistent"}, "", limits, nullptr);
  REQUIRE_OK(failed);
  CHECK(failed->exit_code == 1);
  CHECK(failed->error_text.find("nonexistent") != std::string::npos);
  CHECK(RunChild({"no-such-program-here"}, "", limits, nullptr).status().code() ==
        StatusCode::kFailedPrecondition);
  CancelToken cancel;
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    cancel.Cancel();
  });
  CHECK(RunChild({"sleep", "10"}, "", limits, &cancel).status().code() == StatusCode::kCancelled);
  canceller.join();
}

}  // namespace rag
