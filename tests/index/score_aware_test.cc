// The score-aware loss of product codes: its weight, its optimization, and what it does to scores.
#include "index/vector/score_aware.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "index/vector/ivf_codec.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {

IvfOptions Coded(IvfCodes codes, size_t bytes) {
  IvfOptions options;
  options.codes = codes;
  options.pq_bytes = bytes;
  return options;
}

Matrix Unit(Matrix rows) {
  for (size_t i = 0; i < rows.rows(); ++i) {
    double squared = 0;
    for (const float x : rows.row(i)) squared += double{x} * x;
    for (float& x : rows.row(i)) x = static_cast<float>(x / std::sqrt(squared));
  }
  return rows;
}

double MeanLoss(const IvfCodec& codec, const ScoreAware& loss, const Matrix& rows) {
  std::vector<std::byte> code(codec.layout().code_bytes);
  std::vector<float> decoded(rows.cols()), scratch(codec.scratch_floats());
  double sum = 0;
  for (size_t i = 0; i < rows.rows(); ++i) {
    const float* const row = rows.row(i).data();
    codec.Encode(row, row, code.data(), decoded.data(), scratch.data());
    sum += loss.Loss(row, decoded.data(), row, rows.cols());
  }
  return sum / static_cast<double>(rows.rows());
}

}  // namespace

// Section 3 of the paper: for queries spread evenly over the sphere, of which those with a cosine
// over T count, the weights along x and across are in the ratio
// (d - 1) int cos^2 sin^(d-2) / int sin^d, from 0 to arccos T.
TEST_CASE("the weight of an error along the vector is that of the queries that come near it") {
  for (const size_t dim : {600, 1'000, 4'000}) {
    for (const double threshold : {0.2, 0.3, 0.5}) {
      const double end = std::acos(threshold);
      double along = 0, across = 0;
      constexpr size_t kSteps = 200'000;
      for (size_t i = 0; i < kSteps; ++i) {
        const double angle = end * (static_cast<double>(i) + 0.5) / kSteps;
        // Of its largest value: the power alone would vanish.
        const double power =
            std::pow(std::sin(angle) / std::sin(end), static_cast<double>(dim) - 2);
        along += std::cos(angle) * std::cos(angle) * power;
        across += std::sin(angle) * std::sin(angle) * power;
      }
      const double expected = (static_cast<double>(dim) - 1) * along / across;
      const ScoreAware loss(threshold, dim);
      std::vector<float> row(dim, 0.0f), residual(dim, 0.0f), zero(dim, 0.0f);
      row[0] = 2;
      residual[0] = 1;
      const double weight = loss.Loss(residual.data(), zero.data(), row.data(), dim);
      INFO("dim " << dim << ", T " << threshold);
      REQUIRE(weight == Approx(expected).epsilon(0.15));
      residual[0] = 0;
      residual[1] = 1;
      REQUIRE(loss.Loss(residual.data(), zero.data(), row.data(), dim) == Approx(1));
    }
  }
  REQUIRE(ScoreAware(0, 100).plain());
}

TEST_CASE("codes chosen and learned by the loss have less of it") {
  const auto runtime = MakeRuntime();
  const size_t dim = 50, n = 4'000;
  const IvfCodes codes = GENERATE(IvfCodes::kPq4, IvfCodes::kPq8);
  const Matrix rows = Unit(Clustered(n, dim, 71));
  const IvfOptions options = Coded(codes, 5);
  const ScoreAware loss(0.3, dim);
  const IvfCodec plain = IvfCodec::Train(rows.view(), rows.view(), options, {}, *runtime);
  const IvfCodec aware = IvfCodec::Train(rows.view(), rows.view(), options, loss, *runtime);
  const double before = MeanLoss(plain, loss, rows), after = MeanLoss(aware, loss, rows);
  WARN(IvfCodesName(codes) << ": loss " << before << ", score-aware " << after);
  REQUIRE(after < 0.9 * before);
  // The plain error can but grow.
  REQUIRE(MeanLoss(aware, {}, rows) >= 0.99 * MeanLoss(plain, {}, rows));
}

// What the loss is for: the scores of a query's true neighbours.
TEST_CASE("score-aware codes change the scores of true neighbours less") {
  const auto folder = SharedData("ann-scifact-minilm");
  if (!folder) RAG_SKIP("ann-scifact-minilm is not there");
  const auto runtime = MakeRuntime();
  const Matrix base = Unit(ToMatrix(ReadTexmex<float>(*folder / "base_128.fvecs")));
  const Matrix queries = Unit(ToMatrix(ReadTexmex<float>(*folder / "query_128.fvecs")));
  const size_t dim = base.cols();
  VectorIndexOptions flat;
  flat.kind = IndexKind::kFlat;
  flat.dim = dim;
  flat.metric = Metric::kInnerProduct;
  const auto index = MakeIndex(flat, *runtime);
  REQUIRE_OK(index->Add(Sequence(base.rows()), base.view()));
  const auto truth = Find(*index, queries.view(), {.k = 10});
  double errors[2];
  for (const bool aware : {false, true}) {
    const ScoreAware loss = aware ? ScoreAware(0.2, dim) : ScoreAware();
    const IvfCodec codec =
        IvfCodec::Train(base.view(), base.view(), Coded(IvfCodes::kPq4, 16), loss, *runtime);
    std::vector<std::byte> code(codec.layout().code_bytes);
    std::vector<float> decoded(dim), scratch(codec.scratch_floats());
    double sum = 0;
    for (size_t q = 0; q < queries.rows(); ++q) {
      for (const Neighbor& neighbor : truth[q]) {
        const float* const row = base.row(neighbor.id).data();
        codec.Encode(row, row, code.data(), decoded.data(), scratch.data());
        double score = 0;
        for (size_t d = 0; d < dim; ++d) score += double{queries.row(q)[d]} * decoded[d];
        sum += (score - neighbor.score) * (score - neighbor.score);
      }
    }
    errors[aware ? 1 : 0] = sum;
  }
  WARN("squared error of true neighbours' scores: " << errors[0] << ", score-aware " << errors[1]);
  REQUIRE(errors[1] < 0.9 * errors[0]);

  double recalls[2];
  for (const bool aware : {false, true}) {
    VectorIndexOptions options = flat;
    options.kind = IndexKind::kIvf;
    options.ivf.lists = 64;
    options.ivf.pq_bytes = 16;
    options.ivf.anisotropic = aware ? 0.2 : 0;
    const auto lists = MakeIndex(options, *runtime);
    REQUIRE_OK(lists->Add(Sequence(base.rows()), base.view()));
    const SearchOptions search{.k = 10, .probes = 64, .rerank = 2};
    recalls[aware ? 1 : 0] = Recall(Find(*lists, queries.view(), search), truth);
  }
  WARN("recall@10 of 20 re-ranked: " << recalls[0] << ", score-aware " << recalls[1]);
  REQUIRE(recalls[1] > recalls[0] + 0.01);
}

}  // namespace rag::test
