#include "index/vector/principal_axes.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "lib/kernels/kernels.h"

namespace rag {
namespace {

// Each round multiplies an axis' share of the others by the ratio of their variances; what is left
// mixed after so many are axes of almost the same variance, and any mixture of those serves.
constexpr size_t kRounds = 8;

// c [m, n] = a [m, k] * b [n, k]^T.
Matrix Multiply(const Matrix& a, const Matrix& b, const Runtime& runtime) {
  const Kernels& kernels = runtime.kernels();
  const size_t k = a.cols();
  std::vector<float> packed(PackedGemmBSize(kernels, b.rows(), k));
  PackGemmB(
      kernels, [&b](size_t j) { return b.row(j).data(); }, b.rows(), k, packed.data());
  Matrix c(a.rows(), b.rows());
  const auto rows = [&](size_t begin, size_t end, int) {
    kernels.gemm(end - begin, b.rows(), k, a.data() + begin * k, k, packed.data(), nullptr,
                 c.data() + begin * b.rows(), b.rows());
  };
  if (!runtime.pool().TryParallelFor(a.rows(), 48, rows)) rows(0, a.rows(), 0);
  return c;
}

// Scales a row to length 1; returns the length that it had. One that is not longer than `nothing`
// becomes any other.
float Normalize(std::span<float> row, float nothing, const Kernels& kernels, std::mt19937& random) {
  const auto scale = [&](float factor) {
    for (float& x : row) x *= factor;
  };
  float largest = 0;  // whose square may be below what a float holds
  for (const float x : row) largest = std::max(largest, std::fabs(x));
  if (!(largest > 0) || !std::isfinite(1 / largest)) largest = 0;
  if (largest > 0) scale(1 / largest);
  float length = largest * std::sqrt(kernels.dot(row.data(), row.data(), row.size()));
  if (!(length > nothing)) {
    length = 0;
    std::normal_distribution<float> normal;
    for (float& x : row) x = normal(random);
  }
  scale(1 / std::sqrt(kernels.dot(row.data(), row.data(), row.size())));
  return length;
}

// Gram-Schmidt, each row against those before it, until a pass leaves most of it: what is left of a
// row that lies nearly in their span is far from orthogonal to them, rounded as it is.
void Orthonormalize(Matrix& rows, const Kernels& kernels, std::mt19937& random) {
  constexpr float kMost = 0.7f;
  constexpr float kNoise = 1e-6f;  // of a row of length 1: what rounding leaves of it
  constexpr int kPasses = 10;      // two, or four where nothing is left
  const size_t dim = rows.cols();
  for (size_t i = 0; i < rows.rows(); ++i) {
    const std::span<float> row = rows.row(i);
    Normalize(row, 0, kernels, random);
    for (int pass = 0; pass < kPasses; ++pass) {
      for (size_t j = 0; j < i; ++j) {
        const float* const other = rows.row(j).data();
        kernels.axpy(-kernels.dot(row.data(), other, dim), other, row.data(), dim);
      }
      if (Normalize(row, kNoise, kernels, random) >= kMost) break;
    }
  }
}

}  // namespace

PrincipalAxes FindPrincipalAxes(MatrixView sample, std::span<const float> mean, size_t count,
                                const Runtime& runtime) {
  const Kernels& kernels = runtime.kernels();
  const size_t dim = sample.cols;
  Matrix columns(dim, sample.rows);  // transposed, so that the covariance is rows times rows
  for (size_t i = 0; i < sample.rows; ++i) {
    const std::span<const float> row = sample.row(i);
    for (size_t j = 0; j < dim; ++j) columns.data()[j * sample.rows + i] = row[j] - mean[j];
  }
  Matrix covariance = Multiply(columns, columns, runtime);
  const float scale = 1.0f / static_cast<float>(sample.rows);
  for (size_t i = 0; i < dim * dim; ++i) covariance.data()[i] *= scale;

  PrincipalAxes out;
  for (size_t i = 0; i < dim; ++i) out.total_variance += covariance.row(i)[i];
  Matrix axes(count, dim);
  std::mt19937 random(20'240'229);
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < count * dim; ++i) axes.data()[i] = normal(random);
  Orthonormalize(axes, kernels, random);
  for (size_t round = 0; round < kRounds; ++round) {
    axes = Multiply(axes, covariance, runtime);  // symmetric: the transpose is itself
    Orthonormalize(axes, kernels, random);
  }
  const Matrix images = Multiply(axes, covariance, runtime);
  std::vector<double> variances(count);
  for (size_t i = 0; i < count; ++i) {
    variances[i] = std::max(0.0f, kernels.dot(images.row(i).data(), axes.row(i).data(), dim));
  }
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return variances[a] > variances[b]; });
  out.axes = Matrix(count, dim);
  for (size_t i = 0; i < count; ++i) {
    std::copy_n(axes.row(order[i]).data(), dim, out.axes.row(i).data());
    out.variances.push_back(variances[order[i]]);
  }
  return out;
}

bool AreOrthonormal(const Matrix& axes, const Runtime& runtime) {
  constexpr float kTolerance = 0.01f;
  const Matrix dots = Multiply(axes, axes, runtime);
  for (size_t i = 0; i < axes.rows(); ++i) {
    for (size_t j = 0; j <= i; ++j) {
      if (!(std::fabs(dots.row(i)[j] - (i == j ? 1.0f : 0.0f)) <= kTolerance)) return false;
    }
  }
  return true;
}

}  // namespace rag
