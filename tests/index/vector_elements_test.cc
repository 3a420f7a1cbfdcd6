// Rows of every element type under every metric that takes them, on every kind of index.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "index/vector_index.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {

struct Form {
  Metric metric;
  ElementType element;
};

std::vector<Form> Forms() {
  std::vector<Form> forms = {{Metric::kHamming, ElementType::kBinary},
                             {Metric::kJaccard, ElementType::kBinary}};
  for (const Metric metric :
       {Metric::kInnerProduct, Metric::kCosine, Metric::kL2, Metric::kManhattan}) {
    for (const ElementType element : {ElementType::kF32, ElementType::kF16, ElementType::kBF16,
                                      ElementType::kI8, ElementType::kU8}) {
      forms.push_back({metric, element});
    }
  }
  return forms;
}

// Clustered vectors that the type holds; f16 and bf16 round them.
Matrix Vectors(ElementType element, size_t rows, size_t dim, uint32_t seed) {
  Matrix out = Clustered(rows, dim, seed);
  for (size_t i = 0; i < rows * dim; ++i) {
    float& x = out.data()[i];
    switch (element) {
      case ElementType::kI8:
        x = std::clamp(std::nearbyint(40 * x), -128.0f, 127.0f);
        break;
      case ElementType::kU8:
        x = std::clamp(std::nearbyint(120 + 40 * x), 0.0f, 255.0f);
        break;
      case ElementType::kBinary:
        x = x > 0.5f ? 1.0f : 0.0f;
        break;
      default:
        break;
    }
  }
  return out;
}

double Score(Metric metric, std::span<const float> a, std::span<const float> b) {
  double dot = 0, aa = 0, bb = 0, l2 = 0, l1 = 0, differ = 0, both = 0, either = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a[i], y = b[i];
    dot += x * y;
    aa += x * x;
    bb += y * y;
    l2 += (x - y) * (x - y);
    l1 += std::fabs(x - y);
    differ += x != y;
    both += x != 0 && y != 0;
    either += x != 0 || y != 0;
  }
  switch (metric) {
    case Metric::kInnerProduct:
      return dot;
    case Metric::kCosine:
      return dot / std::sqrt(aa * bb);
    case Metric::kL2:
      return -l2;
    case Metric::kManhattan:
      return -l1;
    case Metric::kHamming:
      return -differ;
    case Metric::kJaccard:
      return either == 0 ? 1 : both / either;
  }
  return 0;
}

VectorIndexOptions Options(IndexKind kind, const Form& form, size_t dim) {
  VectorIndexOptions options;
  options.kind = kind;
  options.metric = form.metric;
  options.element = form.element;
  options.dim = dim;
  return options;
}

}  // namespace

