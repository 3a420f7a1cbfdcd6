// Exact search against FAISS, which nobody here wrote.
#include <faiss/IndexFlat.h>
#include <omp.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "index/vector_index.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {

TEST_CASE("exact search agrees with FAISS") {
  omp_set_num_threads(1);  // the sanitizers do not know libgomp's threads
  const Metric metric = GENERATE(Metric::kInnerProduct, Metric::kCosine, Metric::kL2);
  const std::string isa = GENERATE("scalar", "");
  const auto runtime = MakeRuntime(isa);
  const size_t n = 6'000, dim = 100, k = 25, query_count = 60;
  const Matrix base = Clustered(n, dim, 71), queries = Clustered(query_count, dim, 72);
  VectorIndexOptions options;
  options.kind = IndexKind::kFlat;
  options.metric = metric;
  options.dim = dim;
  const auto index = MakeIndex(options, *runtime);
  REQUIRE_OK(index->Add(Sequence(n), base.view()));

  const auto prepared = [&](const Matrix& rows) {
    Matrix out = rows;
    for (size_t i = 0; i < out.rows() && metric == Metric::kCosine; ++i) {
      double sum = 0;
      for (const float x : out.row(i)) sum += double{x} * x;
      for (float& x : out.row(i)) x = static_cast<float>(x / std::sqrt(sum));
    }
    return out;
  };
  faiss::IndexFlat oracle(static_cast<faiss::Index::idx_t>(dim),
                          metric == Metric::kL2 ? faiss::METRIC_L2 : faiss::METRIC_INNER_PRODUCT);
  oracle.add(static_cast<faiss::Index::idx_t>(n), prepared(base).data());
  std::vector<float> distances(query_count * k);
  std::vector<faiss::Index::idx_t> labels(query_count * k);
  oracle.search(static_cast<faiss::Index::idx_t>(query_count), prepared(queries).data(),
                static_cast<faiss::Index::idx_t>(k), distances.data(), labels.data());

  // All queries at once, which shares the queries out, and one by one, which shares the rows out.
  for (const bool together : {true, false}) {
    for (size_t q = 0; q < query_count; ++q) {
      const auto found = together ? Find(*index, queries.view(), {.k = k})[q]
                                  : Find(*index, Rows(queries, q, 1), {.k = k})[0];
      REQUIRE(found.size() == k);
      for (size_t i = 0; i < k; ++i) {
        const float expected = metric == Metric::kL2 ? -distances[q * k + i] : distances[q * k + i];
        REQUIRE(found[i].score == Approx(expected).epsilon(1e-4).margin(1e-5));
        // Another id only where the two sum in another order and the scores are as good as equal.
        if (found[i].id != static_cast<uint64_t>(labels[q * k + i])) {
          const auto other =
              std::find_if(found.begin(), found.end(), [&](const Neighbor& neighbor) {
                return neighbor.id == static_cast<uint64_t>(labels[q * k + i]);
              });
          if (other != found.end()) {
            REQUIRE(other->score == Approx(found[i].score).epsilon(1e-4));
          }
        }
      }
      if (together && q > 5) break;
    }
  }
}

}  // namespace
}  // namespace rag::test
