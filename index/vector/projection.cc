#include "index/vector/projection.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "index/vector/principal_axes.h"
#include "lib/kernels/kernels.h"

namespace rag {
namespace {

constexpr int kMiddle = 128;
// The largest |c - kMiddle|.
constexpr int kSteps = 127;
// The components kept hold this much of the variance.
constexpr double kVarianceKept = 0.95;

// To nearest: the sum's last bits are those of a whole number.
int32_t Nearest(float x) {
  constexpr float kRound = 12'582'912.0f;  // 1.5 * 2^23
  const float shifted = x + kRound;
  int32_t bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  return bits - 0x4B400000;
}

}  // namespace

size_t ByteCodeBytes(size_t values) {
  return (values + kCodeHeader + kCodeAlign - 1) / kCodeAlign * kCodeAlign;
}

float RoundTo8Bits(const float* x, size_t n, size_t bytes, Matrix& out, int32_t& sum) {
  if (out.cols() * sizeof(float) != bytes) out = Matrix(1, bytes / sizeof(float));
  float largest = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float step = largest > 0 ? largest / kSteps : 1.0f;
  const float inverse = 1.0f / step;
  auto* const values = reinterpret_cast<int8_t*>(out.data()) + kCodeHeader;
  sum = 0;
  for (size_t i = 0; i < n; ++i) {
    const int32_t value = Nearest(x[i] * inverse);
    values[i] = static_cast<int8_t>(value);
    sum += value;
  }
  std::memset(values + n, 0, bytes - kCodeHeader - n);
  return step;
}

std::vector<float> MeanOf(MatrixView sample) {
  std::vector<double> sums(sample.cols, 0.0);
  for (size_t i = 0; i < sample.rows; ++i) {
    for (size_t j = 0; j < sample.cols; ++j) sums[j] += sample.row(i)[j];
  }
  std::vector<float> mean(sample.cols);
  for (size_t j = 0; j < sample.cols; ++j) {
    mean[j] = static_cast<float>(sums[j] / static_cast<double>(sample.rows));
  }
  return mean;
}

Projection::Projection(std::vector<float> mean, const Runtime& runtime)
    : runtime_(&runtime),
      kernels_(&runtime.kernels()),
      vector_kernels_(GetVectorKernels(runtime.isa())),
      mean_(std::move(mean)) {}

void Projection::LearnAxes(MatrixView sample, size_t dims, size_t (*filled)(size_t)) {
  const size_t most = std::min(dim(), kMostChosen);
  const PrincipalAxes found = FindPrincipalAxes(sample, mean_, dims != 0 ? dims : most, *runtime_);
  if (dims == 0) {
    double held = 0;
    size_t enough = 0;
    while (enough < found.variances.size() && held < kVarianceKept * found.total_variance) {
      held += found.variances[enough++];
    }
    dims = std::min(found.axes.rows(), filled(std::max<size_t>(1, enough)));
  }
  Matrix axes(dims, dim());
  std::memcpy(axes.data(), found.axes.data(), dims * dim() * sizeof(float));
  SetAxes(std::move(axes));
}

void Projection::SetAxes(Matrix axes) {
  axes_ = std::move(axes);
  rounded_bytes_ = ByteCodeBytes(dim());
  rounded_axes_ = Matrix(dims(), rounded_bytes_ / sizeof(float));
  rounded_steps_.resize(dims());
  for (size_t i = 0; i < dims(); ++i) {
    const std::span<const float> axis = std::as_const(axes_).row(i);
    float largest = 0;
    for (const float x : axis) largest = std::max(largest, std::fabs(x));
    const float step = largest > 0 ? largest / kSteps : 1.0f;
    rounded_steps_[i] = step;
    auto* const row = reinterpret_cast<std::byte*>(rounded_axes_.row(i).data());
    for (size_t j = 0; j < dim(); ++j) {
      row[kCodeHeader + j] =
          static_cast<std::byte>(static_cast<int>(std::nearbyint(axis[j] / step)) + kMiddle);
    }
  }
}

void Projection::Mix() {
  // Each column of the axes is a vector of their number.
  const FastRotation mix(dims(), *runtime_);
  Matrix mixed(dims(), dim());
  std::vector<float> column(dims());
  for (size_t j = 0; j < dim(); ++j) {
    for (size_t i = 0; i < dims(); ++i) column[i] = axes_.row(i)[j];
    mix.Apply(column.data());
    for (size_t i = 0; i < dims(); ++i) mixed.row(i)[j] = column[i];
  }
  SetAxes(std::move(mixed));
}

void Projection::Rotate() { rotation_ = FastRotation(dim(), *runtime_); }

size_t Projection::memory_bytes() const {
  return (mean_.size() + axes_.rows() * axes_.cols() +
          rounded_axes_.rows() * rounded_axes_.cols()) *
             sizeof(float) +
         rotation_.memory_bytes();
}

float Projection::Project(const float* vector, float* scratch, float* y) const {
  for (size_t i = 0; i < dim(); ++i) scratch[i] = vector[i] - mean_[i];
  if (has_axes()) {
    kernels_->dot_rows(scratch, axes_.data(), dim(), dims(), dim(), y);
  } else {
    std::memcpy(y, scratch, dim() * sizeof(float));
    rotation_.Apply(y);
  }
  return kernels_->dot(scratch, scratch, dim());
}

float Projection::ProjectQuery(const float* query, Scratch& scratch, float* y) const {
  scratch.centred.resize(dim());
  float* const centred = scratch.centred.data();
  if (!has_axes()) return Project(query, centred, y);
  for (size_t i = 0; i < dim(); ++i) centred[i] = query[i] - mean_[i];
  int32_t sum;
  const float step = RoundTo8Bits(centred, dim(), rounded_bytes_, scratch.rounded, sum);
  if (scratch.rows.size() != dims() ||
      scratch.rows[0] != reinterpret_cast<const std::byte*>(rounded_axes_.data())) {
    scratch.rows.resize(dims());
    scratch.dots.resize(dims());
    for (size_t i = 0; i < dims(); ++i) {
      scratch.rows[i] = reinterpret_cast<const std::byte*>(rounded_axes_.row(i).data());
    }
  }
  vector_kernels_->code_dots(reinterpret_cast<const int8_t*>(scratch.rounded.data()),
                             scratch.rows.data(), dims(), rounded_bytes_, scratch.dots.data());
  const auto middle = static_cast<float>(kMiddle * sum);
  for (size_t i = 0; i < dims(); ++i) {
    y[i] = step * rounded_steps_[i] * (static_cast<float>(scratch.dots[i]) - middle);
  }
  return kernels_->dot(centred, centred, dim());
}

}  // namespace rag
