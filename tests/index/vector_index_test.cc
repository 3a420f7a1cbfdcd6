// What every kind of index promises, for every metric.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "index/vector_index.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {

// The definition of the scores, in double.
double ExpectedScore(Metric metric, std::span<const float> a, std::span<const float> b) {
  double dot = 0, aa = 0, bb = 0, l2 = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    dot += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
    l2 += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  }
  if (metric == Metric::kInnerProduct) return dot;
  return metric == Metric::kCosine ? dot / std::sqrt(aa * bb) : -l2;
}

// A kind, and for IVF and HNSW what its lists and nodes hold.
struct Variant {
  IndexKind kind;
  IvfCodes codes = IvfCodes::kNone;
  CodeKind node_codes = CodeKind::kNone;
};
constexpr Variant Hnsw(CodeKind codes) { return {IndexKind::kHnsw, IvfCodes::kNone, codes}; }
constexpr Variant kFlat{IndexKind::kFlat}, kHnsw{IndexKind::kHnsw};
constexpr Variant kHnswSq8 = Hnsw(CodeKind::kSq8), kHnswPca8 = Hnsw(CodeKind::kPca8),
                  kHnswRabitq = Hnsw(CodeKind::kRabitq), kHnswSq4 = Hnsw(CodeKind::kSq4),
                  kHnswPca4 = Hnsw(CodeKind::kPca4);
constexpr Variant kIvf{IndexKind::kIvf}, kIvfSq8{IndexKind::kIvf, IvfCodes::kSq8},
    kIvfPq8{IndexKind::kIvf, IvfCodes::kPq8}, kIvfPq4{IndexKind::kIvf, IvfCodes::kPq4},
    kIvfRabitq{IndexKind::kIvf, IvfCodes::kRabitq};

std::string Name(Variant variant) {
  if (variant.kind == IndexKind::kIvf) return StrCat("ivf ", IvfCodesName(variant.codes));
  return StrCat(IndexKindName(variant.kind), " ", CodeKindName(variant.node_codes));
}

VectorIndexOptions Options(Variant variant, Metric metric, size_t dim) {
  VectorIndexOptions options;
  options.kind = variant.kind;
  options.metric = metric;
  options.dim = dim;
  options.ivf.codes = variant.codes;
  options.hnsw.codes = variant.node_codes;
  options.ivf.lists = 20;  // trained with 780 vectors
  options.ivf.probes = 8;
  return options;
}

bool Sorted(const std::vector<Neighbor>& found) {
  return std::is_sorted(found.begin(), found.end(), [](const Neighbor& a, const Neighbor& b) {
    return a.score > b.score || (a.score == b.score && a.id < b.id);
  });
}

#define FOR_EVERY_INDEX                                                                      \
  const auto runtime = MakeRuntime();                                                        \
  const Variant variant = GENERATE(kFlat, kHnsw, kHnswSq8, kHnswPca8, kHnswRabitq, kHnswSq4, \
                                   kHnswPca4, kIvf, kIvfSq8, kIvfPq8, kIvfPq4, kIvfRabitq);  \
  const Metric metric = GENERATE(Metric::kInnerProduct, Metric::kCosine, Metric::kL2);       \
  INFO(Name(variant) << " " << MetricName(metric))

