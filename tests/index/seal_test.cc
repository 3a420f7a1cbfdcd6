#include "index/store/seal.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "index/store.h"
#include "tests/index/store_support.h"

using namespace rag;
using namespace rag::test;
namespace fs = std::filesystem;

namespace {

fs::path FileOf(const fs::path& folder, const std::string& begin, const std::string& end) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(begin) && name.ends_with(end)) return entry.path();
  }
  FAIL("no file " << begin << "*" << end);
  return {};
}

Status OpenStatus(const std::string& path) {
  const auto runtime = MakeRuntime();
  return Store::Open(path, {}, *runtime).status();
}

}  // namespace

TEST_CASE("a closed store that lost the end of a file is refused, naming it") {
  const TemporaryFolder folder;
  const std::string path = folder.file("db");
  {
    Opened opened(path);
    REQUIRE_OK(opened.Create(Config("c"))->Replace(Document("a", 1, "zebra")));
  }
  REQUIRE(fs::exists(folder.file("db/rag.seal")));
  // A manifest without its last record looks to RocksDB like one that was never written further,
  // and the record is the file with the document.
  for (const auto& [begin, end] :
       {std::pair<std::string, std::string>{"MANIFEST-", ""}, {"", ".sst"}}) {
    const fs::path file = FileOf(path, begin, end);
    const std::string whole = ReadAll(file);
    for (const size_t cut : {whole.size() - 1, whole.size() / 2, size_t{0}}) {
      fs::resize_file(file, cut);
      const Status status = OpenStatus(path);
      INFO(status.ToString());
      CHECK(status.code() == StatusCode::kDataLoss);
      CHECK(status.message().find(file.filename().string()) != std::string::npos);
      std::ofstream(file, std::ios::binary) << whole;
    }
    fs::rename(file, folder.file("aside"));
    CHECK(OpenStatus(path).code() == StatusCode::kDataLoss);
    fs::rename(folder.file("aside"), file);
  }
  fs::rename(folder.file("db/CURRENT"), folder.file("aside"));
  CHECK(OpenStatus(path).code() == StatusCode::kDataLoss);
  fs::rename(folder.file("aside"), folder.file("db/CURRENT"));
  Opened opened(path);
  CHECK(FoundByWord(*opened.Open("c"), "zebra") == 1);
}

TEST_CASE("an open store has no seal, and a seal of another state says nothing") {
  const TemporaryFolder folder;
  const std::string path = folder.file("db");
  { Opened opened(path); }
  fs::copy_file(folder.file("db/rag.seal"), folder.file("old"));
  {
    Opened opened(path);
    CHECK_FALSE(fs::exists(folder.file("db/rag.seal")));
    REQUIRE_OK(opened.Create(Config("c"))->Replace(Document("a", 1, "zebra")));
  }
  // As a program that knows no seals would leave it.
  fs::copy_file(folder.file("old"), folder.file("db/rag.seal"),
                fs::copy_options::overwrite_existing);
  {
    Opened opened(path);
    CHECK(FoundByWord(*opened.Open("c"), "zebra") == 1);
  }
  std::ofstream(folder.file("db/rag.seal")) << "no seal";
  Opened opened(path);
  CHECK(FoundByWord(*opened.Open("c"), "zebra") == 1);
}
