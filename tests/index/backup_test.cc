#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <thread>

#include "index/store.h"
#include "tests/index/store_support.h"

using namespace rag;
using namespace rag::test;
namespace fs = std::filesystem;

namespace {

DocumentInput Random(const std::string& key, int version) {
  std::mt19937 random(static_cast<uint32_t>(std::hash<std::string>()(key) + version));
  std::normal_distribution<float> normal;
  DocumentInput document = Document(key, 0, StrCat("word version", version));
  document.payload = StrCat(version);
  for (float& value : document.chunks[0].vector) value = normal(random);
  return document;
}

void FlipByte(const fs::path& path, uint64_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const char old = static_cast<char>(file.get());
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(old ^ 0x10));
}

void CheckSame(const Collection& one, const Collection& other) {
  const auto left = one.ListDocuments("", 10'000);
  const auto right = other.ListDocuments("", 10'000);
  REQUIRE_OK(left);
  REQUIRE_OK(right);
  REQUIRE(left->size() == right->size());
  for (size_t i = 0; i < left->size(); ++i) {
    CHECK((*left)[i].key == (*right)[i].key);
    CHECK((*left)[i].payload == (*right)[i].payload);
    CHECK((*left)[i].chunk_ids == (*right)[i].chunk_ids);
    for (const ChunkId id : (*left)[i].chunk_ids) {
      CHECK(one.GetVector(id).value() == other.GetVector(id).value());
    }
  }
}

}  // namespace

TEST_CASE("a backup restored in another folder holds the same, and needs no replay") {
  const TemporaryFolder folder;
  Opened opened(folder.file("db"));
  const auto vectors = opened.Create(Config("vectors"));
  const auto words = opened.Create(Config("words", 0));
  for (int i = 0; i < 200; ++i) REQUIRE_OK(vectors->Replace(Random(StrCat("d", i), i)));
  DocumentInput lexical = Document("only", 1, "zebra");
  lexical.chunks[0].vector.clear();
  REQUIRE_OK(words->Replace(lexical));
  REQUIRE_OK(vectors->Checkpoint());
  REQUIRE_OK(vectors->Remove("d7"));

  CareProgress progress;
  const auto made = opened.store->Backup(folder.file("deep/backup"), &progress);
  REQUIRE_OK(made);
  CHECK(made->files > 3);
  CHECK(made->bytes > 200 * kDim * sizeof(float));
  CHECK(progress.done == made->bytes);
  CHECK(progress.total == made->bytes);
  CHECK_FALSE(fs::exists(folder.file("deep/backup.partial")));
  CHECK_FALSE(fs::exists(fs::path(folder.file("db")) / "backup.staging"));
  // Later writes are not in it.
  REQUIRE_OK(vectors->Remove("d8"));

  const auto restored = Store::Restore(folder.file("deep/backup"), folder.file("other"));
  REQUIRE_OK(restored);
  CHECK(restored->files == made->files);
  CHECK(restored->bytes == made->bytes);
  Opened other(folder.file("other"));
  const auto copy = other.Open("vectors");
  CHECK(copy->Stats()->replayed == 1);  // the removal after the snapshot
  CHECK(copy->Stats()->documents == 199);
  RequireSound(*copy);
  RequireSound(*other.Open("words"));
  CHECK(FoundByWord(*other.Open("words"), "zebra") == 1);
  REQUIRE_OK(copy->Remove("d8"));
  CheckSame(*vectors, *copy);
  // The backup stands by itself: writing to the restored store left it as it was.
  REQUIRE_OK(other.store->Close());
  REQUIRE_OK(Store::Restore(folder.file("deep/backup"), folder.file("third")));
}

TEST_CASE("a backup while writers go on is the store at one moment") {
  const TemporaryFolder folder;
  StoreOptions options;
  options.sync_writes = false;  // more writes for the time
  Opened opened(folder.file("db"), options);
  const auto collection = opened.Create(Config("c"));
  // Writer i keeps the versions of its two documents equal, in one batch; only a state that never
  // was has them differ.
  std::atomic<bool> stop{false};
  std::atomic<int> failures{0};
  std::vector<std::thread> writers;
  for (int writer = 0; writer < 2; ++writer) {
    writers.emplace_back([&, writer] {
      for (int version = 0; !stop.load(); ++version) {
        const DocumentInput pair[] = {Random(StrCat("w", writer, "a"), version),
                                      Random(StrCat("w", writer, "b"), version)};
        if (!collection->ReplaceMany(pair).ok()) ++failures;
        if (version % 50 == 20 && !collection->Checkpoint().ok()) ++failures;
      }
    });
  }
  std::map<std::string, int> before;
  for (int round = 0; round < 6; ++round) {
    for (const char* key : {"w0a", "w1a"}) {
      const auto document = collection->GetDocument(key);
      before[key] = document.ok() ? std::stoi(document->payload) : -1;
    }
    const std::string path = folder.file(StrCat("backup", round));
    const auto made = opened.store->Backup(path);
    REQUIRE_OK(made);
    REQUIRE_OK(Store::Restore(path, folder.file(StrCat("copy", round))));
    Opened copy(folder.file(StrCat("copy", round)));
    const auto restored = copy.Open("c");
    RequireSound(*restored);
    for (const std::string writer : {"w0", "w1"}) {
      const auto first = restored->GetDocument(writer + "a");
      const auto second = restored->GetDocument(writer + "b");
      if (before[writer + "a"] >= 0) REQUIRE_OK(first);
      if (!first.ok()) continue;
      REQUIRE_OK(second);
      CHECK(first->payload == second->payload);
      CHECK(std::stoi(first->payload) >= before[writer + "a"]);
    }
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  CHECK(failures == 0);
}

TEST_CASE("a backup or restore goes only where nothing is") {
  const TemporaryFolder folder;
  const std::string db = folder.file("db");
  Opened opened(db);
  REQUIRE_OK(opened.Create(Config("c"))->Replace(Document("a", 1, "zebra")));
  const auto code = [](const Result<BackupReport>& result) {
    INFO(result.status().ToString());
    return result.status().code();
  };
  CHECK(code(opened.store->Backup("")) == StatusCode::kInvalidArgument);
  CHECK(code(opened.store->Backup(db + "/inside")) == StatusCode::kInvalidArgument);
  CHECK(code(opened.store->Backup(db)) == StatusCode::kInvalidArgument);
  fs::create_directory(folder.file("full"));
  std::ofstream(folder.file("full/file")) << "mine";
  CHECK(code(opened.store->Backup(folder.file("full"))) == StatusCode::kAlreadyExists);
  CHECK(ReadAll(folder.file("full/file")) == "mine");
  fs::create_directory(folder.file("empty"));
  REQUIRE_OK(opened.store->Backup(folder.file("empty")));
  CHECK(code(opened.store->Backup(folder.file("empty"))) == StatusCode::kAlreadyExists);
  CHECK(code(Store::Restore(folder.file("empty"), folder.file("full"))) ==
        StatusCode::kAlreadyExists);
  CHECK(code(Store::Restore(folder.file("full"), folder.file("new"))) == StatusCode::kNotFound);
  CHECK(code(Store::Restore(folder.file("absent"), folder.file("new"))) == StatusCode::kNotFound);
  CHECK_FALSE(fs::exists(folder.file("new")));
  CHECK_FALSE(fs::exists(folder.file("new.partial")));

  CancelToken cancel;
  cancel.Cancel();
  CHECK(code(opened.store->Backup(folder.file("new"), nullptr, &cancel)) == StatusCode::kCancelled);
  CHECK_FALSE(fs::exists(folder.file("new")));
  CHECK_FALSE(fs::exists(folder.file("new.partial")));
}

TEST_CASE("what a killed backup left is cleared, and is no backup") {
  const TemporaryFolder folder;
  Opened opened(folder.file("db"));
  REQUIRE_OK(opened.Create(Config("c"))->Replace(Document("a", 1, "zebra")));
  // As a process killed between two files leaves it.
  fs::create_directories(folder.file("backup.partial/store"));
  std::ofstream(folder.file("backup.partial/store/CURRENT")) << "MANIFEST-000001\n";
  CHECK(Store::Restore(folder.file("backup.partial"), folder.file("new")).status().code() ==
        StatusCode::kNotFound);
  REQUIRE_OK(opened.store->Backup(folder.file("backup")));
  CHECK_FALSE(fs::exists(folder.file("backup.partial")));
  REQUIRE_OK(Store::Restore(folder.file("backup"), folder.file("new")));
  // And what it left in the store goes when that is opened.
  REQUIRE_OK(opened.store->Close());
  fs::create_directories(folder.file("db/backup.staging/store"));
  std::ofstream(folder.file("db/graphs/1-5.vectors.tmp.123")) << "half";
  Opened again(folder.file("db"));
  CHECK_FALSE(fs::exists(folder.file("db/backup.staging")));
  CHECK_FALSE(fs::exists(folder.file("db/graphs/1-5.vectors.tmp.123")));
}

TEST_CASE("restoring refuses a backup with any damaged file") {
  const TemporaryFolder folder;
  {
    Opened opened(folder.file("db"));
    const auto collection = opened.Create(Config("c"));
    for (int i = 0; i < 20; ++i) REQUIRE_OK(collection->Replace(Random(StrCat("d", i), i)));
    REQUIRE_OK(collection->Checkpoint());
    REQUIRE_OK(opened.store->Backup(folder.file("backup")));
  }
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder.file("backup"))) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::mt19937 random(5);
  const auto refused = [&](const fs::path& file) {
    const Status status = Store::Restore(folder.file("backup"), folder.file("new")).status();
    INFO(file << ": " << status.ToString());
    CHECK(status.code() == StatusCode::kDataLoss);
    CHECK(status.message().find(file.filename().string()) != std::string::npos);
    CHECK_FALSE(fs::exists(folder.file("new")));
  };
  for (const fs::path& file : files) {
    const uint64_t size = fs::file_size(file);
    if (size == 0) continue;
    const std::string whole = ReadAll(file);
    FlipByte(file, random() % size);
    refused(file);
    fs::resize_file(file, size - 1);
    refused(file);
    fs::remove(file);
    if (file.filename() != "backup.json") refused(file);
    std::ofstream(file, std::ios::binary) << whole;
  }
  REQUIRE_OK(Store::Restore(folder.file("backup"), folder.file("whole")));
  // A list that is whole but points elsewhere.
  std::ofstream(folder.file("backup/backup.json")) << "{}\n"
                                                   << "0\n";
  refused(folder.file("backup/backup.json"));
}
