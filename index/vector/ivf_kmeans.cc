#include "index/vector/ivf_kmeans.h"

#include <algorithm>
#include <random>
#include <utility>

#include "lib/kernels/kernels.h"

namespace rag {
namespace {

// Rows whose products with the points are held at once.
constexpr size_t kRowTile = 32;

}  // namespace

Centroids::Centroids(Matrix points, const Runtime& runtime)
    : runtime_(&runtime), points_(std::move(points)), offsets_(points_.rows()) {
  const Kernels& kernels = runtime.kernels();
  packed_.resize(PackedGemmBSize(kernels, count(), dim()));
  PackGemmB(
      kernels, [this](size_t j) { return points_.row(j).data(); }, count(), dim(), packed_.data());
  for (size_t i = 0; i < count(); ++i) {
    const float* const point = points_.row(i).data();
    offsets_[i] = -0.5f * kernels.dot(point, point, dim());
  }
}

size_t Centroids::memory_bytes() const {
  return (points_.rows() * points_.cols() + packed_.size() + offsets_.size()) * sizeof(float);
}

void Centroids::Closeness(MatrixView rows, bool products, float* out) const {
  runtime_->kernels().gemm(rows.rows, count(), dim(), rows.data, rows.stride, packed_.data(),
                           products ? nullptr : offsets_.data(), out, count());
}

void Centroids::Nearest(MatrixView rows, std::span<uint32_t> nearest,
                        std::span<float> distances) const {
  const Kernels& kernels = runtime_->kernels();
  const size_t tiles = (rows.rows + kRowTile - 1) / kRowTile;
  const auto work = [&](size_t begin, size_t end, int) {
    std::vector<float> closeness(kRowTile * count());
    for (size_t tile = begin; tile < end; ++tile) {
      const size_t first = tile * kRowTile, held = std::min(kRowTile, rows.rows - first);
      Closeness({rows.row(first).data(), held, rows.cols, rows.stride}, false, closeness.data());
      for (size_t i = 0; i < held; ++i) {
        const float* const values = closeness.data() + i * count();
        const size_t best =
            static_cast<size_t>(std::max_element(values, values + count()) - values);
        nearest[first + i] = static_cast<uint32_t>(best);
        if (distances.empty()) continue;
        distances[first + i] =
            kernels.l2_squared(rows.row(first + i).data(), points_.row(best).data(), dim());
      }
    }
  };
  if (tiles <= 1) {
    work(0, tiles, 0);
  } else {
    runtime_->pool().ParallelFor(tiles, 4, work);
  }
}

std::vector<size_t> SampleNumbers(size_t size, size_t count, uint64_t seed) {
  std::vector<size_t> numbers;
  count = std::min(count, size);
  numbers.reserve(count);
  // Selection sampling (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S).
  std::mt19937_64 random(seed);
  for (size_t i = 0; numbers.size() < count; ++i) {
    if (random() % (size - i) < count - numbers.size()) numbers.push_back(i);
  }
  return numbers;
}

Centroids TrainKMeans(MatrixView rows, const KMeansOptions& options, const Runtime& runtime) {
  const size_t dim = rows.cols, clusters = std::min(options.clusters, rows.rows);
  Matrix points(clusters, dim);
  const std::vector<size_t> chosen = SampleNumbers(rows.rows, clusters, options.seed);
  for (size_t i = 0; i < clusters; ++i) {
    std::copy_n(rows.row(chosen[i]).data(), dim, points.row(i).data());
  }
  std::vector<uint32_t> nearest(rows.rows);
  std::vector<size_t> counts(clusters), begins(clusters + 1);
  std::vector<uint32_t> members(rows.rows);
  for (size_t iteration = 0; iteration < options.iterations; ++iteration) {
    Centroids(points, runtime).Nearest(rows, nearest, {});
    std::fill(counts.begin(), counts.end(), 0);
    for (const uint32_t cluster : nearest) ++counts[cluster];
    begins[0] = 0;
    for (size_t i = 0; i < clusters; ++i) begins[i + 1] = begins[i] + counts[i];
    std::vector<size_t> at(begins.begin(), begins.end() - 1);
    for (size_t row = 0; row < rows.rows; ++row) {
      members[at[nearest[row]]++] = static_cast<uint32_t>(row);
    }
    const auto average = [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) {
        if (counts[i] == 0) continue;
        float* const point = points.row(i).data();
        std::fill_n(point, dim, 0.0f);
        for (size_t j = begins[i]; j < begins[i + 1]; ++j) {
          runtime.kernels().add(point, rows.row(members[j]).data(), dim);
        }
        const float scale = 1.0f / static_cast<float>(counts[i]);
        for (size_t d = 0; d < dim; ++d) point[d] *= scale;
      }
    };
    if (rows.rows * dim < 1 << 16) {
      average(0, clusters, 0);
    } else {
      runtime.pool().ParallelFor(clusters, std::max<size_t>(1, clusters / 64), average);
    }
    for (size_t empty = 0; empty < clusters; ++empty) {
      if (counts[empty] != 0) continue;
      const size_t largest =
          static_cast<size_t>(std::max_element(counts.begin(), counts.end()) - counts.begin());
      constexpr float kApart = 1.0f / 1'024;
      for (size_t d = 0; d < dim; ++d) {
        const float value = points.row(largest)[d];
        const float away = d % 2 == 0 ? kApart : -kApart;
        points.row(empty)[d] = value * (1 + away);
        points.row(largest)[d] = value * (1 - away);
      }
      counts[empty] = counts[largest] / 2;
      counts[largest] -= counts[empty];
    }
  }
  return Centroids(std::move(points), runtime);
}

}  // namespace rag
