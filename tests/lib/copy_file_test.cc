#include "lib/base/copy_file.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "lib/base/cancel.h"
#include "tests/support/support.h"

namespace rag {
namespace {

namespace fs = std::filesystem;
using test::ReadAll;
using test::TemporaryFolder;

mode_t ModeOf(const fs::path& path) {
  struct stat info = {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  return info.st_mode & 07777;
}

TEST_CASE("a file is copied in blocks, which are given before") {
  const TemporaryFolder folder;
  const std::string text = GENERATE("", "abc", "abcdefgh", "abcdefghij");
  std::ofstream(folder.file("from")) << text;
  std::string taken;
  std::vector<size_t> sizes;
  REQUIRE_OK(
      CopyFile(folder.file("from"), folder.file("to"), 4, [&](std::span<const std::byte> block) {
        CHECK(ReadAll(folder.file("to")) == taken);
        taken.append(reinterpret_cast<const char*>(block.data()), block.size());
        sizes.push_back(block.size());
        return OkStatus();
      }));
  CHECK(taken == text);
  CHECK(ReadAll(folder.file("to")) == text);
  REQUIRE(sizes.size() == text.size() / 4 + 1);
  CHECK(sizes.back() == text.size() % 4);
}

TEST_CASE("a copy has the mode of its file less the umask, and replaces nothing") {
  const TemporaryFolder folder;
  std::ofstream(folder.file("from")) << "text";
  const auto mode = GENERATE(as<mode_t>{}, 0400, 0640, 0777, 04755);
  REQUIRE(::chmod(folder.file("from").c_str(), mode) == 0);
  const mode_t umask = ::umask(027);
  const Status copied = CopyFile(folder.file("from"), folder.file("to"));
  ::umask(umask);
  REQUIRE_OK(copied);
  CHECK(ModeOf(folder.file("to")) == (mode & 0750));
  CHECK_FALSE(CopyFile(folder.file("from"), folder.file("to")).ok());
  fs::create_symlink(folder.file("elsewhere"), folder.file("link"));
  CHECK_FALSE(CopyFile(folder.file("from"), folder.file("link")).ok());
  CHECK_FALSE(fs::exists(folder.file("elsewhere")));
  CHECK(CopyFile(folder.file("none"), folder.file("new")).code() == StatusCode::kNotFound);
  CHECK_FALSE(fs::exists(folder.file("new")));
}

TEST_CASE("a copy ends when the block's taker says so") {
  const TemporaryFolder folder;
  std::ofstream(folder.file("from")) << "abcdefghij";
  CancelToken cancel;
  const Status status =
      CopyFile(folder.file("from"), folder.file("to"), 4, [&](std::span<const std::byte>) {
        if (cancel.cancelled()) return CancelledError("cancelled");
        cancel.Cancel();
        return OkStatus();
      });
  CHECK(status.code() == StatusCode::kCancelled);
  CHECK(ReadAll(folder.file("to")) == "abcd");
}

TEST_CASE("a folder is copied with what its links lead to") {
  const TemporaryFolder folder;
  fs::create_directories(folder.file("from/below/empty"));
  fs::create_directories(folder.file("aside"));
  std::ofstream(folder.file("from/below/file")) << "text";
  std::ofstream(folder.file("aside/file")) << "aside";
  fs::create_symlink("below/file", folder.file("from/link"));
  fs::create_directory_symlink("../aside", folder.file("from/folder"));
  REQUIRE_OK(CopyFolder(folder.file("from"), folder.file("to/copy")));
  const fs::path to = folder.file("to/copy");
  CHECK(ReadAll(to / "below" / "file") == "text");
  CHECK(fs::is_directory(to / "below" / "empty"));
  CHECK(ReadAll(to / "link") == "text");
  CHECK(ReadAll(to / "folder" / "file") == "aside");
  for (const auto& entry : fs::recursive_directory_iterator(to)) CHECK_FALSE(entry.is_symlink());

  const std::string odd = folder.file("aside/odd");
  SECTION("a link to nothing") { fs::create_symlink("none", odd); }
  SECTION("a pipe") { REQUIRE(::mkfifo(odd.c_str(), 0600) == 0); }
  const Status status = CopyFolder(folder.file("from"), folder.file("other"));
  CHECK(status.code() == StatusCode::kInvalidArgument);
  CHECK(status.message().find("odd") != std::string::npos);
}

TEST_CASE("a folder is not copied into itself") {
  const TemporaryFolder folder;
  const std::string from = folder.file("from");
  fs::create_directories(from + "/below");
  fs::create_directory_symlink(from, folder.file("link"));
  for (const std::string to : {"from", "from/new/deep", "from/below/../copy", "link/below/new"}) {
    INFO(to);
    CHECK(CopyFolder(from, folder.file(to)).code() == StatusCode::kInvalidArgument);
  }
  CHECK(fs::is_empty(from + "/below"));
  REQUIRE_OK(CopyFolder(from, folder.file("from-2")));
  // The copy's folder is met on the way.
  fs::create_directory(folder.file("models"));
  fs::create_directory_symlink(folder.file("models"), from + "/models");
  CHECK(CopyFolder(from, folder.file("models/new")).code() == StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace rag
