#include "index/store.h"

#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "index/store/database.h"
#include "lib/base/process_lock.h"
#include "tests/index/store_support.h"

using namespace rag;
using namespace rag::test;
namespace fs = std::filesystem;

TEST_CASE("a document can be read and found by vector and by word, also after reopening") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  ChunkId chunk_id = 0;
  for (const bool reopened : {false, true}) {
    Opened opened(path);
    const auto collection = reopened ? opened.Open("c") : opened.Create(Config("c"));
    if (!reopened) {
      const auto written =
          collection->Replace(Document("a", 1, "zebra crossing", R"({"year":2020})"));
      REQUIRE_OK(written);
      CHECK_FALSE(written->replaced);
      CHECK(written->chunks_added == 1);
    }
    CHECK(collection->config().encoder_fingerprint == "test");
    CHECK(collection->config().properties == Config("c").properties);
    const auto document = collection->GetDocument("a");
    REQUIRE_OK(document);
    CHECK(document->payload == "payload of a");
    CHECK(document->attributes == *ParseJson(R"({"year":2020})"));
    CHECK(*collection->GetBody("a") == "body of a: zebra crossing");
    REQUIRE(document->chunk_ids.size() == 1);
    if (reopened) CHECK(document->chunk_ids[0] == chunk_id);
    chunk_id = document->chunk_ids[0];
    const auto chunk = collection->GetChunk(chunk_id);
    REQUIRE_OK(chunk);
    CHECK(chunk->document_key == "a");
    CHECK(chunk->payload == "zebra crossing");
    CHECK(*chunk->attributes.GetInt("year", 0) == 2020);
    CHECK(*collection->GetVector(chunk_id) == UnitVector(1));
    const auto near = collection->SearchVectors(UnitVector(1, 0.1f), 3, nullptr);
    REQUIRE_OK(near);
    REQUIRE(near->size() == 1);
    CHECK((*near)[0].id == chunk_id);
    CHECK(FoundByWord(*collection, "zebras") == 1);
    RequireSound(*collection);
  }
}

TEST_CASE("replacing and removing leave nothing of the old document") {
  const test::TemporaryFolder folder;
  Opened opened(folder.file("db"));
  const auto collection = opened.Create(Config("c"));
  REQUIRE_OK(collection->Replace(Document("a", 1, "zebra common")));
  REQUIRE_OK(collection->Replace(Document("b", 2, "giraffe common")));
  const ChunkId old_chunk = collection->GetDocument("a")->chunk_ids[0];
  const auto replaced = collection->Replace(Document("a", 3, "lion common"));
  REQUIRE_OK(replaced);
  CHECK(replaced->replaced);
  CHECK(replaced->chunks_removed == 1);
  CHECK(FoundByWord(*collection, "zebra") == 0);
  CHECK(FoundByWord(*collection, "lion") == 1);
  CHECK(FoundByWord(*collection, "common") == 2);
  CHECK(collection->GetChunk(old_chunk).status().code() == StatusCode::kNotFound);
  CHECK(collection->GetVector(old_chunk).status().code() == StatusCode::kNotFound);
  const auto near = collection->SearchVectors(UnitVector(1), 10, nullptr);
  REQUIRE_OK(near);
  for (const Neighbor& neighbor : *near) CHECK(neighbor.id != old_chunk);
  RequireSound(*collection);

  REQUIRE_OK(collection->Remove("a"));
  CHECK(collection->GetDocument("a").status().code() == StatusCode::kNotFound);
  CHECK(collection->GetBody("a").status().code() == StatusCode::kNotFound);
  CHECK(FoundByWord(*collection, "lion") == 0);
  CHECK(collection->Remove("a").status().code() == StatusCode::kNotFound);
  CHECK(collection->Stats()->documents == 1);
  CHECK(collection->Stats()->chunks == 1);
  RequireSound(*collection);
}

