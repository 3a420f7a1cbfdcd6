#include "index/vector/principal_axes.h"

#include <faiss/VectorTransform.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "tests/index/vectors.h"

namespace rag::test {

// FAISS (through LAPACK) finds the eigenvectors themselves; what ours must share is the space.
TEST_CASE("the axes hold as much of the variance as the eigenvectors do, and are orthonormal") {
  const auto folder = SharedData("ann-scifact-minilm");
  if (!folder) RAG_SKIP("ann-scifact-minilm is not there");
  const auto runtime = MakeRuntime();
  const Matrix base = ToMatrix(ReadTexmex<float>(*folder / "base_128.fvecs"));
  const size_t dim = base.cols(), n = base.rows();
  std::vector<float> mean(dim, 0.0f);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < dim; ++j) mean[j] += base.row(i)[j] / static_cast<float>(n);
  }
  for (const size_t count : {1, 20, 60, 128}) {
    const PrincipalAxes found = FindPrincipalAxes(base.view(), mean, count, *runtime);
    faiss::PCAMatrix oracle(static_cast<int>(dim), static_cast<int>(count));
    oracle.train(static_cast<faiss::Index::idx_t>(n), base.data());
    double expected = 0, all = 0, held = 0;
    for (size_t i = 0; i < dim; ++i) {
      // FAISS does not divide by n.
      const double variance = oracle.eigenvalues[i] / static_cast<double>(n);
      all += variance;
      if (i < count) expected += variance;
    }
    for (const double variance : found.variances) held += variance;
    INFO(count << " axes: " << held << " of " << all << ", the eigenvectors " << expected);
    REQUIRE(found.total_variance == Approx(all).epsilon(1e-3));
    REQUIRE(held <= expected * 1.001);
    REQUIRE(held >= expected * 0.99);
    for (size_t i = 0; i < count; ++i) {
      for (size_t j = 0; j <= i; ++j) {
        double dot = 0;
        for (size_t k = 0; k < dim; ++k) dot += double{found.axes.row(i)[k]} * found.axes.row(j)[k];
        REQUIRE(std::fabs(dot - (i == j ? 1.0 : 0.0)) < 1e-4);
      }
    }
  }
}

TEST_CASE("axes of vectors that span less than there are axes for are orthonormal all the same") {
  const auto runtime = MakeRuntime();
  constexpr size_t dim = 96;
  // Nothing, copies of a few, and variances that go below what rounding leaves of the largest.
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  Matrix nothing(50, dim), copies(600, dim), spread(600, dim);
  for (size_t j = 0; j < dim; ++j) {
    for (size_t i = 0; i < 600; ++i) {
      copies.row(i)[j] = i < 20 ? normal(random) : copies.row(i % 20)[j];
      spread.row(i)[j] = normal(random) * std::pow(0.7f, static_cast<float>(j));
    }
  }
  const std::vector<float> mean(dim, 0.0f);
  for (const Matrix* sample : {&nothing, &copies, &spread}) {
    const PrincipalAxes found = FindPrincipalAxes(sample->view(), mean, dim, *runtime);
    double worst = 0, held = 0;
    for (size_t i = 0; i < dim; ++i) {
      held += found.variances[i];
      for (size_t j = 0; j <= i; ++j) {
        double dot = 0;
        for (size_t k = 0; k < dim; ++k) dot += double{found.axes.row(i)[k]} * found.axes.row(j)[k];
        worst = std::max(worst, std::fabs(dot - (i == j ? 1.0 : 0.0)));
      }
    }
    CHECK(worst < 1e-4);
    CHECK(held == Approx(found.total_variance).epsilon(1e-3));
  }
}

}  // namespace rag::test
