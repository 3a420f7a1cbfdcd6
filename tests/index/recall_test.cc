#include <catch2/catch.hpp>
#include <random>

#include "index/store.h"
#include "tests/index/store_support.h"

using namespace rag;
using namespace rag::test;

namespace {

DocumentInput Random(int i) {
  std::mt19937 random(static_cast<uint32_t>(i) + 1);
  std::normal_distribution<float> normal;
  DocumentInput document = Document(StrCat("d", i), 0, "word");
  for (float& value : document.chunks[0].vector) value = normal(random);
  return document;
}

std::vector<DocumentInput> ManyRandom() {
  std::vector<DocumentInput> documents;
  for (int i = 0; i < 1'500; ++i) documents.push_back(Random(i));
  return documents;
}

// A graph that finds little.
CollectionConfig Poor() {
  CollectionConfig config = Config("poor");
  config.vectors.hnsw = {.m = 2, .ef_construction = 2, .ef_search = 1, .seed = 42};
  return config;
}

// Quick to fill; what a crash would leave is no matter here.
StoreOptions WithoutSyncs() {
  StoreOptions options;
  options.sync_writes = false;
  return options;
}

}  // namespace

TEST_CASE("the measured recall is that of the index") {
  const TemporaryFolder folder;
  Opened opened(folder.file("db"), WithoutSyncs());
  // A graph that finds little, one that finds nearly all, and exact search.
  CollectionConfig flat = Config("flat");
  flat.vectors.kind = IndexKind::kFlat;
  const std::shared_ptr<Collection> collections[] = {
      opened.Create(Poor()), opened.Create(Config("good")), opened.Create(flat)};
  const std::vector<DocumentInput> documents = ManyRandom();
  double recalls[3] = {};
  for (int i = 0; i < 3; ++i) {
    REQUIRE_OK(collections[i]->ReplaceMany(documents));
    CHECK_FALSE(collections[i]->Stats()->recall.has_value());
    const auto report = collections[i]->MeasureRecall(100, 10);
    REQUIRE_OK(report);
    CHECK(report->queries == 100);
    CHECK(report->k == 10);
    recalls[i] = report->recall;
    CHECK(collections[i]->Stats()->recall->recall == report->recall);
    CHECK(collections[i]->MeasureRecall(100, 10)->recall == report->recall);
    CHECK(collections[i]->MeasureRecall(5'000, 3)->queries == 1'500);
  }
  CHECK(recalls[0] < 0.9);
  CHECK(recalls[1] > 0.97);
  CHECK(recalls[2] == 1.0);

  // The same number by hand: ids found among the nearest besides itself.
  size_t found = 0;
  for (int i = 0; i < 1'500; ++i) {
    const auto query = Random(i).chunks[0].vector;
    const auto walked = collections[0]->SearchVectors(query, 4, nullptr);
    const auto exact = collections[0]->SearchVectors(query, 4, nullptr, 0, /*exact=*/true);
    const ChunkId self = collections[0]->GetDocument(StrCat("d", i))->chunk_ids[0];
    size_t taken = 0;
    for (const Neighbor& one : *walked) {
      if (one.id == self || taken == 3) continue;
      ++taken;
      size_t rank = 0;
      for (const Neighbor& other : *exact) {
        if (other.id == self || rank == 3) continue;
        ++rank;
        if (one.id == other.id) ++found;
      }
    }
  }
  CHECK(collections[0]->MeasureRecall(1'500, 3)->recall ==
        Approx(static_cast<double>(found) / 4'500).margin(1e-3));
}

TEST_CASE("a search walks at least twice as wide as it asks for, where nobody names a width") {
  const TemporaryFolder folder;
  Opened opened(folder.file("db"), WithoutSyncs());
  const auto collection = opened.Create(Poor());
  REQUIRE_OK(collection->ReplaceMany(ManyRandom()));
  const auto ids = [&](int i, size_t ef_search) {
    const auto hits =
        collection->SearchVectors(Random(2'000 + i).chunks[0].vector, 4, nullptr, ef_search);
    std::vector<uint64_t> out;
    for (const Neighbor& hit : *hits) out.push_back(hit.id);
    return out;
  };
  int narrower = 0;
  for (int i = 0; i < 200; ++i) {
    CHECK(ids(i, 0) == ids(i, 8));
    narrower += ids(i, 0) == ids(i, 4) ? 0 : 1;
  }
  CHECK(narrower > 20);
}

TEST_CASE("recall of what cannot be measured") {
  const TemporaryFolder folder;
  Opened opened(folder.file("db"));
  const auto collection = opened.Create(Config("c"));
  CHECK(collection->MeasureRecall(0, 10).status().code() == StatusCode::kInvalidArgument);
  CHECK(collection->MeasureRecall(10, 0).status().code() == StatusCode::kInvalidArgument);
  CHECK(collection->MeasureRecall(10, 1'000'000).status().code() == StatusCode::kInvalidArgument);
  const auto empty = collection->MeasureRecall(10, 10);
  REQUIRE_OK(empty);
  CHECK(empty->queries == 0);
  CHECK(empty->recall == 1);
  const auto words = opened.Create(Config("words", 0));
  CHECK(words->MeasureRecall(10, 10).status().code() == StatusCode::kFailedPrecondition);
  // Equal vectors: which of them an index names does not matter.
  for (int i = 0; i < 600; ++i) {
    REQUIRE_OK(collection->Replace(Document(StrCat("d", i), static_cast<size_t>(i), "word")));
  }
  CHECK(collection->MeasureRecall(50, 10)->recall == 1);
}