TEST_CASE("many documents are removed as one write") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  {
    Opened opened(path);
    const auto collection = opened.Create(Config("c"));
    std::vector<DocumentInput> documents;
    for (int i = 0; i < 40; ++i) {
      documents.push_back(
          Document(StrCat("d", i), i % 4, "common", StrCat("{\"even\":", i % 2 == 0 ? 1 : 0, "}")));
    }
    REQUIRE_OK(collection->ReplaceMany(documents));
    const Result<Filter> even = Filter::Parse("even = 1");
    REQUIRE_OK(even);
    CHECK(collection->SearchVectors(UnitVector(1), 40, &*even)->size() == 20);

    std::vector<std::string> keys;
    for (int i = 0; i < 40; i += 2) keys.push_back(StrCat("d", i));
    std::vector<std::string_view> removed(keys.begin(), keys.end());
    removed.insert(removed.begin() + 3, "never there");
    const auto results = collection->RemoveMany(removed);
    REQUIRE_OK(results);
    REQUIRE(results->size() == removed.size());
    for (size_t i = 0; i < removed.size(); ++i) {
      CHECK((*results)[i].replaced == (i != 3));
      CHECK((*results)[i].chunks_removed == (i != 3 ? 1 : 0));
    }
    // None of them is there any more, and nothing is written for them.
    const auto again = collection->RemoveMany(removed);
    REQUIRE_OK(again);
    for (const WriteResult& result : *again) CHECK_FALSE(result.replaced);
    REQUIRE_OK(collection->RemoveMany({}));
    const std::string_view twice[] = {"d1", "d1"};
    CHECK(collection->RemoveMany(twice).status().code() == StatusCode::kInvalidArgument);
    CHECK(collection->SearchVectors(UnitVector(1), 40, &*even)->empty());
  }
  Opened opened(path);
  const auto collection = opened.Open("c");
  CHECK(collection->Stats()->documents == 20);
  CHECK(collection->SearchLexical("common", 40, nullptr)->size() == 20);
  CHECK(collection->SearchVectors(UnitVector(1), 40, nullptr)->size() == 20);
  CHECK(collection->GetDocument("d0").status().code() == StatusCode::kNotFound);
  REQUIRE_OK(collection->GetDocument("d1"));
  RequireSound(*collection);
}

TEST_CASE("bad input is refused with its place and nothing is written") {
  const test::TemporaryFolder folder;
  Opened opened(folder.file("db"));
  const auto collection = opened.Create(Config("c"));
  const auto code = [&](const DocumentInput& document) {
    const Status status = collection->Replace(document).status();
    INFO(status.ToString());
    return status.code();
  };
  DocumentInput document = Document("", 1, "x");
  CHECK(code(document) == StatusCode::kInvalidArgument);
  document = Document(std::string(5000, 'k'), 1, "x");
  CHECK(code(document) == StatusCode::kInvalidArgument);
  document = Document("a", 1, "x");
  document.chunks[0].vector.pop_back();
  CHECK(code(document) == StatusCode::kInvalidArgument);
  document.chunks[0].vector.push_back(std::nanf(""));
  CHECK(code(document) == StatusCode::kInvalidArgument);
  document.chunks[0].vector.assign(kDim, 0.0f);
  CHECK(code(document) == StatusCode::kInvalidArgument);
  document = Document("a", 1, "x");
  document.attributes = Value("text");
  CHECK(code(document) == StatusCode::kInvalidArgument);
  const DocumentInput twice[] = {Document("a", 1, "x"), Document("a", 2, "y")};
  CHECK(collection->ReplaceMany(twice).status().code() == StatusCode::kInvalidArgument);
  CHECK(collection->Stats()->documents == 0);
  CHECK(collection->SearchVectors(std::vector<float>(3), 1, nullptr).status().code() ==
        StatusCode::kInvalidArgument);
  for (const char* name : {"", ".hidden", "a/b", "a b"}) {
    CHECK(opened.store->CreateCollection(Config(name)).status().code() ==
          StatusCode::kInvalidArgument);
  }
  CHECK(opened.store->CreateCollection(Config("c")).status().code() == StatusCode::kAlreadyExists);
  const Status missing = opened.store->OpenCollection("d").status();
  CHECK(missing.code() == StatusCode::kNotFound);
  CHECK(missing.message().find("there are: c") != std::string::npos);
}

TEST_CASE("a second opening is told who has the store") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  {
    Opened opened(path);
    const Status second = Store::Open(path, {}, *opened.runtime).status();
    CHECK(second.code() == StatusCode::kUnavailable);
    CHECK(second.message().find(StrCat("in use by pid ", static_cast<long long>(::getpid()))) !=
          std::string::npos);
  }
  Opened again(path);
}

