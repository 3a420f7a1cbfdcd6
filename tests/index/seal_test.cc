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
  const fs::path file = FileOf(path, "MANIFEST-", "");
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
  fs::rename(folder.file("db/CURRENT"), folder.file("aside"));
  CHECK(OpenStatus(path).code() == StatusCode::kDataLoss);
  fs::rename(folder.file("aside"), folder.file("db/CURRENT"));
  Opened opened(path);
  CHECK(FoundByWord(*opened.Open("c"), "zebra") == 1);
}

TEST_CASE("files of records that are damaged leave the others to be read") {
  const TemporaryFolder folder;
  const std::string path = folder.file("db");
  {
    // Closing writes what is in memory into a file: the two collections lie in different ones.
    Opened opened(path);
    REQUIRE_OK(opened.Create(Config("one"))->Replace(Document("a", 1, "zebra")));
  }
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.path().extension() == ".sst") files.push_back(entry.path());
  }
  {
    Opened opened(path);
    REQUIRE_OK(opened.Create(Config("two"))->Replace(Document("a", 1, "giraffe")));
  }
  size_t served = 0, refused = 0, read = 0;
  for (const fs::path& file : files) {
    const std::string whole = ReadAll(file);
    // The end, without which a file cannot be opened.
    for (const bool cut : {false, true}) {
      if (cut) {
        fs::resize_file(file, whole.size() / 2);
      } else {
        std::ofstream(file, std::ios::binary)
            << whole.substr(0, whole.size() - 20) << std::string(20, 'x');
      }
      const auto runtime = MakeRuntime();
      auto store = Store::Open(path, {}, *runtime);
      if (!store.ok()) {
        // The file that says which collections there are.
        CHECK(store.status().code() == StatusCode::kDataLoss);
        ++refused;
      } else {
        const auto two = (*store)->OpenCollection("two");
        REQUIRE_OK(two);
        // RocksDB looks into every young file for what is not there and for ranges; whatever it
        // finds is right.
        const auto right = [&](const auto& result, const auto& is_right) {
          INFO(result.status().ToString());
          if (result.ok()) {
            CHECK(is_right(*result));
            ++read;
          } else {
            CHECK(result.status().code() == StatusCode::kDataLoss);
          }
        };
        right((*two)->GetBody("a"),
              [](const std::string& body) { return body == Document("a", 1, "giraffe").body; });
        right((*two)->GetDocument("a"), [](const DocumentRecord& document) {
          return document.payload == "payload of a" && document.chunk_ids.size() == 1;
        });
        right((*two)->SearchVectors(UnitVector(1), 1, nullptr),
              [](const std::vector<Neighbor>& near) { return near.size() == 1; });
        right((*two)->SearchLexical("giraffe", 5, nullptr),
              [](const std::vector<Neighbor>& words) { return words.size() == 1; });
        CHECK((*two)->Remove("a").status().code() == StatusCode::kFailedPrecondition);
        const auto one = (*store)->OpenCollection("one");
        if (one.ok()) {
          const auto verified = (*one)->Verify();
          CHECK((!verified.ok() || !verified->problems.empty()));
        }
        ++served;
        REQUIRE_OK((*store)->Close());
      }
      std::ofstream(file, std::ios::binary) << whole;
    }
  }
  CHECK(served > refused);
  CHECK(read > 3 * served);
  Opened opened(path);
  RequireSound(*opened.Open("one"));
  REQUIRE_OK(opened.Open("two")->Remove("a"));
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
