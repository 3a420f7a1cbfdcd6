#include "lib/base/file.h"

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/support.h"

using namespace rag;

TEST_CASE("a file is written whole and read back") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("a.bin");
  const std::string content("x\0y\n", 4);
  REQUIRE_OK(WriteFileAtomic(path, content));
  REQUIRE_OK(WriteFileAtomic(path, content + "more"));
  CHECK(*ReadFile(path, 100) == content + "more");
  // No temporary file is left beside it.
  size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    ++entries;
  }
  CHECK(entries == 1);
}

TEST_CASE("errors name the path and have their own codes") {
  const test::TemporaryFolder folder;
  const Status missing = ReadFile(folder.file("none"), 10).status();
  CHECK(missing.code() == StatusCode::kNotFound);
  CHECK(missing.message().find("none") != std::string::npos);
  REQUIRE_OK(WriteFileAtomic(folder.file("big"), std::string(11, 'x')));
  CHECK(ReadFile(folder.file("big"), 10).status().code() == StatusCode::kResourceExhausted);
  CHECK(ReadFile(folder.path().string(), 10).status().code() == StatusCode::kInvalidArgument);
  CHECK(MappedFile::Open(folder.path().string()).status().code() == StatusCode::kInvalidArgument);
  CHECK_FALSE(WriteFileAtomic(folder.file("no/such/folder"), "x").ok());
}

TEST_CASE("a mapping shows the file's bytes and can be moved") {
  const test::TemporaryFolder folder;
  REQUIRE_OK(WriteFileAtomic(folder.file("m"), "mapped"));
  Result<MappedFile> opened = MappedFile::Open(folder.file("m"));
  REQUIRE_OK(opened);
  const MappedFile moved = std::move(opened).value();
  REQUIRE(moved.bytes().size() == 6);
  CHECK(static_cast<char>(moved.bytes()[0]) == 'm');
  REQUIRE_OK(WriteFileAtomic(folder.file("empty"), ""));
  CHECK(MappedFile::Open(folder.file("empty"))->bytes().empty());
}