TEST_CASE("collections are apart, and dropping one leaves no byte of it") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  Opened opened(path);
  const auto one = opened.Create(Config("one"));
  const auto two = opened.Create(Config("two"));
  REQUIRE_OK(one->Replace(Document("a", 1, "quagmire first")));
  REQUIRE_OK(two->Replace(Document("a", 2, "xylophone second")));
  CHECK(*one->GetBody("a") != *two->GetBody("a"));
  CHECK(opened.store->ListCollections() == std::vector<std::string>{"one", "two"});
  REQUIRE_OK(opened.store->DropCollection("one"));
  CHECK(opened.store->ListCollections() == std::vector<std::string>{"two"});
  CHECK(one->GetBody("a").status().code() == StatusCode::kFailedPrecondition);
  CHECK(FoundByWord(*two, "xylophone") == 1);
  RequireSound(*two);
  // A new one of the same name is empty.
  CHECK(FoundByWord(*opened.Create(Config("one")), "quagmire") == 0);
  REQUIRE_OK(opened.store->Close());
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    // The log's records of writes before the drop go with the next log.
    if (entry.path().extension() == ".log") fs::resize_file(entry.path(), 0);
  }
  CHECK_FALSE(AnyFileHolds(path, "quagmire first"));
  CHECK(AnyFileHolds(path, "xylophon"));
}

TEST_CASE("a filtered search gives k hits when k match") {
  const test::TemporaryFolder folder;
  Opened opened(folder.file("db"));
  const auto collection = opened.Create(Config("c"));
  std::vector<DocumentInput> documents;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (int i = 0; i < 600; ++i) {
    documents.push_back(Document(StrCat("d", i), 0, "word", StrCat("{\"n\":", i, "}")));
    for (float& value : documents.back().chunks[0].vector) value = normal(random);
  }
  REQUIRE_OK(collection->ReplaceMany(documents));
  for (const int bound : {5, 50, 300}) {
    const Result<Filter> filter = Filter::Parse(StrCat("n < ", bound));
    REQUIRE_OK(filter);
    const auto dense = collection->SearchVectors(UnitVector(1), 20, &*filter);
    const auto exact = collection->SearchVectors(UnitVector(1), 20, &*filter, 0, true);
    const auto lexical = collection->SearchLexical("word", 20, &*filter);
    for (const auto* found : {&dense, &exact, &lexical}) {
      REQUIRE_OK(*found);
      CHECK((*found)->size() == static_cast<size_t>(std::min(20, bound)));
      for (const Neighbor& neighbor : **found) {
        CHECK(*collection->GetChunk(neighbor.id)->attributes.GetInt("n", -1) < bound);
      }
    }
  }
  // Later writes are seen by a filter that was used before.
  const Result<Filter> filter = Filter::Parse("n < 5");
  REQUIRE_OK(collection->Remove("d0"));
  REQUIRE_OK(collection->Replace(Document("new", 1, "word", R"({"n":-1})")));
  REQUIRE_OK(collection->Replace(Document("d1", 1, "word", R"({"n":100})")));
  const auto found = collection->SearchLexical("word", 20, &*filter);
  REQUIRE_OK(found);
  CHECK(found->size() == 4);
}

TEST_CASE("attributes of a chunk lie over those of its document") {
  const test::TemporaryFolder folder;
  Opened opened(folder.file("db"));
  const auto collection = opened.Create(Config("c"));
  DocumentInput document = Document("a", 1, "x", R"({"lang":"en","year":1})");
  document.chunks[0].attributes = *ParseJson(R"({"year":2})");
  REQUIRE_OK(collection->Replace(document));
  const auto chunk = collection->GetChunk(collection->GetDocument("a")->chunk_ids[0]);
  CHECK(chunk->attributes == *ParseJson(R"({"lang":"en","year":2})"));
}

