// Recall of the graph against exact search: on real data, after churn, whatever the order of the
// removals.
#include <catch2/catch.hpp>

#include "index/vector_index.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {

VectorIndexOptions Options(IndexKind kind, Metric metric, size_t dim) {
  VectorIndexOptions options;
  options.kind = kind;
  options.metric = metric;
  options.dim = dim;
  return options;
}

std::vector<std::vector<Neighbor>> Truth(const std::string& folder, const std::string& name,
                                         size_t k) {
  std::vector<std::vector<Neighbor>> truth;
  for (const auto& row : ReadTexmex<int32_t>(std::filesystem::path(folder) / name)) {
    truth.emplace_back();
    for (size_t i = 0; i < k; ++i) truth.back().push_back({static_cast<uint64_t>(row[i]), 0});
  }
  return truth;
}

// Exact search equals the published ground truth, and the graph comes near it.
void CheckSet(const Matrix& base, const Matrix& queries,
              const std::vector<std::vector<Neighbor>>& truth, Metric metric, double least) {
  const auto runtime = MakeRuntime();
  const auto flat = MakeIndex(Options(IndexKind::kFlat, metric, base.cols()), *runtime);
  REQUIRE_OK(flat->Add(Sequence(base.rows()), base.view()));
  REQUIRE(Recall(Find(*flat, queries.view(), {.k = 10}), truth) >= 0.9999);
  const auto hnsw = MakeIndex(Options(IndexKind::kHnsw, metric, base.cols()), *runtime);
  REQUIRE_OK(hnsw->Add(Sequence(base.rows()), base.view()));
  REQUIRE_OK(hnsw->Verify());
  const double recall = Recall(Find(*hnsw, queries.view(), {.k = 10, .ef_search = 64}), truth);
  WARN("recall@10 at ef 64: " << recall);
  REQUIRE(recall >= least);
}

TEST_CASE("recall on SIFT") {
  const auto folder = SharedData("ann-sift10k");
  if (!folder) RAG_SKIP("ann-sift10k is not there");
  CheckSet(ToMatrix(ReadTexmex<uint8_t>(*folder / "base.bvecs")),
           ToMatrix(ReadTexmex<uint8_t>(*folder / "query.bvecs")),
           Truth(folder->string(), "groundtruth_l2_top100.ivecs", 10), Metric::kL2, 0.97);
}

TEST_CASE("recall on Fashion-MNIST") {
  const auto folder = SharedData("ann-fashion-mnist-1k");
  if (!folder) RAG_SKIP("ann-fashion-mnist-1k is not there");
  CheckSet(ToMatrix(ReadTexmex<uint8_t>(*folder / "base.bvecs")),
           ToMatrix(ReadTexmex<uint8_t>(*folder / "query.bvecs")),
           Truth(folder->string(), "groundtruth_l2_top100.ivecs", 10), Metric::kL2, 0.97);
}

TEST_CASE("recall on word vectors, cosine") {
  const auto folder = SharedData("ann-glove-twitter-25");
  if (!folder) RAG_SKIP("ann-glove-twitter-25 is not there");
  CheckSet(ToMatrix(ReadTexmex<float>(*folder / "base.fvecs")),
           ToMatrix(ReadTexmex<float>(*folder / "query.fvecs")),
           Truth(folder->string(), "groundtruth_cosine_top100.ivecs", 10), Metric::kCosine, 0.95);
}

TEST_CASE("recall on sentence embeddings, inner product") {
  const auto folder = SharedData("ann-scifact-minilm");
  if (!folder) RAG_SKIP("ann-scifact-minilm is not there");
  CheckSet(ToMatrix(ReadTexmex<float>(*folder / "base_128.fvecs")),
           ToMatrix(ReadTexmex<float>(*folder / "query_128.fvecs")),
           Truth(folder->string(), "groundtruth_ip_128_top100.ivecs", 10), Metric::kInnerProduct,
           0.95);
}

// Half of the vectors are exchanged for others; the graph must not be worse than one that is built
// from what is there in the end.
TEST_CASE("recall after half of the vectors were exchanged") {
  const auto runtime = MakeRuntime();
  const size_t n = 8'000, dim = 32;
  const size_t batch = GENERATE(size_t{1}, size_t{100}, size_t{4'000});
  const Matrix base = Clustered(n + n / 2, dim, 51, 200), queries = Clustered(400, dim, 52, 200);
  const VectorIndexOptions options = Options(IndexKind::kHnsw, Metric::kL2, dim);
  const auto churned = MakeIndex(options, *runtime);
  REQUIRE_OK(churned->Add(Sequence(n), Rows(base, 0, n)));
  const size_t memory = churned->memory_bytes();
  // The even ones go, and n ... n + n / 2 come.
  for (size_t first = 0; first < n / 2; first += batch) {
    REQUIRE(churned->Remove(Sequence(batch, 2 * first, 2)).value() == batch);
    REQUIRE_OK(churned->Add(Sequence(batch, n + first), Rows(base, n + first, batch)));
  }
  REQUIRE(churned->size() == n);
  REQUIRE_OK(churned->Verify());
  REQUIRE(churned->memory_bytes() <= memory * 3 / 2);

  std::vector<uint64_t> ids = Sequence(n / 2, 1, 2);
  for (size_t i = 0; i < n / 2; ++i) ids.push_back(n + i);
  Matrix rows(n, dim);
  for (size_t i = 0; i < n; ++i) std::copy_n(base.row(ids[i]).data(), dim, rows.row(i).data());
  const auto built = MakeIndex(options, *runtime);
  REQUIRE_OK(built->Add(ids, rows.view()));
  const auto flat = MakeIndex(Options(IndexKind::kFlat, Metric::kL2, dim), *runtime);
  REQUIRE_OK(flat->Add(ids, rows.view()));
  const auto truth = Find(*flat, queries.view(), {.k = 10});
  for (const size_t ef : {size_t{20}, size_t{64}}) {
    const double after = Recall(Find(*churned, queries.view(), {.k = 10, .ef_search = ef}), truth);
    const double fresh = Recall(Find(*built, queries.view(), {.k = 10, .ef_search = ef}), truth);
    WARN("batches of " << batch << ", ef " << ef << ": churned " << after << ", fresh " << fresh);
    REQUIRE(after >= fresh - 0.01);
  }
}

// A whole region goes, and with it every neighbour of some of those that stay.
TEST_CASE("recall after all but a tenth were removed") {
  const auto runtime = MakeRuntime();
  const size_t n = 20'000, kept = n / 10, dim = 24;
  const Matrix base = Clustered(n, dim, 61, 100), queries = Clustered(300, dim, 62, 100);
  const auto index = MakeIndex(Options(IndexKind::kHnsw, Metric::kCosine, dim), *runtime);
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  REQUIRE(index->Remove(Sequence(n - kept, kept)).value() == n - kept);
  REQUIRE_OK(index->Verify());
  const auto flat = MakeIndex(Options(IndexKind::kFlat, Metric::kCosine, dim), *runtime);
  REQUIRE_OK(flat->Add(Sequence(kept), Rows(base, 0, kept)));
  const auto truth = Find(*flat, queries.view(), {.k = 10});
  REQUIRE(Recall(Find(*index, queries.view(), {.k = 10, .ef_search = 64}), truth) >= 0.95);
}

}  // namespace
}  // namespace rag::test
