// A store that is read beside its writer and refreshed.
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "index/index_spec.h"
#include "index/store.h"
#include "tests/index/store_support.h"

using namespace rag;
using namespace rag::test;
namespace fs = std::filesystem;

TEST_CASE("a refreshed store is read as its writer has left it meanwhile") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  Opened writer(path);
  CollectionConfig config = Config("c");
  config.sparse_dim = 100;
  const auto written = writer.Create(config);
  const auto lexical = writer.Create(Config("words", 0));
  const auto dropped = writer.Create(Config("dropped"));
  const auto put = [&](const std::string& key, size_t axis, const std::string& attributes) {
    DocumentInput document = Document(key, axis, "zebra", attributes);
    document.chunks[0].sparse.entries = {{7, 1.0f}};
    REQUIRE_OK(written->Replace(document));
    document.chunks[0].vector.clear();
    document.chunks[0].sparse.entries.clear();
    REQUIRE_OK(lexical->Replace(document));
  };
  put("a", 1, R"({"year": 2020})");
  put("b", 2, R"({"year": 2021})");
  StoreOptions options;
  options.read_only = true;
  Opened reader(path, options);
  const auto collection = reader.Open("c");
  const auto words = reader.Open("words");
  const auto gone = reader.Open("dropped");
  const Result<Filter> filter = Filter::Parse("year = 2021");
  REQUIRE_OK(filter);
  const auto keys_found = [&](const Result<std::vector<Neighbor>>& found,
                              const Collection& in) -> std::set<std::string> {
    REQUIRE_OK(found);
    std::set<std::string> keys;
    for (const Neighbor& neighbor : *found) {
      const Result<ChunkRecord> chunk = in.GetChunk(neighbor.id);
      REQUIRE_OK(chunk);
      keys.insert(chunk->document_key);
    }
    return keys;
  };
  const auto check = [&](const std::set<std::string>& all, const std::set<std::string>& filtered) {
    const SparseVector query{{{7, 1.0f}}};
    for (const Filter* given : {static_cast<const Filter*>(nullptr), &*filter}) {
      const std::set<std::string>& wanted = given == nullptr ? all : filtered;
      CHECK(keys_found(collection->SearchVectors(UnitVector(2), 9, given), *collection) == wanted);
      CHECK(keys_found(collection->SearchLexical("zebra", 9, given), *collection) == wanted);
      CHECK(keys_found(collection->SearchSparse(query, 9, given), *collection) == wanted);
      CHECK(keys_found(words->SearchLexical("zebra", 9, given), *words) == wanted);
    }
    CHECK(collection->Stats()->documents == all.size());
    CHECK(words->Stats()->documents == all.size());
  };
  check({"a", "b"}, {"b"});
  // Nothing was written, so nothing changes.
  CHECK_FALSE(*reader.store->Refresh());
  check({"a", "b"}, {"b"});

  put("d", 3, R"({"year": 2021})");
  REQUIRE_OK(written->Remove("b"));
  REQUIRE_OK(lexical->Remove("b"));
  check({"a", "b"}, {"b"});
  REQUIRE_OK(reader.store->Refresh());
  check({"a", "d"}, {"d"});
  // What the log told was all that was read.
  CHECK(collection->Stats()->replayed == 4);  // a and b at opening
  // Of snapshots that were saved meanwhile, before and after the last of what was written.
  put("e", 4, R"({"year": 2022})");
  REQUIRE_OK(written->Checkpoint());
  put("f", 5, R"({"year": 2021})");
  REQUIRE_OK(reader.store->Refresh());
  check({"a", "d", "e", "f"}, {"d", "f"});
  put("g", 6, R"({"year": 2021})");
  REQUIRE_OK(written->Remove("a"));
  REQUIRE_OK(lexical->Remove("a"));
  REQUIRE_OK(written->Checkpoint());
  REQUIRE_OK(writer.store->Vacuum());
  REQUIRE_OK(reader.store->Refresh());
  check({"d", "e", "f", "g"}, {"d", "f", "g"});

  // Collections come, go, and come again under their names.
  REQUIRE_OK(writer.store->DropCollection("dropped"));
  REQUIRE_OK(writer.store->DropCollection("words"));
  REQUIRE_OK(writer.Create(Config("words", 0))->Replace([] {
    DocumentInput document = Document("other", 1, "zebra");
    document.chunks[0].vector.clear();
    return document;
  }()));
  REQUIRE_OK(writer.Create(Config("new"))->Replace(Document("n", 1, "zebra")));
  REQUIRE_OK(reader.store->Refresh());
  CHECK(gone->Stats().status().message() == "collection 'dropped' was dropped");
  CHECK(words->Stats().status().message() == "collection 'words' was dropped");
  CHECK(reader.store->ListCollections() == std::vector<std::string>{"c", "new", "words"});
  CHECK(FoundByWord(*reader.Open("words"), "zebra") == 1);
  CHECK(FoundByWord(*reader.Open("new"), "zebra") == 1);

  // The writer's end changes nothing; another index is taken over.
  REQUIRE_OK(written->Replace(Document("h", 7, "zebra", R"({"year": 2021})")));
  REQUIRE_OK(writer.store->Close());
  REQUIRE_OK(reader.store->Refresh());
  CHECK(keys_found(collection->SearchVectors(UnitVector(7), 1, nullptr), *collection) ==
        std::set<std::string>{"h"});
  CHECK(keys_found(collection->SearchVectors(UnitVector(7), 9, &*filter), *collection) ==
        std::set<std::string>{"d", "f", "g", "h"});
  RequireSound(*collection);
}