TEST_CASE("documents are listed in order, a page at a time") {
  const test::TemporaryFolder folder;
  Opened opened(folder.file("db"));
  const auto collection = opened.Create(Config("c"));
  for (const char* key : {"b", "a", "d", "c"}) {
    REQUIRE_OK(collection->Replace(Document(key, 1, "x")));
  }
  const auto first = collection->ListDocuments("", 3);
  REQUIRE_OK(first);
  REQUIRE(first->size() == 3);
  CHECK((*first)[0].key == "a");
  CHECK((*first)[2].key == "c");
  const auto rest = collection->ListDocuments("c", 3);
  REQUIRE(rest->size() == 1);
  CHECK((*rest)[0].key == "d");
}

TEST_CASE("writers from many threads all become durable") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  {
    Opened opened(path);
    const auto collection = opened.Create(Config("c"));
    std::vector<std::thread> threads;
    std::atomic<int> failures{0};
    for (size_t thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        for (int i = 0; i < 25; ++i) {
          // The same keys for all: each is replaced again and again.
          if (!collection->Replace(Document(StrCat("k", i), thread, "shared")).ok()) ++failures;
          (void)collection->SearchLexical("shared", 5, nullptr);
          (void)collection->SearchVectors(UnitVector(thread), 5, nullptr);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(failures == 0);
    CHECK(collection->Stats()->documents == 25);
    RequireSound(*collection);
  }
  Opened opened(path);
  const auto collection = opened.Open("c");
  CHECK(collection->Stats()->documents == 25);
  CHECK(collection->Stats()->replayed == 0);
  RequireSound(*collection);
}

TEST_CASE("opening replays the tail after the last snapshot, and rebuilds from a damaged one") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  const std::string copy = folder.file("copy");
  {
    Opened opened(path);
    const auto collection = opened.Create(Config("c"));
    for (int i = 0; i < 50; ++i) {
      REQUIRE_OK(collection->Replace(Document(StrCat("k", i), static_cast<size_t>(i), "x")));
    }
    REQUIRE_OK(collection->Checkpoint());
    REQUIRE_OK(collection->Replace(Document("k0", 3, "tail")));
    REQUIRE_OK(collection->Replace(Document("new", 4, "tail")));
    REQUIRE_OK(collection->Remove("k1"));
    // What a crash would leave.
    fs::copy(path, copy, fs::copy_options::recursive);
  }
  {
    Opened opened(copy);
    const auto collection = opened.Open("c");
    CHECK(collection->Stats()->replayed == 3);
    CHECK(collection->Stats()->documents == 50);
    CHECK(FoundByWord(*collection, "tail") == 2);
    RequireSound(*collection);
  }
  for (const auto& entry : fs::directory_iterator(fs::path(copy) / "graphs")) {
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(fs::file_size(entry.path()) / 2));
    file.write("damage", 6);
  }
  Opened opened(copy);
  const auto collection = opened.Open("c");
  CHECK(collection->Stats()->replayed == 50);
  RequireSound(*collection);
}

namespace {

// What this process has read from files, mapped ones left out.
uint64_t BytesRead() {
  std::ifstream in("/proc/self/io");
  std::string name;
  uint64_t value = 0;
  while (in >> name >> value) {
    if (name == "rchar:") return value;
  }
  FAIL("/proc/self/io does not tell");
  return 0;
}

}  // namespace

TEST_CASE("opening a collection reads none of its records") {
  const TemporaryFolder folder;
  const std::string path = folder.file("db");
  constexpr size_t kPayload = 4'000;
  constexpr int kDocuments = 4'000;
  {
    Opened opened(path);
    const auto collection = opened.Create(Config("c"));
    std::mt19937 random(9);
    std::normal_distribution<float> normal;
    std::vector<DocumentInput> documents;
    for (int i = 0; i < kDocuments; ++i) {
      documents.push_back(Document(StrCat("d", i), 0, "word"));
      std::string& payload = documents.back().chunks[0].payload;
      for (size_t j = 0; j < kPayload; ++j) payload += static_cast<char>(random());
      for (float& value : documents.back().chunks[0].vector) value = normal(random);
    }
    REQUIRE_OK(collection->ReplaceMany(documents));
  }
  Opened opened(path);
  const uint64_t before = BytesRead();
  const auto collection = opened.Open("c");
  CHECK(BytesRead() - before < kPayload * kDocuments / 20);
  CHECK(collection->Stats()->replayed == 0);
  CHECK(collection->SearchVectors(UnitVector(1), 5, nullptr)->size() == 5);
}

