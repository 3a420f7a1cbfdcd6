// Graphs that are built and walked over codes.
#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <thread>

#include "index/vector/sq8_codec.h"
#include "index/vector_index.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {

VectorIndexOptions Options(Metric metric, CodeKind codes, size_t dim) {
  VectorIndexOptions options;
  options.metric = metric;
  options.dim = dim;
  options.hnsw.codes = codes;
  return options;
}

#define FOR_EVERY_CODE                                                                 \
  const auto runtime = MakeRuntime();                                                  \
  const CodeKind codes = GENERATE(CodeKind::kSq8, CodeKind::kPca8);                    \
  const Metric metric = GENERATE(Metric::kInnerProduct, Metric::kCosine, Metric::kL2); \
  INFO(CodeKindName(codes) << " " << MetricName(metric))

}  // namespace

TEST_CASE("codes: recall and exact scores on text embeddings") {
  const auto folder = SharedData("ann-scifact-minilm");
  if (!folder) RAG_SKIP("ann-scifact-minilm is not there");
  FOR_EVERY_CODE;
  const Matrix base = ToMatrix(ReadTexmex<float>(*folder / "base_128.fvecs"));
  const Matrix queries = ToMatrix(ReadTexmex<float>(*folder / "query_128.fvecs"));
  const auto index = MakeIndex(Options(metric, codes, base.cols()), *runtime);
  REQUIRE_OK(index->Add(Sequence(base.rows()), base.view()));
  REQUIRE_OK(index->Verify());
  const auto truth = Find(*index, queries.view(), {.k = 10, .exact = true});
  const auto found = Find(*index, queries.view(), {.k = 10, .ef_search = 100});
  REQUIRE(Recall(found, truth) >= 0.98);
  for (size_t q = 0; q < queries.rows(); ++q) {
    REQUIRE(found[q].size() == 10);
    for (const Neighbor& neighbor : found[q]) {
      for (const Neighbor& exact : truth[q]) {
        if (exact.id == neighbor.id) REQUIRE(neighbor.score == Approx(exact.score).margin(1e-5));
      }
    }
  }
}

TEST_CASE("codes: learned on the way, kept by snapshots, forgotten vectors overwritten") {
  FOR_EVERY_CODE;
  const size_t dim = 48, n = 4'000;
  const Matrix base = Clustered(n, dim, 21), queries = Clustered(50, dim, 22);
  const VectorIndexOptions options = Options(metric, codes, dim);
  const auto index = MakeIndex(options, *runtime);
  size_t before = 0;
  for (size_t first = 0; first < n; first += 250) {
    REQUIRE_OK(index->Add(Sequence(250, first), Rows(base, first, 250)));
    if (first == 500) before = index->memory_bytes() / (first + 250);
    const auto truth = Find(*index, queries.view(), {.k = 10, .exact = true});
    REQUIRE(Recall(Find(*index, queries.view(), {.k = 10, .ef_search = 100}), truth) >= 0.95);
  }
  // 64 bytes of a code for each vector have come.
  REQUIRE(index->memory_bytes() / n > before + 32);
  REQUIRE_OK(index->Verify());

  REQUIRE(index->Remove(Sequence(n / 2, 0, 2)).value() == n / 2);
  REQUIRE_OK(index->Verify());
  const auto truth = Find(*index, queries.view(), {.k = 10, .exact = true});
  const auto found = Find(*index, queries.view(), {.k = 10, .ef_search = 100});
  REQUIRE(Recall(found, truth) >= 0.95);

  const TemporaryFolder folder;
  const std::string path = (folder.path() / "index").string();
  REQUIRE_OK(index->Save(path, 1));
  auto loaded = VectorIndex::Load(path, options, *runtime);
  REQUIRE_OK(loaded);
  REQUIRE_OK(loaded->index->Verify());
  REQUIRE(Find(*loaded->index, queries.view(), {.k = 10, .ef_search = 100}) == found);
  VectorIndexOptions others = options;
  others.hnsw.codes = CodeKind::kNone;
  REQUIRE(VectorIndex::Load(path, others, *runtime).status().code() ==
          StatusCode::kFailedPrecondition);
}

TEST_CASE("codes: learned anew when the vectors become others") {
  FOR_EVERY_CODE;
  const size_t dim = 64, n = 3'000;
  // First all in a small cube on four of the axes, then anywhere and far larger.
  Matrix first = Clustered(n, dim, 31), second = Clustered(n, dim, 32);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 4; j < dim; ++j) first.row(i)[j] *= 0.01f;
    for (size_t j = 0; j < dim; ++j) second.row(i)[j] *= 20;
  }
  const auto index = MakeIndex(Options(metric, codes, dim), *runtime);
  REQUIRE_OK(index->Add(Sequence(n), first.view()));
  for (size_t at = 0; at < n; at += 500) {
    REQUIRE_OK(index->Add(Sequence(500, n + at), Rows(second, at, 500)));
  }
  REQUIRE_OK(index->Verify());
  const Matrix queries = Clustered(50, dim, 33);
  Matrix large = queries;
  for (size_t i = 0; i < 50 * dim; ++i) large.data()[i] *= 20;
  const auto truth = Find(*index, large.view(), {.k = 10, .exact = true});
  REQUIRE(Recall(Find(*index, large.view(), {.k = 10, .ef_search = 150}), truth) >= 0.9);
}

