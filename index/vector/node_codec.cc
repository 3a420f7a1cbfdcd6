#include "index/vector/node_codec.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "index/vector/rabitq_codec.h"
#include "index/vector/sq8_codec.h"
#include "lib/kernels/kernels.h"

namespace rag {
namespace {

// Vectors whose codes are compared with them, and of these the ones that are queries.
constexpr size_t kMeasured = 2'000;
constexpr size_t kQueries = 40;
constexpr size_t kNearest = 10;
// Of the nearest neighbours so many must be among what is kept.
constexpr double kKept = 0.99;

}  // namespace

bool NodeCodec::HasAxes(CodeKind kind) {
  return kind == CodeKind::kPca8 || kind == CodeKind::kPca4;
}

size_t NodeCodec::MinDim(CodeKind kind) {
  switch (kind) {
    case CodeKind::kRabitq:
      return 64;
    case CodeKind::kSq4:
    case CodeKind::kPca4:
      return 16;
    default:
      return 1;
  }
}

size_t NodeCodec::MinSample(CodeKind kind, size_t dim) {
  return HasAxes(kind) ? std::clamp<size_t>(4 * dim, 1'000, 5'000) : 1'000;
}

size_t NodeCodec::MaxSample(size_t dim) {
  // The covariance of so many rows takes some tenths of a second at 1,024 dimensions.
  return std::clamp<size_t>(16 * dim, 4'000, 20'000);
}

std::unique_ptr<NodeCodec> NodeCodec::Train(MatrixView sample, CodeKind kind, size_t dims,
                                            Metric metric, const Runtime& runtime) {
  std::unique_ptr<NodeCodec> codec;
  if (kind == CodeKind::kSq8 || kind == CodeKind::kPca8) {
    codec = Sq8Codec::Train(sample, kind, dims, metric, runtime);
  } else {
    codec = RabitqCodec::Train(sample, kind, dims, metric, runtime);
  }
  codec->Measure(sample, runtime);
  return codec;
}

Result<std::unique_ptr<NodeCodec>> NodeCodec::Parse(std::span<const std::byte> bytes, CodeKind kind,
                                                    size_t dim, Metric metric,
                                                    const Runtime& runtime) {
  if (kind == CodeKind::kSq8 || kind == CodeKind::kPca8) {
    return Sq8Codec::Parse(bytes, dim, metric, runtime);
  }
  return RabitqCodec::Parse(bytes, kind, dim, metric, runtime);
}

void NodeCodec::Measure(MatrixView sample, const Runtime& runtime) {
  const Kernels& kernels = runtime.kernels();
  const size_t n = std::min(sample.rows, kMeasured);
  const auto row = [&](size_t i) { return sample.row(i * sample.rows / n).data(); };
  Matrix codes(n, code_bytes_ / sizeof(float));
  std::vector<const std::byte*> pointers(n);
  double error = 0;
  for (size_t i = 0; i < n; ++i) {
    auto* const code = reinterpret_cast<std::byte*>(codes.row(i).data());
    error += Encode(row(i), code);
    pointers[i] = code;
  }
  trained_error_ = error / static_cast<double>(n);

  // Where the true neighbours of some of them stand when all are ordered by their codes.
  std::vector<float> distances(n), estimates(n);
  std::vector<size_t> order(n), places(n), ranks;
  const auto sort = [&](const std::vector<float>& by) {
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return by[a] < by[b]; });
  };
  CodeQuery query;
  for (size_t q = 0; q < std::min(kQueries, n); ++q) {
    const size_t self = q * n / std::min(kQueries, n);
    const float* const from = row(self);
    for (size_t i = 0; i < n; ++i) {
      distances[i] =
          l2_ ? kernels.l2_squared(from, row(i), dim()) : -kernels.dot(from, row(i), dim());
    }
    PrepareQuery(from, query);
    Distances(query, pointers.data(), n, estimates.data());
    // The query itself is no neighbour that anybody looks for.
    distances[self] = estimates[self] = std::numeric_limits<float>::infinity();
    sort(estimates);
    for (size_t place = 0; place < n; ++place) places[order[place]] = place;
    sort(distances);
    for (size_t i = 0; i < std::min(kNearest, n - 1); ++i) ranks.push_back(places[order[i]]);
  }
  keep_ratio_ = 1;
  if (ranks.empty()) return;
  std::sort(ranks.begin(), ranks.end());
  const size_t rank = ranks[static_cast<size_t>(kKept * static_cast<double>(ranks.size() - 1))] + 1;
  keep_ratio_ = static_cast<float>(std::clamp(static_cast<double>(rank) / kNearest, 1.0,
                                              static_cast<double>(kLargestKeepRatio)));
}

}  // namespace rag