TEST_CASE("a collection without vectors searches by words alone") {
  const test::TemporaryFolder folder;
  Opened opened(folder.file("db"));
  const auto collection = opened.Create(Config("c", 0));
  DocumentInput document = Document("a", 1, "zebra");
  document.chunks[0].vector.clear();
  REQUIRE_OK(collection->Replace(document));
  CHECK(FoundByWord(*collection, "zebra") == 1);
  CHECK(collection->SearchVectors(UnitVector(1), 1, nullptr).status().code() ==
        StatusCode::kFailedPrecondition);
  RequireSound(*collection);
}

TEST_CASE("a collection of inverted lists keeps its settings") {
  const test::TemporaryFolder folder;
  CollectionConfig config = Config("c");
  config.vectors.kind = IndexKind::kIvf;
  config.vectors.ivf.codes = IvfCodes::kSq8;
  config.vectors.ivf.lists = 5;
  config.vectors.ivf.pq_bytes = 9;
  config.vectors.ivf.rotate = true;
  config.vectors.ivf.probes = 3;
  config.vectors.ivf.rerank = 7;
  for (const bool reopened : {false, true}) {
    Opened opened(folder.file("db"));
    const auto collection = reopened ? opened.Open("c") : opened.Create(config);
    if (!reopened) REQUIRE_OK(collection->Replace(Document("a", 1, "zebra")));
    const VectorIndexOptions& there = collection->config().vectors;
    CHECK(there.kind == IndexKind::kIvf);
    CHECK(there.ivf.codes == IvfCodes::kSq8);
    CHECK(there.ivf.lists == 5);
    CHECK(there.ivf.pq_bytes == 9);
    CHECK(there.ivf.rotate);
    CHECK(there.ivf.probes == 3);
    CHECK(there.ivf.rerank == 7);
    const auto near = collection->SearchVectors(UnitVector(1, 0.1f), 3, nullptr);
    REQUIRE_OK(near);
    CHECK(near->size() == 1);
  }
}

TEST_CASE("a store can be read without being written") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  StoreOptions options;
  options.read_only = true;
  {
    const auto runtime = test::MakeRuntime();
    CHECK(Store::Open(path, options, *runtime).status().code() == StatusCode::kNotFound);
  }
  {
    Opened opened(path);
    REQUIRE_OK(opened.Create(Config("c"))->Replace(Document("a", 1, "zebra")));
  }
  Opened opened(path, options);
  const auto collection = opened.Open("c");
  CHECK(FoundByWord(*collection, "zebra") == 1);
  CHECK(collection->Replace(Document("b", 1, "x")).status().code() ==
        StatusCode::kFailedPrecondition);
}

TEST_CASE("a store is read as it was opened while another writes it") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  Opened writer(path);
  const auto written = writer.Create(Config("c"));
  REQUIRE_OK(written->Replace(Document("a", 1, "zebra")));
  StoreOptions options;
  options.read_only = true;
  Opened before(path, options);
  REQUIRE_OK(written->Replace(Document("b", 2, "zebra")));
  Opened after(path, options);
  CHECK(FoundByWord(*before.Open("c"), "zebra") == 1);
  CHECK(FoundByWord(*after.Open("c"), "zebra") == 2);
  CHECK(after.Open("c")->SearchVectors(UnitVector(2), 1, nullptr)->front().id ==
        written->GetDocument("b")->chunk_ids[0]);
  REQUIRE_OK(writer.store->CheckWrites());
  CHECK(after.store->CheckWrites().code() == StatusCode::kFailedPrecondition);
  CHECK(after.store->DropCollection("c").code() == StatusCode::kFailedPrecondition);
  CHECK(after.store->CreateCollection(Config("d")).status().code() ==
        StatusCode::kFailedPrecondition);
  CHECK(FoundByWord(*after.Open("c"), "zebra") == 2);
  REQUIRE_OK(written->Replace(Document("d", 3, "zebra")));
}

