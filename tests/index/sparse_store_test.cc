// Learned sparse vectors in a collection: found exactly, and gone when their chunk is.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "index/lexical/sparse_lists.h"
#include "index/lexical/sparse_postings.h"
#include "index/lexical/sparse_search.h"
#include "index/store.h"
#include "tests/index/store_support.h"

using namespace rag;
using namespace rag::test;

namespace {

constexpr uint32_t kTokens = 300;

CollectionConfig SparseConfig() {
  CollectionConfig config = Config("c", 0);
  config.sparse_dim = kTokens;
  config.sparse_fingerprint = "sparse test";
  return config;
}

// Few tokens in most vectors and many in few of them, as language has them.
SparseVector RandomSparse(std::mt19937& random, size_t count) {
  std::map<uint32_t, float> weights;
  std::uniform_real_distribution<float> uniform;
  while (weights.size() < count) {
    const float rank = uniform(random);
    const auto token = static_cast<uint32_t>(rank * rank * rank * (kTokens - 1));
    weights[token] = std::exp(3 * uniform(random) - 2);
  }
  SparseVector vector;
  for (const auto& [token, weight] : weights) vector.entries.push_back({token, weight});
  return vector;
}

SparseVector Rounded(SparseVector vector) {
  for (SparseVector::Entry& entry : vector.entries) {
    entry.weight = DecodeWeight(EncodeWeight(entry.weight));
  }
  return vector;
}

DocumentInput SparseDocument(const std::string& key, std::vector<SparseVector> chunks,
                             const std::string& attributes = "{}") {
  DocumentInput document;
  document.key = key;
  document.attributes = *ParseJson(attributes);
  for (SparseVector& sparse : chunks) {
    ChunkInput chunk;
    chunk.payload = key;
    chunk.sparse = std::move(sparse);
    document.chunks.push_back(std::move(chunk));
  }
  return document;
}

// What is stored, and a search that looks at all of it.
class Oracle {
 public:
  void Put(const Collection& collection, const DocumentInput& document) {
    Remove(document.key);
    const Result<DocumentRecord> record = collection.GetDocument(document.key);
    REQUIRE_OK(record);
    for (size_t i = 0; i < document.chunks.size(); ++i) {
      chunks_[record->chunk_ids[i]] = {document.key, Rounded(document.chunks[i].sparse)};
    }
  }
  void Remove(const std::string& key) {
    std::erase_if(chunks_, [&](const auto& entry) { return entry.second.first == key; });
  }
  std::vector<Neighbor> Search(const SparseVector& query, size_t k,
                               const std::string& key_end = "") const {
    std::vector<Neighbor> all;
    for (const auto& [id, chunk] : chunks_) {
      if (!chunk.first.ends_with(key_end)) continue;
      const float product = DotProduct(query, chunk.second);
      if (product > 0) all.push_back({id, product});
    }
    std::sort(all.begin(), all.end(), [](const Neighbor& a, const Neighbor& b) {
      return a.score != b.score ? a.score > b.score : a.id < b.id;
    });
    all.resize(std::min(k, all.size()));
    return all;
  }
  const std::map<ChunkId, std::pair<std::string, SparseVector>>& chunks() const { return chunks_; }

