#include "index/vector/node_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "index/vector/principal_axes.h"
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

// In front of the mean and the axes.
struct FileHeader {
  uint32_t dims = 0;
  uint32_t has_axes = 0;
  float scale = 0;
  float keep_ratio = 0;  // 0: saved by a codec of 8 bits before it was measured
  double trained_error = 0;
};

bool AllFinite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(),
                     [](float value) { return std::isfinite(value); });
}

bool IsSq8(CodeKind kind) { return kind == CodeKind::kSq8 || kind == CodeKind::kPca8; }

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
  if (IsSq8(kind)) {
    codec = Sq8Codec::Train(sample, kind, dims, metric, runtime);
  } else {
    codec = RabitqCodec::Train(sample, kind, dims, metric, runtime);
  }
  codec->Measure(sample, runtime);
  return codec;
}

std::string NodeCodec::Serialize() const {
  FileHeader header;
  header.dims = static_cast<uint32_t>(code_dims());
  header.has_axes = projection_.has_axes() ? 1 : 0;
  header.scale = scale();
  header.keep_ratio = keep_ratio_;
  header.trained_error = trained_error_;
  std::string out(reinterpret_cast<const char*>(&header), sizeof(header));
  out.append(reinterpret_cast<const char*>(projection_.mean().data()), dim() * sizeof(float));
  const Matrix& axes = projection_.axes();
  out.append(reinterpret_cast<const char*>(axes.data()), axes.rows() * axes.cols() * sizeof(float));
  return out;
}

Result<std::unique_ptr<NodeCodec>> NodeCodec::Parse(std::span<const std::byte> bytes, CodeKind kind,
                                                    size_t dim, Metric metric,
                                                    const Runtime& runtime) {
  FileHeader header;
  if (bytes.size() < sizeof(header)) return DataLossError("codes of ", bytes.size(), " bytes");
  std::memcpy(&header, bytes.data(), sizeof(header));
  const bool has_axes = HasAxes(kind);
  const size_t expected =
      sizeof(header) + (dim + (has_axes ? size_t{header.dims} * dim : 0)) * sizeof(float);
  if (header.has_axes != (has_axes ? 1 : 0) || header.dims < 1 || header.dims > dim ||
      (!has_axes && header.dims != dim) || bytes.size() != expected || !(header.scale >= 0) ||
      !std::isfinite(header.scale) ||
      !(header.keep_ratio >= 1 || (header.keep_ratio == 0 && IsSq8(kind))) ||
      header.keep_ratio > kLargestKeepRatio || !std::isfinite(header.trained_error)) {
    return DataLossError("codes of ", header.dims, " of ", dim, " dimensions in ", bytes.size(),
                         " bytes");
  }
  bytes = bytes.subspan(sizeof(header));
  std::vector<float> mean(dim);
  std::memcpy(mean.data(), bytes.data(), dim * sizeof(float));
  if (!AllFinite(mean)) return DataLossError("codes around a mean that is no number");
  Projection projection(std::move(mean), runtime);
  if (has_axes) {
    Matrix axes(header.dims, dim);
    std::memcpy(axes.data(), bytes.data() + dim * sizeof(float),
                bytes.size() - dim * sizeof(float));
    if (!AllFinite({axes.data(), axes.rows() * axes.cols()})) {
      return DataLossError("codes along axes that are no numbers");
    }
    // Those of vectors with many copies were not, once: such codes tell distances wrong.
    if (!AreOrthonormal(axes, runtime)) {
      return DataLossError("codes along axes that are not orthonormal");
    }
    projection.SetAxes(std::move(axes));
  }
  std::unique_ptr<NodeCodec> codec;
  if (IsSq8(kind)) {
    if (header.scale == 0) return DataLossError("codes in steps of 0");
    codec = std::make_unique<Sq8Codec>(metric, std::move(projection), header.scale, runtime);
  } else {
    if (!has_axes) projection.Rotate();
    codec =
        std::make_unique<RabitqCodec>(kind, metric, std::move(projection), header.scale, runtime);
  }
  codec->trained_error_ = header.trained_error;
  codec->keep_ratio_ = std::max(1.0f, header.keep_ratio);
  return codec;
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