// Flushes, compactions and snapshots replace the files under those that open them.
TEST_CASE("who opens a store to read finds what was acknowledged, whatever its writer does") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  Opened writer(path);
  const auto written = writer.Create(Config("c"));
  std::atomic<int> acknowledged{0};
  std::jthread writing([&](const std::stop_token& stop) {
    for (int i = 0; !stop.stop_requested(); ++i) {
      const std::string filling(5'000, static_cast<char>('a' + i % 26));  // a body of its own file
      if (!written->Replace(Document(StrCat("d", i), i % 4, StrCat("zebra ", filling))).ok())
        return;
      acknowledged = i + 1;
      if (i % 7 == 0 && !written->Checkpoint().ok()) return;
      if (i % 40 == 0 && !writer.store->Vacuum().ok()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  StoreOptions options;
  options.read_only = true;
  int read = 0;
  for (int round = 0; round < 30; ++round) {
    const int least = acknowledged;
    Opened reader(path, options);
    const int most = acknowledged + 1;
    const Result<std::shared_ptr<Collection>> opened = reader.store->OpenCollection("c");
    if (opened.status().code() == StatusCode::kUnavailable) continue;  // saved anew in between
    REQUIRE_OK(opened);
    ++read;
    const auto& collection = *opened;
    const auto documents = collection->ListDocuments("", 1'000'000);
    REQUIRE_OK(documents);
    const auto count = static_cast<int>(documents->size());
    CHECK(count >= least);
    CHECK(count <= most);
    for (int i = 0; i < count; ++i) REQUIRE_OK(collection->GetDocument(StrCat("d", i)));
    CHECK(static_cast<int>(collection->Stats()->chunks) == count);
    const auto by_word = collection->SearchLexical("zebra", count + 10, nullptr);
    REQUIRE_OK(by_word);
    CHECK(static_cast<int>(by_word->size()) == count);
    const auto near =
        collection->SearchVectors(UnitVector(1), count + 10, nullptr, 0, /*exact=*/true);
    REQUIRE_OK(near);
    CHECK(static_cast<int>(near->size()) == count);
  }
  CHECK(acknowledged > 0);
  CHECK(read > 0);
}

TEST_CASE("the first to read what a killed process left puts it in order for all") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  const std::string left = folder.file("left");
  {
    Opened opened(path);
    const auto collection = opened.Create(Config("c"));
    for (int i = 0; i < 9; ++i) {
      REQUIRE_OK(collection->Replace(Document(StrCat("d", i), 1, "zebra")));
    }
    fs::copy(path, left, fs::copy_options::recursive);
  }
  StoreOptions options;
  options.read_only = true;
  for (int i = 0; i < 2; ++i) {
    Opened opened(left, options);
    const auto collection = opened.Open("c");
    CHECK(FoundByWord(*collection, "zebra") == 9);
    CHECK(collection->Stats()->replayed == 0);
    RequireSound(*collection);
  }
}

TEST_CASE("an index that was saved anew since a store was opened is not made again from records") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  Opened writer(path);
  const auto written = writer.Create(Config("c"));
  REQUIRE_OK(written->Replace(Document("a", 1, "zebra")));
  REQUIRE_OK(written->Checkpoint());
  StoreOptions options;
  options.read_only = true;
  Opened reader(path, options);
  REQUIRE_OK(written->Replace(Document("b", 2, "zebra")));
  REQUIRE_OK(written->Checkpoint());
  const Status late = reader.store->OpenCollection("c").status();
  CHECK(late.code() == StatusCode::kUnavailable);
  CHECK(late.message() ==
        "collection 'c': another process has saved it anew since the store was opened; open that "
        "again");
  Opened again(path, options);
  CHECK(again.Open("c")->Stats()->documents == 2);
}

TEST_CASE("why a filter allows nothing is known also after writes") {
  const test::TemporaryFolder folder;
  Opened opened(folder.file("db"));
  const auto collection = opened.Create(Config("c"));
  REQUIRE_OK(collection->Replace(Document("a", 1, "zebra", R"({"year": 2020})")));
  const Result<Filter> filter = Filter::Parse("lang = 5");
  REQUIRE_OK(filter);
  CHECK(*collection->ExplainFilter(*filter) == "no passage has a field 'lang' (they have year)");
  REQUIRE_OK(collection->Replace(Document("b", 2, "zebra", R"({"lang": "ko"})")));
  CHECK(*collection->ExplainFilter(*filter) ==
        "'lang' is of type string, for which no comparison with a int is true");
  REQUIRE_OK(collection->Replace(Document("c", 3, "zebra", R"({"lang": 5})")));
  CHECK(*collection->ExplainFilter(*filter) == "");
}

TEST_CASE("collections are opened, made and dropped at once by many") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  constexpr int kThreads = 6, kRounds = 15;
  {
    Opened opened(path);
    for (const char* name : {"a", "b", "kept"}) {
      REQUIRE_OK(opened.Create(Config(name))->Replace(Document("d", 1, "zebra")));
    }
  }
  Opened opened(path);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const std::string name = t % 2 == 0 ? "a" : "b";
      for (int round = 0; round < kRounds; ++round) {
        const StatusCode dropped = opened.store->DropCollection(name).code();
        const auto made = opened.store->CreateCollection(Config(name));
        const auto found = opened.store->OpenCollection(name);
        const auto kept = opened.store->OpenCollection("kept");
        wrong += dropped != StatusCode::kOk && dropped != StatusCode::kNotFound;
        wrong += !made.ok() && made.status().code() != StatusCode::kAlreadyExists;
        wrong += !found.ok() && found.status().code() != StatusCode::kNotFound;
        wrong += !kept.ok() || !(*kept)->GetDocument("d").ok();
        wrong += !opened.store->CheckWrites().ok();
        // Another may drop it meanwhile, but never in part.
        if (made.ok()) {
          const StatusCode written = (*made)->Replace(Document("e", 2, "giraffe")).status().code();
          wrong += written != StatusCode::kOk && written != StatusCode::kFailedPrecondition;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  RequireSound(*opened.Open("kept"));
  REQUIRE_OK(opened.store->Close());
  CHECK(opened.store->OpenCollection("kept").status().code() == StatusCode::kFailedPrecondition);
}

TEST_CASE("a collection that takes long to open keeps no other from being opened") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  {
    Opened opened(path);
    const auto large = opened.Create(Config("large", 64));
    std::vector<DocumentInput> documents;
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    for (int i = 0; i < 8'000; ++i) {
      DocumentInput document = Document(StrCat("d", i), 1, "");
      document.chunks[0].vector.resize(64);
      for (float& element : document.chunks[0].vector) element = normal(random);
      documents.push_back(std::move(document));
    }
    REQUIRE_OK(large->ReplaceMany(documents));
    REQUIRE_OK(opened.Create(Config("small"))->Replace(Document("a", 1, "zebra")));
  }
  fs::remove_all(fs::path(path) / "graphs");  // so that the graph is built again
  Opened opened(path);
  std::atomic<bool> begun{false}, done{false};
  std::thread opening([&] {
    begun = true;
    opened.store->OpenCollection("large").status().Ignore();
    done = true;
  });
  while (!begun) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(FoundByWord(*opened.Open("small"), "zebra") == 1);
  CHECK_FALSE(done);
  opening.join();
  CHECK(opened.Open("large")->Stats()->chunks == 8'000);
}

TEST_CASE("a writer waits for who puts the store in order") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  { Opened opened(path); }
  Result<ProcessLock> lock = ProcessLock::Take(path, "it", ProcessLock::Holder::kRecovers);
  REQUIRE_OK(lock);
  // Another that would put it in order leaves that to the first.
  const Status other = ProcessLock::Take(path, "it", ProcessLock::Holder::kRecovers).status();
  CHECK(other.message() == StrCat("it is in use by pid ", static_cast<long long>(::getpid())));
  std::thread recovering([&lock] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    lock = ProcessLock();
  });
  const auto runtime = test::MakeRuntime();
  const Status opened = Store::Open(path, {}, *runtime).status();
  recovering.join();
  REQUIRE_OK(opened);
}

TEST_CASE("a store of a newer format is refused") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("db");
  { Opened opened(path); }
  {
    // As a newer program would leave it.
    const auto runtime = test::MakeRuntime();
    Result<std::unique_ptr<Database>> database = Database::Open(path, {}, *runtime);
    REQUIRE_OK(database);
    Batch batch;
    batch.Put(Family::kDefault, "format", "999");
    REQUIRE_OK((*database)->Write(batch));
  }
  const auto runtime = test::MakeRuntime();
  const Status status = Store::Open(path, {}, *runtime).status();
  CHECK(status.code() == StatusCode::kFailedPrecondition);
  CHECK(status.message().find("999") != std::string::npos);
}