 private:
  std::map<ChunkId, std::pair<std::string, SparseVector>> chunks_;
};

void CheckSame(const Result<std::vector<Neighbor>>& found, const std::vector<Neighbor>& wanted) {
  REQUIRE_OK(found);
  REQUIRE(found->size() == wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    CHECK((*found)[i].id == wanted[i].id);
    // Bit by bit: the sums are taken in the same order.
    CHECK((*found)[i].score == wanted[i].score);
  }
}

void CheckSearches(const Collection& collection, const Oracle& oracle, std::mt19937& random) {
  const Result<Filter> filter = Filter::Parse("tail = 7");
  REQUIRE_OK(filter);
  for (const size_t k : {1, 10, 200, 5'000}) {
    const SparseVector query = RandomSparse(random, 1 + random() % 30);
    INFO("k " << k << ", " << query.entries.size() << " tokens");
    CheckSame(collection.SearchSparse(query, k, nullptr), oracle.Search(query, k));
    CheckSame(collection.SearchSparse(query, k, &*filter), oracle.Search(query, k, "7"));
  }
}

std::string Attributes(int number) { return StrCat("{\"tail\": ", number % 10, "}"); }

}  // namespace

TEST_CASE("a kept weight differs by one part in 512 at most, and keeps the order") {
  float before = 0;
  for (float weight = 1e-30f; weight < 1e30f; weight *= 1.0371f) {
    const float kept = DecodeWeight(EncodeWeight(weight));
    CHECK(std::abs(kept - weight) <= weight / 512);
    CHECK(kept >= before);
    CHECK(EncodeWeight(kept) == EncodeWeight(weight));
    before = kept;
  }
  // What would round to nothing or to infinity.
  CHECK(DecodeWeight(EncodeWeight(std::numeric_limits<float>::denorm_min())) > 0);
  CHECK(std::isfinite(DecodeWeight(EncodeWeight(std::numeric_limits<float>::max()))));
}

TEST_CASE("sparse search finds what a scan finds, while documents come and go") {
  const TemporaryFolder folder;
  Opened opened(folder.file("db"));
  const auto collection = opened.Create(SparseConfig());
  Oracle oracle;
  std::mt19937 random(11);
  // More chunks than two segments hold, in batches of several sizes and one by one.
  for (int first = 0; first < 2'400; first += 1 + first % 600) {
    std::vector<DocumentInput> documents;
    for (int i = first; i < first + 1 + first % 600; ++i) {
      std::vector<SparseVector> chunks;
      for (int j = 0; j < i % 7; ++j) chunks.push_back(RandomSparse(random, 3 + random() % 40));
      documents.push_back(SparseDocument(StrCat(i), std::move(chunks), Attributes(i)));
    }
    REQUIRE_OK(collection->ReplaceMany(documents));
    for (const DocumentInput& document : documents) oracle.Put(*collection, document);
  }
  REQUIRE(oracle.chunks().rbegin()->first > 1.5 * kSegmentChunks);
  CheckSearches(*collection, oracle, random);
  RequireSound(*collection);

  for (int i = 0; i < 900; ++i) {
    const std::string key = StrCat(random() % 2'400);
    if (random() % 3 != 0) {
      if (collection->Remove(key).ok()) oracle.Remove(key);
      continue;
    }
    const DocumentInput document = SparseDocument(
        key, {RandomSparse(random, 20), {}, RandomSparse(random, 2)}, Attributes(key.back() - '0'));
    REQUIRE_OK(collection->Replace(document));
    oracle.Put(*collection, document);
  }
  CheckSearches(*collection, oracle, random);
  RequireSound(*collection);
  for (const auto& [id, chunk] : oracle.chunks()) {
    const Result<SparseVector> stored = collection->GetSparseVector(id);
    REQUIRE_OK(stored);
    REQUIRE(stored->entries.size() == chunk.second.entries.size());
    CHECK(DotProduct(*stored, *stored) == DotProduct(chunk.second, chunk.second));
  }
}

TEST_CASE("sparse vectors are there after reopening, and in a restored backup") {
  const TemporaryFolder folder;
  std::mt19937 random(5);
  Oracle oracle;
  {
    Opened opened(folder.file("db"));
    const auto collection = opened.Create(SparseConfig());
    for (int i = 0; i < 100; ++i) {
      const DocumentInput document =
          SparseDocument(StrCat(i), {RandomSparse(random, 30)}, Attributes(i));
      REQUIRE_OK(collection->Replace(document));
      oracle.Put(*collection, document);
    }
    REQUIRE_OK(opened.store->Backup(folder.file("backup")));
  }
  REQUIRE_OK(Store::Restore(folder.file("backup"), folder.file("restored")));
  for (const char* const name : {"db", "restored"}) {
    Opened opened(folder.file(name));
    const auto collection = opened.Open("c");
    CHECK(collection->config().sparse_dim == kTokens);
    CHECK(collection->config().sparse_fingerprint == "sparse test");
    CheckSearches(*collection, oracle, random);
    RequireSound(*collection);
  }
}

TEST_CASE("a search passes over runs that cannot hold the best") {
  const TemporaryFolder folder;
  std::unique_ptr<Runtime> runtime = MakeRuntime();
  const auto database = Database::Open(folder.file("db"), {}, *runtime);
  REQUIRE_OK(database);
  Batch batch;
  SparseChanges changes(**database, 1, 1);
  for (uint64_t chunk = 1; chunk <= 60'000; ++chunk) {
    const float weight = chunk % 6'000 == 0 ? 100.0f : 1.0f;
    REQUIRE_OK(changes.Add(chunk, {{{3, weight}, {4, 1.0f}}}));
  }
  changes.AppendTo(batch);
  REQUIRE_OK((*database)->Write(batch));
  SparseListCache cache(0);
  const SparseSearcher searcher(**database, cache, 1, *runtime);
  SparseSearchWork work;
  const auto found = searcher.Search({{{3, 1.0f}, {4, 1.0f}}}, 10, nullptr, &work);
  REQUIRE_OK(found);
  REQUIRE(found->size() == 10);
  CHECK((*found)[0].id == 6'000);
  CHECK((*found)[9].id == 60'000);
  CHECK(work.runs == 60'000 / kRunChunks + 1);
  CHECK(work.runs_scored == 10);
}

TEST_CASE("lists in memory are read once, follow every write and stay within their limit") {
  const size_t limit = GENERATE(size_t{0}, size_t{60'000}, size_t{256} << 20);
  INFO("limit " << limit);
  const TemporaryFolder folder;
  Opened opened(folder.file("db"), {.sparse_cache_bytes = limit, .sync_writes = false});
  const auto collection = opened.Create(SparseConfig());
  Oracle oracle;
  std::mt19937 random(23);
  size_t most = 0;
  for (int round = 0; round < 150; ++round) {
    std::vector<DocumentInput> documents;
    std::set<std::string> keys;
    for (size_t i = random() % 80; i > 0; --i) {
      const std::string key = StrCat(random() % 400);
      if (!keys.insert(key).second) continue;
      std::vector<SparseVector> chunks;
      for (size_t j = random() % 4; j > 0; --j) {
        // Of few tokens in half of the rounds, so that some lists and segments become empty.
        chunks.push_back(RandomSparse(random, 1 + random() % (round % 2 == 0 ? 60 : 3)));
      }
      documents.push_back(SparseDocument(key, std::move(chunks), Attributes(key.back() - '0')));
    }
    REQUIRE_OK(collection->ReplaceMany(documents));
    for (const DocumentInput& document : documents) oracle.Put(*collection, document);
    for (int i = 0; i < 10; ++i) {
      const std::string key = StrCat(random() % 400);
      if (collection->Remove(key).ok()) oracle.Remove(key);
    }
    CheckSearches(*collection, oracle, random);
    const size_t kept = collection->Stats()->sparse_memory_bytes;
    REQUIRE(kept <= limit);
    most = std::max(most, kept);
  }
  REQUIRE(oracle.chunks().rbegin()->first > kSegmentChunks);
  CHECK((most > 0) == (limit > 0));
  REQUIRE_OK(opened.store->DropCollection("c"));
}

TEST_CASE("a search beside writers sees each batch whole or not at all") {
  const size_t limit = GENERATE(size_t{0}, size_t{6'000}, size_t{256} << 20);
  INFO("limit " << limit);
  const TemporaryFolder folder;
  Opened opened(folder.file("db"), {.sparse_cache_bytes = limit, .sync_writes = false});
  const auto collection = opened.Create(SparseConfig());
  constexpr uint32_t kWide = 20;
  constexpr size_t kDocuments = 8;
  // Whole numbers, so that sums are exact; every batch moves weight between tokens.
  SparseVector query;
  for (uint32_t token = 0; token < kWide; ++token) query.entries.push_back({token, 1.0f});
  const auto write = [&](int round) {
    std::vector<DocumentInput> documents;
    for (size_t i = 0; i < kDocuments; ++i) {
      SparseVector vector = query;
      for (uint32_t token = 0; token < kWide; token += 2) {
        const auto moved = static_cast<float>((static_cast<uint32_t>(round) + token) % 90);
        vector.entries[token].weight = 100 + moved;
        vector.entries[token + 1].weight = 100 - moved;
      }
      documents.push_back(SparseDocument(StrCat(i), {vector}));
    }
    return collection->ReplaceMany(documents).status();
  };
  REQUIRE_OK(write(0));
  std::atomic<bool> stop{false};
  std::atomic<size_t> searches{0}, torn{0}, failed{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!stop.load()) {
        const auto found = collection->SearchSparse(query, 100, nullptr);
        ++searches;
        if (!found.ok()) {
          ++failed;
          continue;
        }
        bool whole = found->size() == kDocuments;
        for (const Neighbor& neighbor : *found) whole = whole && neighbor.score == 100 * kWide;
        if (!whole) ++torn;
      }
    });
  }
  Status written;
  for (int round = 1; round < 400 && written.ok(); ++round) written = write(round);
  stop = true;
  for (std::thread& reader : readers) reader.join();
  REQUIRE_OK(written);
  CHECK(searches > 0);
  CHECK(failed == 0);
  CHECK(torn == 0);
}

TEST_CASE("lists are read from the store again only when they are not in memory") {
  const TemporaryFolder folder;
  std::unique_ptr<Runtime> runtime = MakeRuntime();
  const auto database = Database::Open(folder.file("db"), {}, *runtime);
  REQUIRE_OK(database);
  SparseListCache cache(size_t{1} << 20);
  const SparseSearcher searcher(**database, cache, 1, *runtime);
  const SparseVector query{{{3, 1.0f}, {4, 1.0f}, {9, 1.0f}}};
  const auto write = [&](uint64_t chunk, const SparseVector& vector) {
    Batch batch;
    SparseChanges changes(**database, 1, chunk);
    REQUIRE_OK(changes.Add(chunk, vector));
    changes.AppendTo(batch);
    cache.BeginWrite(1);
    REQUIRE_OK((*database)->Write(batch));
    cache.EndWrite(1, changes);
  };
  const auto read = [&](size_t found) {
    SparseSearchWork work;
    const auto neighbors = searcher.Search(query, 10, nullptr, &work);
    REQUIRE_OK(neighbors);
    CHECK(neighbors->size() == found);
    return work.posting_bytes;
  };
  write(1, {{{3, 1.0f}, {4, 1.0f}}});
  CHECK(read(1) > 0);
  CHECK(read(1) == 0);
  CHECK(cache.bytes(1) > 0);
  // Written, and known without reading: also of a token that had none, and in another segment.
  write(2, {{{9, 1.0f}}});
  write(5 * kSegmentChunks, {{{4, 1.0f}}});
  CHECK(read(3) == 0);
  // While a write is under way the lists that are there answer, and nothing is taken in.
  cache.BeginWrite(1);
  CHECK(read(3) == 0);
  const SparseListCache::Found during = cache.Find(1, query.entries);
  CHECK(during.whole);
  CHECK_FALSE(during.version.has_value());
  cache.Forget(1);
  CHECK(cache.bytes(1) == 0);
  cache.BeginWrite(1);
  CHECK(read(3) > 0);
  CHECK(read(3) > 0);
  CHECK(cache.bytes(1) == 0);
  cache.EndWrite(1, SparseChanges(**database, 1, 0));
  CHECK(read(3) > 0);
  CHECK(read(3) == 0);
}

TEST_CASE("collections share the memory of lists, and what was used last stays") {
  SparseSegment segment;
  for (uint16_t place = 0; place < 1'000; ++place) segment.entries.push_back({place, 1});
  SparseList list;
  list.blocks.emplace_back(0, std::make_shared<const SparseBlock>(segment));
  const auto shared = std::make_shared<const SparseList>(list);
  SparseListCache cache(3 * shared->bytes());
  const auto insert = [&](uint32_t collection, uint32_t token) {
    const uint64_t version = *cache.Find(collection, {}).version;
    const std::pair<uint32_t, SparseListCache::List> read[] = {{token, shared}};
    cache.Insert(collection, version, read);
  };
  const auto held = [&](uint32_t collection, uint32_t token) {
    const SparseVector::Entry wanted[] = {{token, 1.0f}};
    return cache.Find(collection, wanted).whole;
  };
  insert(1, 10);
  insert(1, 11);
  insert(2, 10);
  CHECK(held(1, 10));
  insert(2, 11);  // in the place of what was used longest ago
  CHECK_FALSE(held(1, 11));
  CHECK(held(1, 10));
  CHECK(held(2, 10));
  CHECK(held(2, 11));
  CHECK(cache.bytes(1) == shared->bytes());
  CHECK(cache.bytes(2) == 2 * shared->bytes());
  // What was read before a write is not what is there after it.
  const uint64_t version = *cache.Find(1, {}).version;
  CHECK(cache.IsAt(1, version));
  cache.Forget(1);
  CHECK_FALSE(cache.IsAt(1, version));
  const std::pair<uint32_t, SparseListCache::List> late[] = {{12, shared}};
  cache.Insert(1, version, late);
  CHECK_FALSE(held(1, 12));
  CHECK(held(2, 10));
}

TEST_CASE("sparse vectors that break a rule are refused with their place") {
  const TemporaryFolder folder;
  Opened opened(folder.file("db"));
  const auto collection = opened.Create(SparseConfig());
  const auto refused = [&](SparseVector vector) {
    const DocumentInput document = SparseDocument("a", {{{{1, 1.0f}}}, vector});
    const Status written = collection->Replace(document).status();
    CHECK(written.code() == StatusCode::kInvalidArgument);
    CHECK_THAT(written.message(), Catch::Contains("document 'a', chunk 1"));
    const Status asked = collection->SearchSparse(vector, 1, nullptr).status();
    CHECK(asked.code() == StatusCode::kInvalidArgument);
    return written.message();
  };
  CHECK_THAT(refused({{{kTokens, 1.0f}}}), Catch::Contains("token 300"));
  CHECK_THAT(refused({{{5, 1.0f}, {5, 1.0f}}}), Catch::Contains("token 5 after token 5"));
  CHECK_THAT(refused({{{5, 1.0f}, {4, 1.0f}}}), Catch::Contains("token 4 after token 5"));
  CHECK_THAT(refused({{{5, 0.0f}}}), Catch::Contains("weight 0"));
  CHECK_THAT(refused({{{5, -1.0f}}}), Catch::Contains("-1"));
  CHECK_THAT(refused({{{5, std::nanf("")}}}), Catch::Contains("nan"));
  CHECK_THAT(refused({{{5, INFINITY}}}), Catch::Contains("inf"));
  CHECK(collection->SearchSparse({{{5, 1.0f}}}, 0, nullptr).status().code() ==
        StatusCode::kInvalidArgument);
  CHECK(collection->GetSparseVector(99).status().code() == StatusCode::kNotFound);
  CHECK(collection->Stats()->documents == 0);

  const auto without = opened.Create(Config("without", 0));
  CHECK(without->SearchSparse({{{5, 1.0f}}}, 1, nullptr).status().code() ==
        StatusCode::kFailedPrecondition);
  CHECK(without->Replace(SparseDocument("a", {{{{1, 1.0f}}}})).status().code() ==
        StatusCode::kInvalidArgument);
  CollectionConfig large = SparseConfig();
  large.name = "large";
  large.sparse_dim = UINT32_MAX;
  CHECK(opened.store->CreateCollection(large).status().code() == StatusCode::kInvalidArgument);
}

TEST_CASE("damaged postings of sparse vectors are no postings") {
  SparseSegment segment;
  for (uint16_t place : {0, 5, 63, 64, 1'000, 4'095}) {
    segment.entries.push_back({place, static_cast<uint16_t>(0x3f80 + place)});
  }
  const std::string bytes = segment.Encode();
  SparseSegment read;
  REQUIRE(read.Decode(bytes));
  REQUIRE(read.entries.size() == segment.entries.size());
  size_t still_read = 0;
  std::mt19937 random(3);
  for (size_t size = 0; size < bytes.size(); ++size)
    CHECK_FALSE(read.Decode(bytes.substr(0, size)));
  CHECK_FALSE(read.Decode(bytes + "x"));
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    if (!read.Decode(flipped)) continue;
    ++still_read;  // another place or weight of a run whose largest is the same
    for (size_t i = 1; i < read.entries.size(); ++i) {
      CHECK(read.entries[i - 1].place < read.entries[i].place);
    }
  }
  CHECK(still_read < 8 * bytes.size() / 2);
  SparseVector vector;
  const std::string record = EncodeSparseVector({{{3, 1.0f}, {200, 2.0f}}});
  REQUIRE(DecodeSparseVector(record, vector));
  CHECK(vector.entries[1].token == 200);
  CHECK_FALSE(DecodeSparseVector("", vector));
  CHECK_FALSE(DecodeSparseVector(record.substr(0, record.size() - 1), vector));
  CHECK_FALSE(DecodeSparseVector(std::string("\x03\x00", 2), vector));
}