TEST_CASE("codes: equal vectors, and vectors without any variance") {
  FOR_EVERY_CODE;
  const size_t n = 2'500, dim = 20;
  Matrix same(n, dim);
  for (size_t i = 0; i < n * dim; ++i) same.data()[i] = 1;
  const auto index = MakeIndex(Options(metric, codes, dim), *runtime);
  REQUIRE_OK(index->Add(Sequence(n), same.view()));
  REQUIRE_OK(index->Verify());
  REQUIRE(Find(*index, Rows(same, 0, 1), {.k = 10})[0].size() == 10);
  const Matrix others = Clustered(500, dim, 41);
  REQUIRE_OK(index->Add(Sequence(500, n), others.view()));
  const auto truth = Find(*index, Rows(others, 0, 50), {.k = 1, .exact = true});
  const auto found = Find(*index, Rows(others, 0, 50), {.k = 1, .ef_search = 100});
  REQUIRE(Recall(found, truth) >= 0.9);
}

TEST_CASE("codes: estimates are near the distances") {
  const auto runtime = MakeRuntime();
  const size_t dim = 100, n = 3'000;
  const Matrix base = Clustered(n, dim, 51), queries = Clustered(20, dim, 52);
  for (const CodeKind kind : {CodeKind::kSq8, CodeKind::kPca8}) {
    for (const Metric metric : {Metric::kInnerProduct, Metric::kL2}) {
      const Sq8Codec codec =
          Sq8Codec::Train(base.view(), kind, kind == CodeKind::kPca8 ? 100 : 0, metric, *runtime);
      REQUIRE(codec.trained_error() < 1e-3);
      Matrix codes(2, codec.code_bytes() / sizeof(float));
      const std::byte* pointers[2];
      for (size_t i = 0; i < 2; ++i) {
        pointers[i] = reinterpret_cast<const std::byte*>(codes.row(i).data());
      }
      Sq8Codec::Query query;
      for (size_t q = 0; q < queries.rows(); ++q) {
        double scale = 0, dot = 0, l2 = 0, pair_dot = 0, pair_l2 = 0;
        for (size_t i = 0; i < 2; ++i) {
          codec.Encode(base.row(2 * q + i).data(), const_cast<std::byte*>(pointers[i]));
        }
        const auto a = base.row(2 * q), b = base.row(2 * q + 1);
        for (size_t j = 0; j < dim; ++j) {
          const double x = queries.row(q)[j];
          dot += x * a[j];
          l2 += (x - a[j]) * (x - a[j]);
          pair_dot += double{a[j]} * b[j];
          pair_l2 += (double{a[j]} - b[j]) * (double{a[j]} - b[j]);
          scale += x * x + double{a[j]} * a[j] + double{b[j]} * b[j];
        }
        float estimates[2], pairs[2];
        codec.PrepareQuery(queries.row(q).data(), query);
        codec.Distances(query, pointers, 2, estimates);
        codec.PairDistances(pointers[0], pointers, 2, pairs);
        const bool is_l2 = metric == Metric::kL2;
        INFO(CodeKindName(kind) << " " << MetricName(metric) << ", query " << q);
        REQUIRE(std::fabs(estimates[0] - (is_l2 ? l2 : -dot)) < 0.02 * scale);
        REQUIRE(std::fabs(pairs[1] - (is_l2 ? pair_l2 : -pair_dot)) < 0.02 * scale);
      }
    }
  }
}

TEST_CASE("codes: searches go on while they are learned and learned anew") {
  const auto runtime = MakeRuntime();
  const size_t dim = 32, n = 6'000;
  Matrix base = Clustered(n, dim, 61);
  for (size_t i = n / 2; i < n; ++i) {
    for (float& x : base.row(i)) x *= 10;
  }
  const auto index = MakeIndex(Options(Metric::kL2, CodeKind::kPca8, dim), *runtime);
  REQUIRE_OK(index->Add(Sequence(600), Rows(base, 0, 600)));
  std::atomic<bool> stop{false};
  std::atomic<size_t> wrong{0};
  std::thread reader([&] {
    for (size_t i = 0; !stop; i = (i + 1) % 600) {
      const auto found = index->Search(Rows(base, i, 1), {.k = 3, .ef_search = 64});
      if (!found.ok() || (*found)[0].size() != 3) ++wrong;
    }
  });
  for (size_t first = 600; first < n; first += 200) {
    const Status added = index->Add(Sequence(200, first), Rows(base, first, 200));
    if (!added.ok()) ++wrong;
  }
  stop = true;
  reader.join();
  REQUIRE(wrong == 0);
  REQUIRE_OK(index->Verify());
}

}  // namespace rag::test
