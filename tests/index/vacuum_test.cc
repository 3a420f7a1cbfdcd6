#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <random>
#include <thread>

#include "index/store.h"
#include "tests/index/store_support.h"

using namespace rag;
using namespace rag::test;
namespace fs = std::filesystem;

namespace {

std::string Bytes(const std::vector<float>& vector) {
  std::string bytes(vector.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), vector.data(), bytes.size());
  return bytes;
}

// The direction that the index stores under cosine; half of it, since rounding may differ by the
// order of a sum.
std::vector<float> Marker(int i) {
  std::vector<float> vector(kDim);
  std::mt19937 random(static_cast<uint32_t>(i) + 77);
  std::normal_distribution<float> normal;
  for (float& value : vector) value = normal(random);
  return vector;
}

// Noise that no compression shortens: in blobs of their own file, not in a document's record.
std::string Noise(uint32_t seed, size_t bytes) {
  std::mt19937 random(seed);
  std::string noise(bytes, '\0');
  for (char& c : noise) c = static_cast<char>('!' + random() % 90);
  return noise;
}

}  // namespace

TEST_CASE("after a vacuum no file holds a byte of what was deleted, and the space is back") {
  const TemporaryFolder folder;
  const std::string path = folder.file("db");
  StoreOptions options;
  options.write_buffer_bytes = 256 << 10;  // several files on several levels
  Opened opened(path, options);
  CollectionConfig config = Config("c");
  config.vectors.metric = Metric::kL2;  // vectors are stored as they were given
  const auto collection = opened.Create(config);
  constexpr int kDocuments = 300;
  for (int i = 0; i < kDocuments; ++i) {
    // "zz…" and "!!…" are the first and the last keys, which manifests and indexes of files quote.
    const std::string key = StrCat(i % 3 == 0 ? "zzkey" : i % 3 == 1 ? "!!key" : "key", i, ".");
    DocumentInput document = Document(key, 0, StrCat("common zzmarker", i, "zz aamarker", i, "aa"),
                                      StrCat("{\"note\":\"attribute", i, "marker\"}"));
    document.payload = StrCat("payload", i, "marker");
    document.body = StrCat("body", i, "marker ", Noise(static_cast<uint32_t>(i), 6'000));
    document.chunks[0].vector = Marker(i);
    REQUIRE_OK(collection->Replace(document));
    if (i == kDocuments / 2) REQUIRE_OK(collection->Checkpoint());
  }
  REQUIRE_OK(collection->Checkpoint());
  // One is replaced, most are removed, a few stay.
  REQUIRE_OK(collection->Replace(Document("zzkey0.", 1, "another")));
  for (int i = 1; i < kDocuments; ++i) {
    if (i % 50 == 7) continue;
    const std::string key = StrCat(i % 3 == 0 ? "zzkey" : i % 3 == 1 ? "!!key" : "key", i, ".");
    REQUIRE_OK(collection->Remove(key));
  }
  const auto holds = [&](int i) {
    std::vector<std::string> found;
    const auto look = [&](const std::string& bytes, const char* what) {
      if (AnyFileHolds(path, bytes)) found.push_back(StrCat(what, " ", i));
    };
    look(StrCat("marker", i, "zz"), "the last term");
    look(StrCat("marker", i, "aa"), "the first term");
    look(StrCat("attribute", i, "marker"), "the attributes");
    look(StrCat("payload", i, "marker"), "the payload");
    look(Noise(static_cast<uint32_t>(i), 6'000).substr(3'000, 40), "the body");
    const std::string vector = Bytes(Marker(i));
    look(vector.substr(0, vector.size() / 2), "the vector");
    look(vector.substr(vector.size() / 2), "the vector");
    if (i % 3 == 0) look(StrCat("zzkey", i, "."), "the key");
    if (i % 3 == 1) look(StrCat("!!key", i, "."), "the key");
    return found;
  };
  REQUIRE_FALSE(holds(1).empty());  // what is looked for can be found

  CareProgress progress;
  const auto report = opened.store->Vacuum(&progress);
  REQUIRE_OK(report);
  CHECK(progress.done == progress.total);
  CHECK(report->bytes_after < report->bytes_before / 2);
  // The key of the replaced document is still one, so is not looked for.
  std::vector<std::string> left;
  for (int i = 1; i < kDocuments; i += 4) {
    if (i % 50 == 7) continue;
    for (std::string& what : holds(i)) left.push_back(std::move(what));
  }
  CAPTURE(left);
  CHECK(left.empty());
  CHECK_FALSE(holds(7).empty());
  RequireSound(*collection);
  CHECK(collection->Stats()->documents == 7);

  // Nor do they come back with the next opening.
  REQUIRE_OK(opened.store->Close());
  Opened again(path);
  RequireSound(*again.Open("c"));
  CHECK(holds(1).empty());
  CHECK(holds(2).empty());
  CHECK(holds(33).empty());
}

TEST_CASE("a vacuum lets readers and writers go on") {
  const TemporaryFolder folder;
  StoreOptions options;
  options.sync_writes = false;
  Opened opened(folder.file("db"), options);
  const auto collection = opened.Create(Config("c"));
  std::atomic<bool> stop{false};
  std::atomic<int> failures{0};
  std::atomic<int> written{0};
  std::thread writer([&] {
    for (int i = 0; !stop.load(); ++i) {
      if (!collection->Replace(Document(StrCat("k", i % 20), static_cast<size_t>(i), "word")).ok())
        ++failures;
      if (!collection->SearchVectors(UnitVector(1), 3, nullptr).ok()) ++failures;
      ++written;
    }
  });
  while (written < 50) std::this_thread::yield();
  for (int round = 0; round < 3; ++round) REQUIRE_OK(opened.store->Vacuum());
  stop = true;
  writer.join();
  CHECK(failures == 0);
  RequireSound(*collection);
}

TEST_CASE("neither memory nor disk grows with churn") {
  const TemporaryFolder folder;
  StoreOptions options;
  options.sync_writes = false;
  Opened opened(folder.file("db"), options);
  const auto collection = opened.Create(Config("c"));
  constexpr int kDocuments = 2'000;
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  const auto add = [&](int first, int step) {
    std::vector<DocumentInput> documents;
    for (int i = first; i < kDocuments; i += step) {
      documents.push_back(Document(StrCat("d", i), 0, StrCat("word", i % 97, " common")));
      for (float& value : documents.back().chunks[0].vector) value = normal(random);
    }
    REQUIRE_OK(collection->ReplaceMany(documents));
  };
  add(0, 1);
  REQUIRE_OK(opened.store->Vacuum());
  uint64_t first_memory = 0, first_disk = 0;
  for (int round = 0; round < 8; ++round) {
    for (int i = round % 2; i < kDocuments; i += 2) {
      REQUIRE_OK(collection->Remove(StrCat("d", i)));
    }
    add(round % 2, 2);
    const auto report = opened.store->Vacuum();
    REQUIRE_OK(report);
    const auto stats = collection->Stats();
    REQUIRE_OK(stats);
    CHECK(stats->documents == kDocuments);
    if (round == 0) {
      first_memory = stats->index_memory_bytes;
      first_disk = report->bytes_after;
    }
    // Levels are drawn anew, so the graph's upper layers vary a little; so does the compression.
    CHECK(stats->index_memory_bytes <= first_memory + first_memory / 50);
    CHECK(report->bytes_after <= first_disk + first_disk / 10);
  }
  RequireSound(*collection);
}
