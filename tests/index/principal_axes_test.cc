#include "index/vector/principal_axes.h"

#include <faiss/VectorTransform.h>

#include <catch2/catch.hpp>
#include <cmath>

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
  const Matrix same(50, 6);  // zeros
  const std::vector<float> mean(6, 0.0f);
  const PrincipalAxes found = FindPrincipalAxes(same.view(), mean, 6, *runtime);
  REQUIRE(found.total_variance == 0);
  for (size_t i = 0; i < 6; ++i) {
    for (size_t j = 0; j < 6; ++j) {
      double dot = 0;
      for (size_t k = 0; k < 6; ++k) dot += double{found.axes.row(i)[k]} * found.axes.row(j)[k];
      REQUIRE(std::fabs(dot - (i == j ? 1.0 : 0.0)) < 1e-4);
    }
  }
}

}  // namespace rag::test
