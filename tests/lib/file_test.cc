#include "lib/base/file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "lib/base/atomic_file.h"
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

TEST_CASE("a file that is written has its old content until it is whole") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("a");
  REQUIRE_OK(WriteFileAtomic(path, "old"));
  const std::string text = "new content";
  const auto bytes = std::as_bytes(std::span(text));
  {
    const auto file = AtomicFile::Create(path, 0600);
    REQUIRE_OK(file);
    REQUIRE_OK((*file)->Write(bytes));
    CHECK(*ReadFile(path, 100) == "old");
  }
  CHECK(*ReadFile(path, 100) == "old");
  // Two writers at once: each has a file of its own, and nobody takes it for a leftover.
  const auto one = AtomicFile::Create(path, 0600);
  REQUIRE_OK(one);
  REQUIRE_OK((*one)->Write(bytes.first(3)));
  const auto other = AtomicFile::Create(path, 0600);
  REQUIRE_OK(other);
  REQUIRE_OK((*other)->Write(bytes));
  REQUIRE_OK((*other)->Commit());
  CHECK(*ReadFile(path, 100) == text);
  REQUIRE_OK((*one)->Write(bytes.subspan(3)));
  REQUIRE_OK((*one)->Commit());
  CHECK(*ReadFile(path, 100) == text);
  struct stat info;
  REQUIRE(::stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
}

TEST_CASE("a file's beginning is written when its end is known") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("a");
  const auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text)); };
  const auto file = AtomicFile::Create(path, 0600);
  REQUIRE_OK(file);
  REQUIRE_OK((*file)->Write(bytes("????????body")));
  REQUIRE_OK((*file)->WriteAt(0, bytes("header")));
  REQUIRE_OK((*file)->Write(bytes("12")));  // behind what was written last
  REQUIRE_OK((*file)->WriteAt(14, bytes("end")));
  CHECK_FALSE(std::filesystem::exists(path));
  REQUIRE_OK((*file)->Commit());
  CHECK(*ReadFile(path, 100) == std::string("header12body\0\0end", 17));
}

TEST_CASE("what a killed writer left is removed, and nothing is written through a link") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("a");
  const std::string victim = folder.file("victim");
  std::ofstream(victim) << "untouched";
  std::ofstream(path + ".tmp.17") << "half";
  std::ofstream(path + ".tmp.notes") << "not ours";
  std::filesystem::create_symlink(victim, StrCat(path, ".tmp.", ::getpid()));
  REQUIRE_OK(WriteFileAtomic(path, "new"));
  CHECK_FALSE(std::filesystem::exists(path + ".tmp.17"));
  CHECK(std::filesystem::exists(path + ".tmp.notes"));
  CHECK(*ReadFile(victim, 100) == "untouched");
  CHECK(*ReadFile(path, 100) == "new");
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