TEST_CASE("a reader takes over an index that its writer has tuned") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  Opened writer(path);
  const auto written = writer.Create(Config("c"));
  std::vector<DocumentInput> documents;
  for (int i = 0; i < 1'000; ++i) {
    documents.push_back(Document(StrCat("d", i), i, "zebra"));
    documents.back().chunks[0].vector = UnitVector(i, static_cast<float>(i) / 1'000);
  }
  REQUIRE_OK(written->ReplaceMany(documents));
  StoreOptions options;
  options.read_only = true;
  Opened reader(path, options);
  const auto collection = reader.Open("c");
  TuneGoal goal;
  goal.recall = 0.9;
  REQUIRE_OK(written->Tune(goal, /*apply=*/true));
  REQUIRE_OK(reader.store->Refresh());
  CHECK(collection->config().goal == goal);
  CHECK(FormatIndexSpec(collection->config().vectors) ==
        FormatIndexSpec(written->config().vectors));
  RequireSound(*collection);
  REQUIRE_OK(written->Replace(Document("later", 3, "zebra")));
  REQUIRE_OK(reader.store->Refresh());
  CHECK(collection->Stats()->chunks == 1'001);
  RequireSound(*collection);
}

// Another store in the same place has its own history, though the numbers may go on.
TEST_CASE("a reader notices that a backup was put in its store's place") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  {
    Opened other(folder.file("other"));
    const auto collection = other.Create(Config("c"));
    for (int i = 0; i < 5; ++i) {
      REQUIRE_OK(collection->Replace(Document(StrCat("o", i), i, "zebra")));
    }
  }
  {
    Opened writer(path);
    REQUIRE_OK(writer.Create(Config("c"))->Replace(Document("a", 1, "zebra")));
  }
  StoreOptions options;
  options.read_only = true;
  Opened reader(path, options);
  const auto collection = reader.Open("c");
  fs::rename(path, folder.file("old"));
  CHECK(reader.store->Refresh().status().code() == StatusCode::kNotFound);
  CHECK(FoundByWord(*collection, "zebra") == 1);
  fs::rename(folder.file("other"), path);
  REQUIRE_OK(reader.store->Refresh());
  CHECK(FoundByWord(*collection, "zebra") == 5);
  CHECK(collection->SearchVectors(UnitVector(0), 9, nullptr)->size() == 5);
  RequireSound(*collection);
}

// What failed must not be taken for done: the database is the new one by then, the index is not.
TEST_CASE("a refresh that failed is made good by the next") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  const auto make = [](const std::string& at, size_t first_axis) {
    Opened writer(at);
    const auto collection = writer.Create(Config("c"));
    for (size_t i = 0; i < 3; ++i) {
      REQUIRE_OK(collection->Replace(Document(StrCat("d", i), first_axis + i, "zebra")));
    }
  };
  make(path, 0);
  make(folder.file("other"), 3);
  StoreOptions options;
  options.read_only = true;
  Opened reader(path, options);
  const auto collection = reader.Open("c");
  fs::rename(path, folder.file("old"));
  fs::rename(folder.file("other"), path);
  // A snapshot that is newer than what is read is one that the writer has saved meanwhile.
  const fs::path newer = fs::path(path) / "graphs" / "1-999.vectors";
  std::ofstream(newer) << "x";
  fs::last_write_time(newer, fs::file_time_type::clock::now() + std::chrono::hours(1));
  CHECK(reader.store->Refresh().status().code() == StatusCode::kUnavailable);
  CHECK(reader.store->Refresh().status().code() == StatusCode::kUnavailable);
  fs::remove(newer);
  CHECK(*reader.store->Refresh());
  CHECK_FALSE(*reader.store->Refresh());
  const auto found = collection->SearchVectors(UnitVector(4), 1, nullptr);
  REQUIRE_OK(found);
  CHECK(found->front().score == Approx(1));
  CHECK(collection->GetChunk(found->front().id)->document_key == "d1");
  RequireSound(*collection);
}

