// Collections whose vectors lie on disk, or were found damaged there.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <random>

#include "tests/index/store_support.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {
namespace fs = std::filesystem;

constexpr size_t kWide = 48;
constexpr size_t kCount = 2'500;

CollectionConfig DiskConfig(RowPlace place) {
  CollectionConfig config = Config("c", kWide);
  config.vectors.hnsw.codes = CodeKind::kSq8;
  config.vectors.hnsw.ef_construction = 60;
  config.vectors.metric = Metric::kL2;  // rows are what was added
  config.vectors.rows = place;
  return config;
}

std::vector<DocumentInput> Batch(const Matrix& rows, size_t first, size_t count) {
  std::vector<DocumentInput> documents;
  for (size_t i = first; i < first + count; ++i) {
    documents.push_back(Document(StrCat("d", i), 0, "word"));
    documents.back().chunks[0].vector.assign(rows.row(i).begin(), rows.row(i).end());
  }
  return documents;
}

std::string BytesOf(std::span<const float> vector) {
  return {reinterpret_cast<const char*>(vector.data()), vector.size_bytes()};
}

std::vector<fs::path> Snapshots(const fs::path& store) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(store / "graphs")) found.push_back(entry.path());
  return found;
}

TEST_CASE("a collection with its vectors on disk: reopened, vacuumed, backed up") {
  const TemporaryFolder folder;
  StoreOptions options;
  options.sync_writes = false;
  const std::string path = folder.file("db");
  const Matrix rows = Clustered(kCount, kWide, 1);
  {
    Opened opened(path, options);
    const auto collection = opened.Create(DiskConfig(RowPlace::kDisk));
    REQUIRE_OK(collection->ReplaceMany(Batch(rows, 0, kCount)));
    REQUIRE(collection->Stats()->index_disk_bytes >= kCount * kWide * sizeof(float));
    REQUIRE(collection->Stats()->index_memory_bytes < kCount * (kWide * sizeof(float) + 300));
    REQUIRE_OK(opened.store->Close());
  }
  REQUIRE(Snapshots(path).size() == 1);
  Opened opened(path, options);
  const auto collection = opened.Open("c");
  REQUIRE(collection->config().vectors.rows == RowPlace::kDisk);
  REQUIRE(collection->Stats()->replayed == 0);
  REQUIRE(collection->Stats()->index_disk_bytes >= kCount * kWide * sizeof(float));
  RequireSound(*collection);
  for (size_t i = 0; i < kCount; i += 100) {
    const auto found = collection->SearchVectors(rows.row(i), 1, nullptr, 100);
    REQUIRE_OK(found);
    REQUIRE((*found)[0].score == 0);
  }
  REQUIRE_OK(opened.store->Backup(folder.file("backup")));

  REQUIRE_OK(collection->Remove("d7"));
  REQUIRE(AnyFileHolds(path, BytesOf(rows.row(7))));
  REQUIRE_OK(opened.store->Vacuum());
  REQUIRE_FALSE(AnyFileHolds(path, BytesOf(rows.row(7))));
  // Nor does a file that has lost its name and that the index still reads.
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = fs::read_symlink(entry.path(), error).string();
    if (error || !target.starts_with(path) || !target.ends_with("(deleted)")) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(in)), {});
    INFO(target);
    REQUIRE(content.find(BytesOf(rows.row(7))) == std::string::npos);
  }
  RequireSound(*collection);
  REQUIRE_OK(opened.store->Close());

  REQUIRE_OK(Store::Restore(folder.file("backup"), folder.file("restored")));
  Opened restored(folder.file("restored"), options);
  REQUIRE(restored.Open("c")->Stats()->replayed == 0);
  RequireSound(*restored.Open("c"));
}

TEST_CASE("a vector found damaged while serving costs a rebuild, and no answer") {
  const RowPlace place = GENERATE(RowPlace::kMemory, RowPlace::kDisk);
  const TemporaryFolder folder;
  StoreOptions options;
  options.sync_writes = false;
  const std::string path = folder.file("db");
  const Matrix rows = Clustered(kCount, kWide, 2);
  {
    Opened opened(path, options);
    const auto collection = opened.Create(DiskConfig(place));
    REQUIRE_OK(collection->ReplaceMany(Batch(rows, 0, kCount)));
    REQUIRE_OK(opened.store->Close());
  }
  const size_t hit = 1'000;
  {
    const std::string snapshot = Snapshots(path).at(0).string();
    const size_t at = ReadAll(snapshot).find(BytesOf(rows.row(hit)));
    REQUIRE(at != std::string::npos);
    std::fstream file(snapshot, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at + 9));
    file.put('!');
  }
  {
    Opened opened(path, options);
    const auto collection = opened.Open("c");
    REQUIRE(collection->Stats()->replayed == 0);  // nobody has looked yet
    const auto found = collection->SearchVectors(rows.row(hit), 1, nullptr, 100);
    REQUIRE_OK(found);
    REQUIRE((*found)[0].score == 0);
    REQUIRE(collection->Stats()->replayed == kCount);
    RequireSound(*collection);
    REQUIRE_OK(collection->ReplaceMany(Batch(rows, 0, 10)));
    REQUIRE_OK(opened.store->Close());
  }
  Opened again(path, options);
  REQUIRE(again.Open("c")->Stats()->replayed == 0);
  RequireSound(*again.Open("c"));
}

TEST_CASE("a collection with a budget refuses documents when it is used up, and takes removals") {
  const TemporaryFolder folder;
  StoreOptions options;
  options.sync_writes = false;
  Opened opened(folder.file("db"), options);
  CollectionConfig config = Config("c", kWide);
  config.vectors.memory_budget_bytes = 200'000;
  const auto collection = opened.Create(config);
  const Matrix rows = Clustered(kCount, kWide, 3);
  size_t written = 0;
  Status status;
  for (; status.ok() && written < kCount; written += 100) {
    status = collection->ReplaceMany(Batch(rows, written, 100)).status();
  }
  REQUIRE(status.code() == StatusCode::kResourceExhausted);
  REQUIRE(status.message().find("'c'") != std::string::npos);
  const uint64_t held = collection->Stats()->documents;
  REQUIRE(held == written - 100);
  RequireSound(*collection);
  for (int i = 0; i < 10; ++i) REQUIRE_OK(collection->Remove(StrCat("d", i)));
  REQUIRE_OK(collection->ReplaceMany(Batch(rows, 0, 10)));
  REQUIRE(collection->Stats()->documents == held);
}

}  // namespace
}  // namespace rag::test
