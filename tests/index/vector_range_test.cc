// Range search and deadlines, on every kind of index.
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <limits>

#include "index/vector_index.h"
#include "tests/index/vectors.h"

namespace rag::test {

TEST_CASE("range: all within a radius, and nothing else") {
  const auto runtime = MakeRuntime();
  const IndexKind kind = GENERATE(IndexKind::kFlat, IndexKind::kHnsw, IndexKind::kIvf);
  const size_t n = 4'000, dim = 12;
  const Matrix base = Clustered(n, dim, 81), queries = Clustered(20, dim, 82);
  VectorIndexOptions options;
  options.kind = kind;
  options.dim = dim;
  options.metric = Metric::kL2;
  options.ivf.lists = 8;
  options.ivf.probes = 8;
  const auto index = MakeIndex(options, *runtime);
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  size_t all = 0, hits = 0;
  for (const float radius : {0.01f, 1.2f, 2.0f, 8.0f}) {
    SearchOptions search{.k = 65'535};
    search.min_score = -radius * radius;
    const auto found = Find(*index, queries.view(), search);
    for (size_t q = 0; q < queries.rows(); ++q) {
      std::set<uint64_t> expected;
      for (size_t i = 0; i < n; ++i) {
        float distance = 0;
        for (size_t j = 0; j < dim; ++j) {
          distance += (base.row(i)[j] - queries.row(q)[j]) * (base.row(i)[j] - queries.row(q)[j]);
        }
        if (distance <= radius * radius * 0.9999f) expected.insert(i);
      }
      all += expected.size();
      for (const Neighbor& neighbor : found[q]) {
        REQUIRE(neighbor.score >= *search.min_score);
        hits += expected.count(neighbor.id);
      }
      REQUIRE(std::is_sorted(found[q].begin(), found[q].end(),
                             [](const auto& a, const auto& b) { return a.score > b.score; }));
    }
    search.k = 5;
    for (const auto& few : Find(*index, queries.view(), search)) {
      REQUIRE(few.size() <= 5);
      for (const Neighbor& neighbor : few) REQUIRE(neighbor.score >= *search.min_score);
    }
  }
  REQUIRE(all > 10'000);  // the widest radius has hundreds for each query
  REQUIRE(static_cast<double>(hits) >= 0.99 * static_cast<double>(all));
  SearchOptions bad;
  bad.min_score = std::numeric_limits<float>::quiet_NaN();
  REQUIRE(index->Search(queries.view(), bad).status().code() == StatusCode::kInvalidArgument);
}

TEST_CASE("a deadline that has passed ends a search, a later one does not") {
  const auto runtime = MakeRuntime();
  const size_t n = 1'000, dim = 8;
  const Matrix base = Clustered(n, dim, 91);
  VectorIndexOptions options;
  options.dim = dim;
  const auto index = MakeIndex(options, *runtime);
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  SearchOptions search;
  search.deadline = std::chrono::steady_clock::now() - std::chrono::seconds(1);
  REQUIRE(index->Search(base.view(), search).status().code() == StatusCode::kDeadlineExceeded);
  search.deadline = std::chrono::steady_clock::now() + std::chrono::hours(1);
  const auto found = Find(*index, base.view(), search);
  REQUIRE(found.size() == n);
  search.deadline.reset();
  REQUIRE(found == Find(*index, base.view(), search));
}

}  // namespace rag::test