TEST_CASE("a reader of a damaged store follows its repair") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  const std::string backup = folder.file("backup");
  {
    Opened writer(path);
    const auto collection = writer.Create(Config("c"));
    REQUIRE_OK(collection->Replace(Document("a", 1, "zebra")));
    REQUIRE_OK(writer.store->Backup(backup));
  }
  StoreOptions options;
  options.read_only = true;
  const auto runtime = test::MakeRuntime();
  // One of the files that do not say which collections there are.
  Result<std::unique_ptr<Store>> reader = DataLossError("no file is damaged");
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.path().extension() != ".sst") continue;
    const std::string whole = ReadAll(entry.path());
    fs::resize_file(entry.path(), whole.size() / 2);
    reader = Store::Open(path, options, *runtime);
    if (reader.ok()) break;
    std::ofstream(entry.path(), std::ios::binary) << whole;
  }
  REQUIRE_OK(reader);
  CHECK((*reader)->Refresh().status().code() == StatusCode::kDataLoss);
  fs::rename(path, folder.file("damaged"));
  REQUIRE_OK(Store::Restore(backup, path));
  {
    Opened writer(path);
    REQUIRE_OK(writer.Open("c")->Replace(Document("b", 2, "zebra")));
  }
  CHECK(*(*reader)->Refresh());
  const auto collection = (*reader)->OpenCollection("c");
  REQUIRE_OK(collection);
  CHECK(FoundByWord(**collection, "zebra") == 2);
  CHECK_FALSE(*(*reader)->Refresh());
}

TEST_CASE("a reader is refreshed while it is searched and its store is written") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  Opened writer(path);
  const auto written = writer.Create(Config("c"));
  std::atomic<int> acknowledged{0};
  std::jthread writing([&](const std::stop_token& stop) {
    for (int i = 0; !stop.stop_requested(); ++i) {
      if (!written->Replace(Document(StrCat("d", i), i % 4, "zebra", R"({"year": 2020})")).ok())
        return;
      if (i > 0 && !written->Remove(StrCat("d", i - 1)).ok()) return;  // one is left at each end
      if (!written->Replace(Document(StrCat("k", i), i % 4, "zebra", R"({"year": 2020})")).ok())
        return;
      acknowledged = i + 1;
      if (i % 7 == 0 && !written->Checkpoint().ok()) return;
      if (i % 40 == 0 && !writer.store->Vacuum().ok()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  while (acknowledged == 0) std::this_thread::yield();
  StoreOptions options;
  options.read_only = true;
  std::unique_ptr<Opened> reader;
  std::shared_ptr<Collection> collection;
  while (collection == nullptr) {
    reader = std::make_unique<Opened>(path, options);
    const Result<std::shared_ptr<Collection>> opened = reader->store->OpenCollection("c");
    if (opened.ok()) collection = *opened;  // else it was saved anew in between
  }
  std::atomic<int> wrong{0};
  std::jthread searching([&](const std::stop_token& stop) {
    const Result<Filter> filter = Filter::Parse("year = 2020");
    while (!stop.stop_requested()) {
      for (const Filter* given : {static_cast<const Filter*>(nullptr), &*filter}) {
        const auto near = collection->SearchVectors(UnitVector(1), 3, given);
        const auto words = collection->SearchLexical("zebra", 3, given);
        for (const auto* found : {&near, &words}) {
          // A file that the writer has removed is there again after the next refresh.
          const bool fine =
              found->ok() ? !(*found)->empty() : found->status().code() == StatusCode::kUnavailable;
          wrong += !fine;
        }
      }
    }
  });
  int refreshed = 0;
  for (int round = 0; round < 40; ++round) {
    const int least = acknowledged;
    const Status status = reader->store->Refresh().status();
    if (status.code() == StatusCode::kUnavailable) continue;
    REQUIRE_OK(status);
    ++refreshed;
    REQUIRE_OK(collection->GetDocument(StrCat("k", least - 1)));
    CHECK(static_cast<int>(collection->Stats()->documents) >= least);
  }
  CHECK(refreshed > 0);
  searching = {};
  writing = {};
  CHECK(wrong == 0);
  REQUIRE_OK(writer.store->Close());
  REQUIRE_OK(reader->store->Refresh());
  CHECK(static_cast<int>(collection->Stats()->documents) >= acknowledged);
  RequireSound(*collection);
}
