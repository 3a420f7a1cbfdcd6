#include "lib/base/folder.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/support/support.h"

namespace rag {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;

TEST_CASE("folders are made as far as they are missing") {
  const TemporaryFolder folder;
  REQUIRE_OK(MakeFolders(""));
  for (int i = 0; i < 2; ++i) REQUIRE_OK(MakeFolders(folder.file("a//b/c/")));
  CHECK(fs::is_directory(folder.file("a/b/c")));
  fs::create_directory_symlink(folder.file("a"), folder.file("link"));
  REQUIRE_OK(MakeFolders(folder.file("link/d/../e")));
  CHECK(fs::is_directory(folder.file("a/d")));
  CHECK(fs::is_directory(folder.file("a/e")));
  std::ofstream(folder.file("file")) << "mine";
  for (const char* path : {"file", "file/below"}) {
    const Status status = MakeFolders(folder.file(path));
    CHECK_FALSE(status.ok());
    CHECK(status.message().find("file") != std::string::npos);
  }
}

TEST_CASE("a folder's entries are listed, hidden ones too and none below them") {
  const TemporaryFolder folder;
  REQUIRE_OK(MakeFolders(folder.file("a/b")));
  std::ofstream(folder.file(".hidden")) << "x";
  fs::create_symlink("nowhere", folder.file("link"));
  auto listed = ListFolder(folder.path());
  REQUIRE_OK(listed);
  std::sort(listed->begin(), listed->end());
  CHECK(*listed == std::vector<fs::path>{folder.path() / ".hidden", folder.path() / "a",
                                         folder.path() / "link"});
  for (const char* path : {"none", ".hidden"}) {
    const Status failed = ListFolder(folder.file(path)).status();
    CHECK(failed.code() == StatusCode::kIoError);
    CHECK(failed.message().find(folder.file(path)) != std::string::npos);
  }
}

TEST_CASE("what lies below a folder is told by where links lead") {
  const TemporaryFolder folder;
  const fs::path a = folder.file("a");
  fs::create_directories(a / "b");
  fs::create_directory_symlink(a / "b", folder.file("link"));
  fs::create_directory_symlink(folder.path(), a / "out");
  CHECK(IsBelow(a, a));
  CHECK(IsBelow(a / "none" / "deeper", a));
  CHECK(IsBelow(folder.path() / "link" / "none", a));
  CHECK_FALSE(IsBelow(folder.path(), a));
  CHECK_FALSE(IsBelow(folder.path() / "a2", a));
  CHECK_FALSE(IsBelow(a / ".." / "c", a));
  CHECK_FALSE(IsBelow(a / "out" / "c", a));
  fs::create_symlink("loop", folder.file("loop"));
  CHECK_FALSE(IsBelow(folder.path() / "loop" / "c", a));
}

}  // namespace
}  // namespace rag