TEST_CASE("elements: scores, recall, replacement, removal and snapshots") {
  const auto runtime = MakeRuntime();
  const IndexKind kind = GENERATE(IndexKind::kFlat, IndexKind::kHnsw, IndexKind::kIvf);
  const size_t dim = 75, n = 1'500, queries_count = 20;
  for (const Form& form : Forms()) {
    INFO(IndexKindName(kind) << " " << MetricName(form.metric) << " "
                             << ElementTypeName(form.element));
    const Matrix base = Vectors(form.element, n, dim, 3);
    const Matrix queries = Vectors(form.element, queries_count, dim, 4);
    VectorIndexOptions options = Options(kind, form, dim);
    options.ivf.lists = 16;
    if (kind == IndexKind::kIvf && form.metric > Metric::kL2) {
      REQUIRE(VectorIndex::Create(options, *runtime).status().code() ==
              StatusCode::kInvalidArgument);
      continue;
    }
    const auto index = MakeIndex(options, *runtime);
    REQUIRE_OK(index->Add(Sequence(n), base.view()));
    REQUIRE_OK(index->Verify());
    // What is stored, and that it is what came, as far as the type can hold it.
    Matrix stored(n, dim);
    const double rounding = form.element == ElementType::kBF16  ? 1.0 / 128
                            : form.element == ElementType::kF16 ? 1.0 / 1024
                                                                : 1e-6;
    for (size_t i = 0; i < n; ++i) {
      REQUIRE_OK(index->GetVector(i, stored.row(i)));
      double norm = 0;
      for (const float x : base.row(i)) norm += double{x} * x;
      const double scale = form.metric == Metric::kCosine ? 1 / std::sqrt(norm) : 1;
      for (size_t j = 0; j < dim; ++j) {
        REQUIRE(stored.row(i)[j] == Approx(base.row(i)[j] * scale).epsilon(rounding).margin(1e-6));
      }
    }
    std::vector<std::vector<Neighbor>> truth(queries_count);
    for (size_t q = 0; q < queries_count; ++q) {
      for (size_t i = 0; i < n; ++i) {
        truth[q].push_back(
            {i, static_cast<float>(Score(form.metric, queries.row(q), stored.row(i)))});
      }
      std::sort(truth[q].begin(), truth[q].end(), [](const Neighbor& a, const Neighbor& b) {
        return a.score > b.score || (a.score == b.score && a.id < b.id);
      });
    }
    const auto found = Find(*index, queries.view(), {.k = 10, .ef_search = 150});
    double hits = 0;
    for (size_t q = 0; q < queries_count; ++q) {
      REQUIRE(found[q].size() == 10);
      for (const Neighbor& neighbor : found[q]) {
        const double expected = Score(form.metric, queries.row(q), stored.row(neighbor.id));
        REQUIRE(neighbor.score == Approx(expected).epsilon(2e-3).margin(2e-3));
        // By score, since many binary vectors are equally far.
        hits += neighbor.score >= truth[q][9].score - 2e-3 * std::fabs(truth[q][9].score) - 1e-5;
      }
    }
    REQUIRE(hits / (10.0 * queries_count) >= (kind == IndexKind::kFlat ? 1.0 : 0.95));

    REQUIRE_OK(index->Add(Sequence(1), Rows(base, 700, 1)));  // id 0 becomes what 700 is
    const auto replaced = Find(*index, Rows(base, 700, 1), {.k = 2, .ef_search = 100});
    if (form.metric != Metric::kInnerProduct) {
      REQUIRE(replaced[0][0].id == 0);
      REQUIRE(replaced[0][1].id == 700);
    }
    REQUIRE(index->Remove(Sequence(500, 500)).value() == 500);
    REQUIRE_OK(index->Verify());
    for (const auto& result : Find(*index, queries.view(), {.k = 20})) {
      REQUIRE(result.size() == 20);
      for (const Neighbor& neighbor : result) {
        REQUIRE((neighbor.id < 500 || neighbor.id >= 1'000));
      }
    }
    const TemporaryFolder folder;
    const std::string path = (folder.path() / "index").string();
    REQUIRE_OK(index->Save(path, 5));
    auto loaded = VectorIndex::Load(path, options, *runtime);
    REQUIRE_OK(loaded);
    REQUIRE_OK(loaded->index->Verify());
    REQUIRE(Find(*loaded->index, queries.view(), {.k = 10}) ==
            Find(*index, queries.view(), {.k = 10}));
  }
}

TEST_CASE("elements: what a type cannot hold is refused by row and element") {
  const auto runtime = MakeRuntime();
  const auto refused = [&](Metric metric, ElementType element, float value) {
    const auto index = MakeIndex(Options(IndexKind::kHnsw, {metric, element}, 3), *runtime);
    const std::vector<float> rows = {1, 0, 1, 1, value, 1};
    const Status status = index->Add(Sequence(2), MatrixView(rows.data(), 2, 3));
    INFO(status.ToString());
    REQUIRE(status.code() == StatusCode::kInvalidArgument);
    REQUIRE(status.message().find("row 1: element 1") != std::string::npos);
    REQUIRE(index->size() == 0);
  };
  refused(Metric::kL2, ElementType::kF16, 65'600);
  refused(Metric::kL2, ElementType::kI8, 128);
  refused(Metric::kCosine, ElementType::kI8, 0.5f);
  refused(Metric::kManhattan, ElementType::kU8, -1);
  refused(Metric::kInnerProduct, ElementType::kU8, 256);
  refused(Metric::kHamming, ElementType::kBinary, 2);
}

TEST_CASE("elements: options that do not go together are refused") {
  const auto runtime = MakeRuntime();
  const auto refused = [&](VectorIndexOptions options) {
    const auto index = VectorIndex::Create(options, *runtime);
    REQUIRE(index.status().code() == StatusCode::kInvalidArgument);
  };
  VectorIndexOptions options = Options(IndexKind::kFlat, {Metric::kHamming, ElementType::kF32}, 8);
  refused(options);
  options = Options(IndexKind::kFlat, {Metric::kL2, ElementType::kBinary}, 8);
  refused(options);
  options = Options(IndexKind::kHnsw, {Metric::kManhattan, ElementType::kF32}, 8);
  options.hnsw.codes = CodeKind::kSq8;
  refused(options);
  options.metric = Metric::kL2;
  options.hnsw.code_dims = 4;
  refused(options);
  options.hnsw.codes = CodeKind::kPca8;
  options.hnsw.code_dims = 9;
  refused(options);
  options.dim = 5'000;
  options.hnsw.code_dims = 0;
  refused(options);
}

}  // namespace rag::test
