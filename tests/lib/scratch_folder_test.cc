#include "lib/base/scratch_folder.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <optional>
#include <utility>

#include "lib/base/file.h"
#include "tests/support/support.h"

using namespace rag;

TEST_CASE("a scratch folder goes with what is in it") {
  Result<ScratchFolder> made = ScratchFolder::Create("rag-scratch");
  REQUIRE_OK(made);
  const std::string path = made->path();
  CHECK(std::filesystem::path(path).filename().string().starts_with("rag-scratch-"));
  CHECK(std::filesystem::is_empty(path));
  REQUIRE_OK(WriteFileAtomic(made->file("a"), "text"));
  std::optional<ScratchFolder> folder(std::move(made).value());
  CHECK(std::filesystem::exists(path + "/a"));
  folder.reset();
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("two scratch folders of a name are two") {
  const Result<ScratchFolder> one = ScratchFolder::Create("rag-scratch");
  const Result<ScratchFolder> other = ScratchFolder::Create("rag-scratch");
  REQUIRE_OK(one);
  REQUIRE_OK(other);
  CHECK(one->path() != other->path());
}
