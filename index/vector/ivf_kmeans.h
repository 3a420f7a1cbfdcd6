// K-means: the centroids of inverted lists and of product quantizers.
//
// Our own and not FAISS's, which this project uses as an oracle only: Debian's build of it has no
// SIMD and would train several times slower than the kernels here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Points, packed for the question which of them is nearest to a row.
class Centroids {
 public:
  Centroids() = default;
  Centroids(Matrix points, const Runtime& runtime);

  size_t count() const { return points_.rows(); }
  size_t dim() const { return points_.cols(); }
  const Matrix& points() const { return points_; }
  float squared_norm(size_t i) const { return -2 * offsets_[i]; }
  size_t memory_bytes() const;

  // out [rows, count]: <row, point> - |point|^2 / 2, which is largest where the squared distance is
  // smallest; without the norms, with `products`. On the calling thread; no result depends on the
  // rows beside it.
  void Closeness(MatrixView rows, bool products, float* out) const;
  // The point nearest to each row, ties to the lower one, and the squared distance to it; on the
  // pool's threads. `distances` may be empty.
  void Nearest(MatrixView rows, std::span<uint32_t> nearest, std::span<float> distances) const;

 private:
  const Runtime* runtime_ = nullptr;
  Matrix points_;
  std::vector<float> packed_;
  std::vector<float> offsets_;  // -|point|^2 / 2
};

struct KMeansOptions {
  size_t clusters = 0;
  size_t iterations = 10;
  uint64_t seed = 42;
};

// `count` different numbers below `size` (all of them when there are not so many), ascending.
std::vector<size_t> SampleNumbers(size_t size, size_t count, uint64_t seed);

// Lloyd's algorithm from randomly chosen rows. A cluster that has become empty gets half of the
// largest one (as in FAISS: the centroid is doubled and the two moved apart). Rows may be fewer
// than clusters, which are then no more than the rows; there is at least one row. The result
// depends on rows and seed alone, not on the number of threads.
Centroids TrainKMeans(MatrixView rows, const KMeansOptions& options, const Runtime& runtime);

}  // namespace rag
