#include "index/vector/ivf_rotation.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "index/vector/ivf_codec.h"
#include "lib/kernels/kernels.h"

namespace rag {
namespace {

constexpr size_t kRounds = 6;
constexpr size_t kMaxSteps = 60;  // of Newton and Schulz; quadratic once the scale is right
// Directions that the rows do not show keep the rotation they had.
constexpr float kKept = 1e-3f;

// a [m, k] * b [n, k]^T, on the pool's threads.
Matrix Product(MatrixView a, MatrixView b, const Runtime& runtime) {
  const Kernels& kernels = runtime.kernels();
  std::vector<float> packed(PackedGemmBSize(kernels, b.rows, b.cols));
  PackGemmB(
      kernels, [&b](size_t j) { return b.row(j).data(); }, b.rows, b.cols, packed.data());
  Matrix out(a.rows, b.rows);
  runtime.pool().ParallelFor(a.rows, 32, [&](size_t begin, size_t end, int) {
    kernels.gemm(end - begin, b.rows, a.cols, a.row(begin).data(), a.stride, packed.data(), nullptr,
                 out.row(begin).data(), b.rows);
  });
  return out;
}

Matrix Transposed(MatrixView from) {
  Matrix out(from.cols, from.rows);
  for (size_t i = 0; i < from.rows; ++i) {
    for (size_t j = 0; j < from.cols; ++j) out.row(j)[i] = from.row(i)[j];
  }
  return out;
}

// The orthogonal matrix nearest to `matrix`, which is square and of full rank.
Matrix PolarFactor(Matrix matrix, const Runtime& runtime) {
  const size_t dim = matrix.rows(), size = dim * dim;
  double squares = 0;
  for (size_t i = 0; i < size; ++i) squares += double{matrix.data()[i]} * matrix.data()[i];
  // Singular values between 0 and 1 converge.
  const float scale = static_cast<float>(1 / std::sqrt(squares));
  for (size_t i = 0; i < size; ++i) matrix.data()[i] *= scale;
  for (size_t step = 0; step < kMaxSteps; ++step) {
    // X <- X (3 I - X^T X) / 2, with X^T X = columns * columns^T.
    const Matrix columns = Transposed(matrix.view());
    Matrix inner = Product(columns.view(), columns.view(), runtime);  // symmetric
    float off = 0;
    for (size_t i = 0; i < dim; ++i) {
      for (size_t j = 0; j < dim; ++j) {
        off = std::max(off, std::abs(inner.row(i)[j] - (i == j ? 1.0f : 0.0f)));
        inner.row(i)[j] = ((i == j ? 3.0f : 0.0f) - inner.row(i)[j]) / 2;
      }
    }
    if (off < 1e-4f) break;
    matrix = Product(matrix.view(), inner.view(), runtime);
  }
  return matrix;
}

}  // namespace

Matrix LearnRotation(MatrixView rows, const IvfOptions& options, const Runtime& runtime) {
  const size_t dim = rows.cols;
  // From a random rotation: a start along the axes is often a minimum already.
  Matrix rotation(dim, dim);
  std::mt19937_64 random(options.seed);
  for (size_t i = 0; i < dim * dim; ++i) {
    rotation.data()[i] = static_cast<float>(random() >> 40) / (1 << 23) - 1;
  }
  for (size_t i = 0; i < dim; ++i) rotation.row(i)[i] += 1;
  rotation = PolarFactor(std::move(rotation), runtime);
  const Matrix columns = Transposed(rows);
  for (size_t round = 0; round < kRounds; ++round) {
    const Matrix turned = Product(rows, rotation.view(), runtime);
    const IvfCodec codec = IvfCodec::Train(turned.view(), turned.view(), options, {}, runtime);
    Matrix decoded(rows.rows, dim);
    runtime.pool().ParallelFor(rows.rows, 64, [&](size_t begin, size_t end, int) {
      std::vector<std::byte> code(codec.layout().code_bytes);
      std::vector<float> scratch(codec.scratch_floats());
      for (size_t i = begin; i < end; ++i) {
        codec.Encode(turned.row(i).data(), turned.row(i).data(), code.data(), decoded.row(i).data(),
                     scratch.data());
      }
    });
    // |R x - d|^2 summed is least for the polar factor of the sum of d x^T.
    Matrix products = Product(Transposed(decoded.view()).view(), columns.view(), runtime);
    double squares = 0;
    for (size_t i = 0; i < dim * dim; ++i) {
      squares += double{products.data()[i]} * products.data()[i];
    }
    const float kept = kKept * static_cast<float>(std::sqrt(squares / static_cast<double>(dim)));
    if (kept == 0) break;
    for (size_t i = 0; i < dim * dim; ++i) products.data()[i] += kept * rotation.data()[i];
    rotation = PolarFactor(std::move(products), runtime);
  }
  return rotation;
}

}  // namespace rag