TEST_CASE("scores are the metric's, best first") {
  FOR_EVERY_INDEX;
  const size_t dim = 77, n = 2'000;
  const Matrix base = Clustered(n, dim, 11), queries = Clustered(20, dim, 12);
  const auto index = MakeIndex(Options(variant, metric, dim), *runtime);
  REQUIRE_OK(index->Add(Sequence(n, 1'000'000'007, 3), base.view()));
  REQUIRE(index->size() == n);
  REQUIRE_OK(index->Verify());
  const auto found = Find(*index, queries.view(), {.k = 10, .ef_search = 100});
  std::vector<std::vector<Neighbor>> truth(queries.rows());
  for (size_t q = 0; q < queries.rows(); ++q) {
    REQUIRE(found[q].size() == 10);
    REQUIRE(Sorted(found[q]));
    for (const Neighbor& neighbor : found[q]) {
      const size_t row = (neighbor.id - 1'000'000'007) / 3;
      const double expected = ExpectedScore(metric, queries.row(q), base.row(row));
      REQUIRE(neighbor.score == Approx(expected).epsilon(1e-4).margin(1e-4));
    }
    for (size_t i = 0; i < n; ++i) {
      truth[q].push_back({1'000'000'007 + 3 * i,
                          static_cast<float>(ExpectedScore(metric, queries.row(q), base.row(i)))});
    }
    std::partial_sort(truth[q].begin(), truth[q].begin() + 10, truth[q].end(),
                      [](const Neighbor& a, const Neighbor& b) { return a.score > b.score; });
    truth[q].resize(10);
  }
  REQUIRE(Recall(found, truth) >= (variant.kind == IndexKind::kFlat ? 0.999 : 0.95));
}

TEST_CASE("an empty index, a single vector, k over the size") {
  FOR_EVERY_INDEX;
  const auto index = MakeIndex(Options(variant, metric, 3), *runtime);
  const float query[] = {1, 2, 3};
  REQUIRE(Find(*index, MatrixView(query, 1, 3), {.k = 5})[0].empty());
  REQUIRE(Find(*index, MatrixView(query, 0, 3), {.k = 5}).empty());
  REQUIRE_OK(index->Add({}, MatrixView(query, 0, 3)));
  REQUIRE_OK(index->Verify());
  const uint64_t ids[] = {std::numeric_limits<uint64_t>::max()};
  REQUIRE_OK(index->Add(ids, MatrixView(query, 1, 3)));
  const auto found = Find(*index, MatrixView(query, 1, 3), {.k = 65'535});
  REQUIRE(found[0].size() == 1);
  REQUIRE(found[0][0].id == ids[0]);
  REQUIRE(index->Remove(ids).value() == 1);
  REQUIRE(index->size() == 0);
  REQUIRE(Find(*index, MatrixView(query, 1, 3), {.k = 5})[0].empty());
  REQUIRE_OK(index->Verify());
  REQUIRE_OK(index->Add(ids, MatrixView(query, 1, 3)));
  REQUIRE(Find(*index, MatrixView(query, 1, 3), {.k = 5})[0].size() == 1);
}

TEST_CASE("all of a larger index comes back when k asks for it") {
  FOR_EVERY_INDEX;
  const size_t n = 3'000;
  const Matrix base = Clustered(n, 8, 5);
  const auto index = MakeIndex(Options(variant, metric, 8), *runtime);
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  for (const size_t k : {size_t{1'500}, n, n + 1'000}) {
    const auto found = Find(*index, Rows(base, 0, 3), {.k = k});
    for (const auto& result : found) {
      REQUIRE(result.size() == std::min(k, n));
      REQUIRE(Sorted(result));
      std::set<uint64_t> ids;
      for (const Neighbor& neighbor : result) ids.insert(neighbor.id);
      REQUIRE(ids.size() == result.size());
    }
  }
}

TEST_CASE("bad input is refused and nothing is added") {
  FOR_EVERY_INDEX;
  const auto index = MakeIndex(Options(variant, metric, 2), *runtime);
  const auto refused = [&](std::vector<uint64_t> ids, std::vector<float> values, size_t cols,
                           std::string_view message) {
    const Status status = index->Add(ids, MatrixView(values.data(), values.size() / cols, cols));
    INFO(status.ToString());
    REQUIRE(status.code() == StatusCode::kInvalidArgument);
    REQUIRE(status.message().find(message) != std::string::npos);
    REQUIRE(index->size() == 0);
  };
  refused({1}, {1, 2, 3, 4}, 2, "1 ids for 2 vectors");
  refused({1}, {1, 2, 3}, 3, "dimension 3");
  refused({1, 2, 1}, {1, 2, 3, 4, 5, 6}, 2, "rows 0 and 2");
  refused({1, 2}, {1, 2, 3, std::numeric_limits<float>::quiet_NaN()}, 2, "row 1");
  refused({1, 2}, {1, 2, -std::numeric_limits<float>::infinity(), 3}, 2, "row 1");
  if (metric == Metric::kCosine) {
    refused({1, 2}, {1, 2, 0, 0}, 2, "row 1");
  } else {
    refused({1}, {3e38f, 3e38f}, 2, "row 0");
  }
  const std::vector<float> query = {1, std::numeric_limits<float>::quiet_NaN()};
  REQUIRE(index->Search(MatrixView(query.data(), 1, 2), {}).status().code() ==
          StatusCode::kInvalidArgument);
  REQUIRE(index->Search(MatrixView(query.data(), 2, 1), {}).status().code() ==
          StatusCode::kInvalidArgument);
  const std::vector<float> good = {1, 1};
  for (const size_t k : {size_t{0}, size_t{65'536}}) {
    REQUIRE(index->Search(MatrixView(good.data(), 1, 2), {.k = k}).status().code() ==
            StatusCode::kInvalidArgument);
  }
}

TEST_CASE("options out of range are named") {
  const auto runtime = MakeRuntime();
  const auto refused = [&](const VectorIndexOptions& options, std::string_view name) {
    const Status status = VectorIndex::Create(options, *runtime).status();
    REQUIRE(status.code() == StatusCode::kInvalidArgument);
    REQUIRE(status.message().find(name) != std::string::npos);
  };
  refused(Options(kFlat, Metric::kL2, 0), "dim");
  refused(Options(kFlat, Metric::kL2, kMaxDim + 1), "dim");
  VectorIndexOptions options = Options(kHnsw, Metric::kL2, 4);
  options.hnsw.m = 1;
  refused(options, "hnsw.m");
  options.hnsw.m = 16;
  options.hnsw.ef_construction = 0;
  refused(options, "ef_construction");
  options.hnsw.ef_construction = 65'536;
  refused(options, "ef_construction");
  options = Options(kIvf, Metric::kL2, 4);
  options.ivf.lists = 65'537;
  refused(options, "ivf.lists");
  options = Options(kIvf, Metric::kL2, 4);
  options.ivf.pq_bytes = 0;
  refused(options, "ivf.pq_bytes");
  options = Options(kIvf, Metric::kL2, 4);
  options.ivf.rerank = 0;
  refused(options, "ivf.rerank");
  for (const double anisotropic : {-0.1, 1.0, std::nan("")}) {
    options = Options(kIvf, Metric::kCosine, 4);
    options.ivf.anisotropic = anisotropic;
    refused(options, "ivf.anisotropic");
  }
  options = Options(kHnswSq4, Metric::kL2, 4);
  options.hnsw.code_dims = 2;
  refused(options, "code_dims");
  options = Options(kHnswPca4, Metric::kL2, 5'000);
  refused(options, "pca4");
}

TEST_CASE("awkward dimensions") {
  const auto runtime = MakeRuntime();
  const Variant variant = GENERATE(kFlat, kHnsw, kHnswSq8, kHnswRabitq, kHnswSq4, kIvf, kIvfSq8,
                                   kIvfPq8, kIvfPq4, kIvfRabitq);
  for (const size_t dim : {size_t{1}, size_t{2}, size_t{15}, size_t{17}, size_t{65'535}}) {
    const size_t n = dim > 1'000 ? 20 : 900;
    const Matrix base = Clustered(n, dim, 3);
    const auto index = MakeIndex(Options(variant, Metric::kL2, dim), *runtime);
    REQUIRE_OK(index->Add(Sequence(n), base.view()));
    REQUIRE_OK(index->Verify());
    const auto found = Find(*index, Rows(base, 0, 10), {.k = 1});
    for (size_t q = 0; q < 10; ++q) REQUIRE(found[q][0].score == 0);
    std::vector<float> stored(dim);
    REQUIRE_OK(index->GetVector(7, stored));
    REQUIRE(std::equal(stored.begin(), stored.end(), base.row(7).begin()));
  }
}

TEST_CASE("ties go to the lower id") {
  const auto runtime = MakeRuntime();
  const auto index = MakeIndex(Options(kFlat, Metric::kL2, 2), *runtime);
  const size_t n = 3'000;
  Matrix base(n, 2);
  for (size_t i = 0; i < n; ++i) base.row(i)[0] = static_cast<float>(i % 3);
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  const float query[] = {1, 0};
  const auto found = Find(*index, MatrixView(query, 1, 2), {.k = 5})[0];
  for (size_t i = 0; i < 5; ++i) REQUIRE(found[i] == Neighbor{1 + 3 * i, 0});
}

TEST_CASE("many copies of one vector do not hide the others") {
  FOR_EVERY_INDEX;
  const size_t n = 4'000, copies = 2'000, dim = 64;
  Matrix base = Clustered(n, dim, 21);
  for (size_t i = 0; i < copies; ++i) {
    std::copy_n(base.row(n - 1).data(), dim, base.row(2 * i).data());
  }
  const auto index = MakeIndex(Options(variant, metric, dim), *runtime);
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  const auto exact = MakeIndex(Options(kFlat, metric, dim), *runtime);
  REQUIRE_OK(exact->Add(Sequence(n), base.view()));
  const Matrix queries = Clustered(50, dim, 22);
  const auto found = Find(*index, queries.view(), {.k = 10});
  const auto truth = Find(*exact, queries.view(), {.k = 10});
  size_t as_good = 0;
  for (size_t q = 0; q < queries.rows(); ++q) {
    REQUIRE(found[q].size() == 10);
    for (size_t i = 0; i < 10; ++i) as_good += found[q][i].score == truth[q][i].score ? 1 : 0;
  }
  REQUIRE(as_good >= 450);
}

TEST_CASE("a vector is stored as given, or normalized under cosine") {
  FOR_EVERY_INDEX;
  const auto index = MakeIndex(Options(variant, metric, 2), *runtime);
  const float vector[] = {3, 4};
  const uint64_t ids[] = {5};
  REQUIRE_OK(index->Add(ids, MatrixView(vector, 1, 2)));
  std::vector<float> stored(2);
  REQUIRE_OK(index->GetVector(5, stored));
  REQUIRE(stored[0] == (metric == Metric::kCosine ? 0.6f : 3.0f));
  REQUIRE(index->GetVector(6, stored).code() == StatusCode::kNotFound);
  std::vector<float> short_room(1);
  REQUIRE(index->GetVector(5, short_room).code() == StatusCode::kInvalidArgument);
  REQUIRE(index->Contains(5));
  REQUIRE_FALSE(index->Contains(6));
  REQUIRE(index->Ids() == std::vector<uint64_t>{5});
}

TEST_CASE("removal and replacement are complete") {
  FOR_EVERY_INDEX;
  const size_t n = 3'000, dim = 68;
  const Matrix base = Clustered(n, dim, 31), fresh = Clustered(n, dim, 32);
  const auto index = MakeIndex(Options(variant, metric, dim), *runtime);
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  const size_t memory = index->memory_bytes();

  // Every third goes, some asked for twice or unknown.
  std::vector<uint64_t> gone = Sequence(n / 3, 0, 3);
  gone.push_back(0);
  gone.push_back(1u << 30);
  REQUIRE(index->Remove(gone).value() == n / 3);
  REQUIRE(index->size() == n - n / 3);
  REQUIRE_OK(index->Verify());
  const auto after = Find(*index, Rows(base, 0, 300), {.k = 20});
  for (size_t q = 0; q < 300; ++q) {
    REQUIRE(after[q].size() == 20);
    for (const Neighbor& neighbor : after[q]) REQUIRE(neighbor.id % 3 != 0);
  }
  for (const uint64_t id : {0, 3, 2'997}) REQUIRE_FALSE(index->Contains(id));

  // Those of remainder 1 are replaced, those of 0 come back: the same places are used again.
  std::vector<uint64_t> ids;
  for (uint64_t id = 0; id < n; ++id) {
    if (id % 3 != 2) ids.push_back(id);
  }
  Matrix rows(ids.size(), dim);
  for (size_t i = 0; i < ids.size(); ++i) {
    std::copy_n(fresh.row(ids[i]).data(), dim, rows.row(i).data());
  }
  REQUIRE_OK(index->Add(ids, rows.view()));
  REQUIRE(index->size() == n);
  REQUIRE_OK(index->Verify());
  std::vector<float> stored(dim), expected(dim);
  for (const uint64_t id : {0, 1, 2, 2'998, 2'999}) {
    const Matrix& source = id % 3 == 2 ? base : fresh;
    REQUIRE_OK(index->GetVector(id, stored));
    const double score = ExpectedScore(Metric::kCosine, stored, source.row(id));
    REQUIRE(score == Approx(1).epsilon(1e-5));
  }
  const auto again = Find(*index, Rows(fresh, 0, 300), {.k = 5});
  if (metric != Metric::kInnerProduct) {
    size_t first = 0;
    for (size_t q = 0; q < 300; ++q) {
      first += q % 3 != 2 && again[q][0].id == q ? 1 : 0;
      std::set<uint64_t> distinct;
      for (const Neighbor& neighbor : again[q]) distinct.insert(neighbor.id);
      REQUIRE(distinct.size() == 5);
    }
    REQUIRE(first >= 198);
  }
  REQUIRE(index->memory_bytes() <= memory * 2);

  // Everything goes.
  REQUIRE(index->Remove(index->Ids()).value() == n);
  REQUIRE(index->size() == 0);
  REQUIRE_OK(index->Verify());
  REQUIRE(Find(*index, Rows(base, 0, 1), {.k = 3})[0].empty());
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  REQUIRE_OK(index->Verify());
}

TEST_CASE("a filter never costs a match") {
  FOR_EVERY_INDEX;
  const size_t n = 5'000, dim = 64, k = 10;
  const Matrix base = Clustered(n, dim, 41), queries = Clustered(30, dim, 42);
  const auto index = MakeIndex(Options(variant, metric, dim), *runtime);
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  const auto exact = MakeIndex(Options(kFlat, metric, dim), *runtime);
  REQUIRE_OK(exact->Add(Sequence(n), base.view()));
  const auto check = [&](const IdFilter& filter, size_t expected) {
    const SearchOptions options{.k = k, .filter = &filter};
    const auto found = Find(*index, queries.view(), options);
    const auto truth = Find(*exact, queries.view(), options);
    for (size_t q = 0; q < queries.rows(); ++q) {
      REQUIRE(truth[q].size() == expected);
      REQUIRE(found[q].size() == expected);
      REQUIRE(Sorted(found[q]));
      for (const Neighbor& neighbor : found[q]) REQUIRE(filter.Contains(neighbor.id));
    }
    REQUIRE(Recall(found, truth) >= (variant.kind == IndexKind::kFlat ? 1.0 : 0.95));
  };
  check(ModuloFilter(10, 9, n), k);               // most
  check(ModuloFilter(2, 1, n), k);                // half
  check(ModuloFilter(100, 1, n), k);              // few
  check(ModuloFilter(1'000, 1, n), 5);            // fewer than k
  check(ModuloFilter(10'000, 1, n * 10'000), 1);  // far fewer than estimated
  check(ListFilter({}), 0);
  check(ListFilter({7, 8, 9, 4'999, 1'000'000}), 4);
  check(ListFilter(Sequence(3'000, 1'000)), k);
}

}  // namespace
}  // namespace rag::test
