#include "index/vector/sq8_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace rag {
namespace {

constexpr int kMiddle = 128;
// The largest |c - kMiddle|.
constexpr int kSteps = 127;
// One element in so many may lie beyond the last step: the largest of a sample would make the
// steps of all others coarse.
constexpr double kClipped = 1e-4;
// How much of |x - mean|^2 that lies outside the components counts in a distance. All of it were
// right if what two vectors leave out had nothing to do with each other, none if it were the same.
constexpr float kLeftOutWeight = 0.5f;
// Codes that are compared at a time.
constexpr size_t kPiece = 64;

float Bias(const std::byte* code) {
  float bias;
  std::memcpy(&bias, code, sizeof(bias));
  return bias;
}

// So many components fill the lines of a code.
size_t Filled(size_t dims) { return ByteCodeBytes(dims) - kCodeHeader; }

}  // namespace

Sq8Codec::Sq8Codec(Metric metric, Projection projection, float step, const Runtime& runtime)
    : NodeCodec(metric, std::move(projection)),
      kernels_(GetVectorKernels(runtime.isa())),
      step_(step) {
  code_bytes_ = ByteCodeBytes(code_dims());
}

std::unique_ptr<NodeCodec> Sq8Codec::Train(MatrixView sample, CodeKind kind, size_t dims,
                                           Metric metric, const Runtime& runtime) {
  const size_t dim = sample.cols;
  Projection projection(
      metric != Metric::kInnerProduct ? MeanOf(sample) : std::vector<float>(dim, 0.0f), runtime);
  if (kind == CodeKind::kPca8) projection.LearnAxes(sample, dims, Filled);

  std::vector<float> scratch(dim), y(projection.dims()), sizes;
  const size_t stride = std::max<size_t>(1, sample.rows / 2'000);
  for (size_t i = 0; i < sample.rows; i += stride) {
    projection.Project(sample.row(i).data(), scratch.data(), y.data());
    for (const float x : y) sizes.push_back(std::fabs(x));
  }
  const auto at = sizes.begin() +
                  static_cast<ptrdiff_t>(static_cast<double>(sizes.size() - 1) * (1 - kClipped));
  std::nth_element(sizes.begin(), at, sizes.end());
  const float step = *at > 0 ? *at / kSteps : 1.0f;
  return std::make_unique<Sq8Codec>(metric, std::move(projection), step, runtime);
}

double Sq8Codec::Encode(const float* vector, std::byte* code) const {
  thread_local std::vector<float> scratch, y;
  scratch.resize(dim());
  y.resize(code_dims());
  const float squared = projection_.Project(vector, scratch.data(), y.data());
  std::memset(code, kMiddle, code_bytes_);  // what is behind the values counts as zero
  const float inverse = 1.0f / step_;
  float kept = 0, coded = 0, rounded_off = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const float steps = std::clamp(std::nearbyint(y[i] * inverse), -128.0f, 127.0f);
    const float value = steps * step_;
    code[kCodeHeader + i] = static_cast<std::byte>(static_cast<int>(steps) + kMiddle);
    kept += y[i] * y[i];
    coded += value * value;
    rounded_off += (y[i] - value) * (y[i] - value);
  }
  const float left_out = std::max(0.0f, squared - kept);
  const float bias = l2_ ? coded + kLeftOutWeight * left_out : 0.0f;
  std::memcpy(code, &bias, sizeof(bias));
  return squared > 0 ? static_cast<double>(rounded_off + left_out) / squared : 0.0;
}

void Sq8Codec::PrepareQuery(const float* query, CodeQuery& out) const {
  out.node = nullptr;
  out.projected.resize(code_dims());
  const float squared = projection_.ProjectQuery(query, out.projection, out.projected.data());
  int32_t sum;
  const float step = RoundTo8Bits(out.projected.data(), code_dims(), code_bytes_, out.values, sum);
  std::memset(out.values.data(), 0, kCodeHeader);
  out.factor = (l2_ ? 2.0f : 1.0f) * step * step_;
  out.base = (l2_ ? squared : 0.0f) + out.factor * static_cast<float>(kMiddle * sum);
}

void Sq8Codec::Distances(const CodeQuery& query, const std::byte* const* codes, size_t count,
                         float* out) const {
  if (query.node != nullptr) {
    PairDistances(query.node, codes, count, out);
    return;
  }
  int32_t dots[kPiece];
  const auto* const values = reinterpret_cast<const int8_t*>(query.values.data());
  for (size_t first = 0; first < count; first += kPiece) {
    const size_t n = std::min(kPiece, count - first);
    kernels_->code_dots(values, codes + first, n, code_bytes_, dots);
    for (size_t i = 0; i < n; ++i) {
      out[first + i] =
          query.base + Bias(codes[first + i]) - query.factor * static_cast<float>(dots[i]);
    }
  }
}

void Sq8Codec::PairDistances(const std::byte* from, const std::byte* const* codes, size_t count,
                             float* out) const {
  int32_t dots[kPiece];
  const float base = Bias(from), factor = (l2_ ? 2.0f : 1.0f) * step_ * step_;
  for (size_t first = 0; first < count; first += kPiece) {
    const size_t n = std::min(kPiece, count - first);
    kernels_->code_pairs(from, codes + first, n, code_bytes_, dots);
    for (size_t i = 0; i < n; ++i) {
      out[first + i] = base + Bias(codes[first + i]) - factor * static_cast<float>(dots[i]);
    }
  }
}

}  // namespace rag
