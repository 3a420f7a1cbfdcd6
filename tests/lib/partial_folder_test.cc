#include "lib/base/partial_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "tests/support/support.h"

namespace {

// Called before each of the system calls below, which these definitions take from the C library.
std::function<void(const char* call)> before_call;

void Before(const char* call) {
  if (before_call == nullptr) return;
  const auto once = std::exchange(before_call, nullptr);  // not for the calls that it makes itself
  once(call);
  if (before_call == nullptr) before_call = once;
}

class BeforeCalls {
 public:
  explicit BeforeCalls(std::function<void(const char* call)> function) {
    before_call = std::move(function);
  }
  ~BeforeCalls() { before_call = nullptr; }
};

}  // namespace

extern "C" int rename(const char* from, const char* to) noexcept {
  Before("rename");
  return static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

extern "C" int unlink(const char* path) noexcept {
  Before("unlink");
  return static_cast<int>(::syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

extern "C" int fsync(int file) {
  Before("fsync");
  return static_cast<int>(::syscall(SYS_fsync, file));
}

extern "C" int flock(int file, int operation) noexcept {
  Before("flock");
  return static_cast<int>(::syscall(SYS_flock, file, operation));
}

namespace rag {
namespace {

namespace fs = std::filesystem;
using test::ReadAll;
using test::TemporaryFolder;

void Fill(const PartialFolder& folder) {
  fs::create_directory(folder.path() / "below");
  std::ofstream(folder.path() / "below" / "file") << "content";
}

void CheckFinished(const fs::path& target) {
  CHECK(ReadAll(target / "below" / "file") == "content");
  CHECK_FALSE(fs::exists(target / ProcessLock::kFileName));
  CHECK_FALSE(fs::exists(target.string() + ".partial"));
}

StatusCode CreateCode(const fs::path& target) {
  return PartialFolder::Create(target.string()).status().code();
}

TEST_CASE("a folder is seen whole or not at all") {
  const TemporaryFolder temporary;
  const fs::path target = temporary.path() / "a" / "b" / "c";
  {
    const Result<PartialFolder> folder = PartialFolder::Create(target.string());
    REQUIRE_OK(folder);
    Fill(*folder);
    CHECK_FALSE(fs::exists(target));
  }
  CHECK(fs::is_empty(target.parent_path()));
  fs::create_directory(target);  // an empty one is replaced
  Result<PartialFolder> folder = PartialFolder::Create(target.string() + "/");
  REQUIRE_OK(folder);
  Fill(*folder);
  REQUIRE_OK(folder->Finish());
  CheckFinished(target);
}

TEST_CASE("what a killed process left is cleared") {
  const TemporaryFolder temporary;
  fs::create_directories(temporary.file("a.partial/deep/deeper"));
  std::ofstream(temporary.file("a.partial/deep/file")) << "half";
  std::ofstream(temporary.file("a.partial/rag.lock")) << "17\n";
  const Result<PartialFolder> folder = PartialFolder::Create(temporary.file("a"));
  REQUIRE_OK(folder);
  CHECK_FALSE(fs::exists(folder->path() / "deep"));
}

TEST_CASE("a place that a folder cannot be renamed to is refused at once") {
  const TemporaryFolder temporary;
  const fs::path target = temporary.path() / "a";
  fs::create_directory(temporary.file("empty"));
  SECTION("a folder that is not empty") {
    fs::create_directory(target);
    std::ofstream(target / "file") << "mine";
  }
  SECTION("an empty file") { std::ofstream(target).close(); }
  SECTION("a link to nothing") { fs::create_symlink(temporary.file("none"), target); }
  SECTION("a link to an empty folder") { fs::create_symlink(temporary.file("empty"), target); }
  SECTION("a link where it is filled") {
    std::ofstream(temporary.file("empty/file")) << "mine";
    fs::create_directory_symlink(temporary.file("empty"), temporary.file("a.partial"));
  }
  CHECK(CreateCode(target) == StatusCode::kAlreadyExists);
  CHECK_FALSE(fs::is_directory(fs::symlink_status(temporary.file("a.partial"))));
  if (fs::exists(temporary.file("a.partial"))) {
    CHECK(ReadAll(temporary.file("empty/file")) == "mine");
  }
}

TEST_CASE("a place that was taken meanwhile is left alone") {
  const TemporaryFolder temporary;
  const fs::path target = temporary.path() / "a";
  Result<PartialFolder> folder = PartialFolder::Create(target.string());
  REQUIRE_OK(folder);
  std::ofstream(target) << "mine";
  CHECK(folder->Finish().code() == StatusCode::kAlreadyExists);
  CHECK(ReadAll(target) == "mine");
}

TEST_CASE("a folder that is being finished is never cleared by another") {
  const TemporaryFolder temporary;
  const fs::path target = temporary.path() / "a";
  Result<PartialFolder> folder = PartialFolder::Create(target.string());
  REQUIRE_OK(folder);
  Fill(*folder);
  CHECK(CreateCode(target) == StatusCode::kUnavailable);
  std::vector<std::pair<std::string, StatusCode>> others;
  {
    const BeforeCalls before(
        [&](const char* call) { others.emplace_back(call, CreateCode(target)); });
    REQUIRE_OK(folder->Finish());
  }
  const std::vector<std::pair<std::string, StatusCode>> expected = {
      {"fsync", StatusCode::kUnavailable},   {"fsync", StatusCode::kUnavailable},
      {"rename", StatusCode::kUnavailable},  {"unlink", StatusCode::kAlreadyExists},
      {"fsync", StatusCode::kAlreadyExists}, {"fsync", StatusCode::kAlreadyExists}};
  CHECK(others == expected);
  CheckFinished(target);
  CHECK(CreateCode(target) == StatusCode::kAlreadyExists);
  CheckFinished(target);
}

TEST_CASE("a lock that was finished or removed before it was taken locks nothing") {
  const TemporaryFolder temporary;
  const fs::path target = temporary.path() / "a";
  std::optional<PartialFolder> first;
  {
    Result<PartialFolder> created = PartialFolder::Create(target.string());
    REQUIRE_OK(created);
    first.emplace(std::move(created).value());
  }
  Fill(*first);
  const bool finishes = GENERATE(true, false);
  // The second has opened the lock's file when the first goes.
  const BeforeCalls before([&](const char* call) {
    if (std::string(call) != "flock" || !first.has_value()) return;
    if (finishes) REQUIRE_OK(first->Finish());
    first.reset();
  });
  const Result<PartialFolder> second = PartialFolder::Create(target.string());
  CHECK_FALSE(first.has_value());
  if (finishes) {
    CHECK(second.status().code() == StatusCode::kAlreadyExists);
    CheckFinished(target);
  } else {
    REQUIRE_OK(second);
    CHECK(fs::exists(second->path() / ProcessLock::kFileName));
    CHECK(CreateCode(target) == StatusCode::kUnavailable);
  }
}

TEST_CASE("a lock's file that is a link is not followed") {
  const TemporaryFolder temporary;
  std::ofstream(temporary.file("victim")) << "mine";
  fs::create_symlink(temporary.file("victim"), temporary.file(ProcessLock::kFileName));
  CHECK_FALSE(ProcessLock::Take(temporary.path(), "it").ok());
  CHECK(ReadAll(temporary.file("victim")) == "mine");
}

}  // namespace
}  // namespace rag
