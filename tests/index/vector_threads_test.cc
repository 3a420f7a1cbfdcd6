// Searches beside Adds, replacements, Removes and Saves; the thread sanitizer's food.
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "index/vector_index.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {

TEST_CASE("readers and writers together") {
  const auto runtime = MakeRuntime();
  const bool on_disk = GENERATE(false, true);
  const IndexKind kind = GENERATE(IndexKind::kFlat, IndexKind::kHnsw, IndexKind::kIvf);
  if (on_disk && kind == IndexKind::kFlat) return;  // it has no codes to search over
  VectorIndexOptions options;
  options.kind = kind;
  options.dim = 16;
  if (on_disk) {
    options.rows = RowPlace::kDisk;
    options.hnsw.codes = CodeKind::kSq8;
  }
  options.hnsw.m = 6;
  options.hnsw.ef_construction = 40;
  options.ivf.lists = 40;  // trained while the threads run, with 1,560 vectors
  const TemporaryFolder folder;
  const size_t n = 2'400, half = n / 2, rounds = 3;
  const Matrix base = Clustered(n, options.dim, 1);
  const auto index = MakeIndex(options, *runtime);
  // The first half stays throughout, in changing copies; the second comes and goes.
  REQUIRE_OK(index->Add(Sequence(half), Rows(base, 0, half)));
  std::atomic<bool> done{false};
  std::atomic<size_t> problems{0}, searches{0};
  std::vector<std::thread> threads;
  for (int reader = 0; reader < 2; ++reader) {
    threads.emplace_back([&, reader] {
      const ModuloFilter filter(2, 1, n);
      // At least one search each, also where the writers are through before this thread is
      // scheduled.
      size_t own_searches = 0;
      for (size_t i = static_cast<size_t>(reader); !done || own_searches == 0; ++i) {
        ++own_searches;
        const size_t row = i * 37 % half;
        SearchOptions search{.k = 10, .ef_search = 20};
        if (i % 5 == 4) search.filter = &filter;
        const auto found = index->Search(Rows(base, row, 1), search);
        if (!found.ok() || (*found)[0].size() != 10) {
          ++problems;
          continue;
        }
        std::set<uint64_t> ids;
        for (const Neighbor& neighbor : (*found)[0]) {
          ids.insert(neighbor.id);
          if (search.filter != nullptr && !filter.Contains(neighbor.id)) ++problems;
        }
        if (ids.size() != 10) ++problems;
        std::vector<float> stored(options.dim);
        if (!index->GetVector(row, stored).ok() || !index->Contains(row)) ++problems;
        ++searches;
      }
    });
  }
  threads.emplace_back([&] {
    for (size_t round = 0; round < rounds; ++round) {
      for (size_t first = half; first < n; first += 100) {
        if (!index->Add(Sequence(100, first), Rows(base, first, 100)).ok()) ++problems;
      }
      for (size_t first = half; first < n; first += 50) {
        const auto removed = index->Remove(Sequence(50, first));
        if (!removed.ok() || *removed != 50) ++problems;
      }
    }
    done = true;
  });
  threads.emplace_back([&] {
    for (size_t i = 0; !done; ++i) {
      const size_t row = i * 11 % half;
      if (!index->Add(Sequence(1, row), Rows(base, row, 1)).ok()) ++problems;
      if (i % 64 == 0 && !index->Save(folder.file("v"), i).ok()) ++problems;
    }
  });
  for (std::thread& thread : threads) thread.join();
  REQUIRE(problems == 0);
  REQUIRE(searches > 0);
  REQUIRE(index->size() == half);
  REQUIRE_OK(index->Verify());
  REQUIRE_OK(VectorIndex::Load(folder.file("v"), options, *runtime));
  // Nothing was lost: each is its own nearest neighbour.
  const auto found = Find(*index, Rows(base, 0, half), {.k = 1, .ef_search = 100});
  size_t own = 0;
  for (size_t i = 0; i < half; ++i) own += found[i][0].id == i ? 1 : 0;
  REQUIRE(own >= half * 99 / 100);
}

TEST_CASE("an Add that is cancelled stops") {
  const auto runtime = MakeRuntime();
  VectorIndexOptions options;
  options.dim = 8;
  const auto index = MakeIndex(options, *runtime);
  CancelToken cancel;
  cancel.Cancel();
  const Matrix base = Clustered(1'000, 8, 1);
  REQUIRE(index->Add(Sequence(1'000), base.view(), &cancel).code() == StatusCode::kCancelled);
  REQUIRE(index->size() == 0);
  REQUIRE_OK(index->Verify());
}

}  // namespace
}  // namespace rag::test
