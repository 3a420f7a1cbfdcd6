#include <catch2/catch.hpp>
#include <random>

#include "index/vector_index.h"
#include "tests/support/support.h"

using namespace rag;

TEST_CASE("an exact search of a graph is that of a flat index, however narrow the walk") {
  const auto runtime = test::MakeRuntime();
  constexpr size_t kRows = 3000, kDim = 24;
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  Matrix rows(kRows, kDim), queries(20, kDim);
  for (size_t i = 0; i < kRows * kDim; ++i) rows.data()[i] = normal(random);
  for (size_t i = 0; i < 20 * kDim; ++i) queries.data()[i] = normal(random);
  std::vector<uint64_t> ids(kRows);
  for (size_t i = 0; i < kRows; ++i) ids[i] = 7 * i + 1;
  std::vector<std::vector<std::vector<Neighbor>>> found;
  for (const IndexKind kind : {IndexKind::kFlat, IndexKind::kHnsw}) {
    VectorIndexOptions options;
    options.kind = kind;
    options.dim = kDim;
    options.hnsw.m = 4;
    options.hnsw.ef_construction = 10;
    auto index = VectorIndex::Create(options, *runtime);
    REQUIRE_OK(index);
    REQUIRE_OK((*index)->Add(ids, rows.view()));
    SearchOptions search;
    search.k = 10;
    search.ef_search = 10;
    search.exact = true;
    auto result = (*index)->Search(queries.view(), search);
    REQUIRE_OK(result);
    found.push_back(*result);
  }
  for (size_t q = 0; q < found[0].size(); ++q) {
    REQUIRE(found[0][q].size() == found[1][q].size());
    for (size_t i = 0; i < found[0][q].size(); ++i) CHECK(found[0][q][i].id == found[1][q][i].id);
  }
}
