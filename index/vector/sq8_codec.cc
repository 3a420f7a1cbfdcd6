#include "index/vector/sq8_codec.h"

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
// One element in so many may lie beyond the last step: the largest of a sample would make the
// steps of all others coarse.
constexpr double kClipped = 1e-4;
// The components kept hold this much of the variance.
constexpr double kVarianceKept = 0.95;
// More are not chosen, only taken when asked for.
constexpr size_t kMostChosen = 508;
// How much of |x - mean|^2 that lies outside the components counts in a distance. All of it were
// right if what two vectors leave out had nothing to do with each other, none if it were the same.
constexpr float kLeftOutWeight = 0.5f;

size_t CodeBytes(size_t dims) {
  return (dims + kCodeHeader + kCodeAlign - 1) / kCodeAlign * kCodeAlign;
}

struct FileHeader {
  uint32_t dims = 0;
  uint32_t has_axes = 0;
  float step = 0;
  float reserved = 0;
  double trained_error = 0;
};

}  // namespace

size_t Sq8Codec::MinSample(CodeKind kind, size_t dim) {
  return kind == CodeKind::kPca8 ? std::clamp<size_t>(4 * dim, 1'000, 5'000) : 1'000;
}

size_t Sq8Codec::MaxSample(size_t dim) {
  // The covariance of so many rows takes some tenths of a second at 1,024 dimensions.
  return std::clamp<size_t>(16 * dim, 4'000, 20'000);
}

Sq8Codec::Sq8Codec(size_t dim, Metric metric, const Runtime& runtime)
    : dim_(dim),
      l2_(metric != Metric::kInnerProduct),
      kernels_(&runtime.kernels()),
      vector_kernels_(GetVectorKernels(runtime.isa())),
      mean_(dim, 0.0f) {}

void Sq8Codec::SetDims(size_t dims) {
  dims_ = dims;
  code_bytes_ = CodeBytes(dims);
}

Sq8Codec Sq8Codec::Train(MatrixView sample, CodeKind kind, size_t dims, Metric metric,
                         const Runtime& runtime) {
  const size_t dim = sample.cols;
  Sq8Codec codec(dim, metric, runtime);
  if (codec.l2_) {
    std::vector<double> sums(dim, 0.0);
    for (size_t i = 0; i < sample.rows; ++i) {
      for (size_t j = 0; j < dim; ++j) sums[j] += sample.row(i)[j];
    }
    for (size_t j = 0; j < dim; ++j) {
      codec.mean_[j] = static_cast<float>(sums[j] / static_cast<double>(sample.rows));
    }
  }
  if (kind == CodeKind::kPca8) {
    const size_t most = std::min(dim, kMostChosen);
    PrincipalAxes found = FindPrincipalAxes(sample, codec.mean_, dims != 0 ? dims : most, runtime);
    if (dims == 0) {
      // As many as fill the lines of a code.
      double held = 0;
      size_t enough = 0;
      while (enough < found.variances.size() && held < kVarianceKept * found.total_variance) {
        held += found.variances[enough++];
      }
      dims = std::min(found.axes.rows(), CodeBytes(std::max<size_t>(1, enough)) - kCodeHeader);
    }
    codec.axes_ = Matrix(dims, dim);
    std::memcpy(codec.axes_.data(), found.axes.data(), dims * dim * sizeof(float));
  } else {
    dims = dim;
  }
  codec.SetDims(dims);
  if (codec.axes_.rows() != 0) codec.RoundAxes();

  std::vector<float> scratch(dim), y(dims), sizes;
  const size_t stride = std::max<size_t>(1, sample.rows / 2'000);
  for (size_t i = 0; i < sample.rows; i += stride) {
    codec.Project(sample.row(i).data(), scratch.data(), y.data());
    for (const float x : y) sizes.push_back(std::fabs(x));
  }
  const auto at = sizes.begin() +
                  static_cast<ptrdiff_t>(static_cast<double>(sizes.size() - 1) * (1 - kClipped));
  std::nth_element(sizes.begin(), at, sizes.end());
  codec.step_ = *at > 0 ? *at / kSteps : 1.0f;

  Matrix code(1, codec.code_bytes_ / sizeof(float));
  double sum = 0;
  size_t count = 0;
  for (size_t i = 0; i < sample.rows; i += stride, ++count) {
    sum += codec.Encode(sample.row(i).data(), reinterpret_cast<std::byte*>(code.data()));
  }
  codec.trained_error_ = sum / static_cast<double>(count);
  return codec;
}

size_t Sq8Codec::memory_bytes() const {
  return (mean_.size() + axes_.rows() * axes_.cols() +
          rounded_axes_.rows() * rounded_axes_.cols()) *
         sizeof(float);
}

float Sq8Codec::Project(const float* vector, float* scratch, float* y) const {
  for (size_t i = 0; i < dim_; ++i) scratch[i] = vector[i] - mean_[i];
  if (axes_.rows() == 0) {
    std::memcpy(y, scratch, dim_ * sizeof(float));
  } else {
    kernels_->dot_rows(scratch, axes_.data(), dim_, dims_, dim_, y);
  }
  return kernels_->dot(scratch, scratch, dim_);
}

double Sq8Codec::Encode(const float* vector, std::byte* code) const {
  thread_local std::vector<float> scratch, y;
  scratch.resize(dim_);
  y.resize(dims_);
  const float squared = Project(vector, scratch.data(), y.data());
  std::memset(code, kMiddle, code_bytes_);  // what is behind the values counts as zero
  const float inverse = 1.0f / step_;
  float kept = 0, coded = 0, rounded_off = 0;
  for (size_t i = 0; i < dims_; ++i) {
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

void Sq8Codec::RoundAxes() {
  rounded_bytes_ = CodeBytes(dim_);
  rounded_axes_ = Matrix(dims_, rounded_bytes_ / sizeof(float));
  rounded_steps_.resize(dims_);
  for (size_t i = 0; i < dims_; ++i) {
    const std::span<const float> axis = std::as_const(axes_).row(i);
    float largest = 0;
    for (const float x : axis) largest = std::max(largest, std::fabs(x));
    const float step = largest > 0 ? largest / kSteps : 1.0f;
    rounded_steps_[i] = step;
    auto* const row = reinterpret_cast<std::byte*>(rounded_axes_.row(i).data());
    for (size_t j = 0; j < dim_; ++j) {
      row[kCodeHeader + j] =
          static_cast<std::byte>(static_cast<int>(std::nearbyint(axis[j] / step)) + kMiddle);
    }
  }
}

namespace {

// x [n] in 8 bits behind the header of `out`, which has `bytes`. Returns the step; sum gets the
// sum of the values.
float RoundTo8Bits(const float* x, size_t n, size_t bytes, Matrix& out, int32_t& sum) {
  if (out.cols() * sizeof(float) != bytes) out = Matrix(1, bytes / sizeof(float));
  float largest = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float step = largest > 0 ? largest / kSteps : 1.0f;
  const float inverse = 1.0f / step;
  auto* const values = reinterpret_cast<int8_t*>(out.data()) + kCodeHeader;
  sum = 0;
  for (size_t i = 0; i < n; ++i) {
    // To nearest: the sum's last bits are those of a whole number.
    constexpr float kRound = 12'582'912.0f;  // 1.5 * 2^23
    const float shifted = x[i] * inverse + kRound;
    int32_t bits;
    std::memcpy(&bits, &shifted, sizeof(bits));
    const int32_t value = bits - 0x4B400000;
    values[i] = static_cast<int8_t>(value);
    sum += value;
  }
  return step;
}

}  // namespace

float Sq8Codec::ProjectQuery(const float* query, Query& out) const {
  out.centred_.resize(dim_);
  out.projected_.resize(dims_);
  if (axes_.rows() == 0) return Project(query, out.centred_.data(), out.projected_.data());
  for (size_t i = 0; i < dim_; ++i) out.centred_[i] = query[i] - mean_[i];
  int32_t sum;
  const float step = RoundTo8Bits(out.centred_.data(), dim_, rounded_bytes_, out.rounded_, sum);
  if (out.rows_.size() != dims_ ||
      out.rows_[0] != reinterpret_cast<const std::byte*>(rounded_axes_.data())) {
    out.rows_.resize(dims_);
    out.dots_.resize(dims_);
    for (size_t i = 0; i < dims_; ++i) {
      out.rows_[i] = reinterpret_cast<const std::byte*>(rounded_axes_.row(i).data());
    }
  }
  vector_kernels_->code_dots(reinterpret_cast<const int8_t*>(out.rounded_.data()), out.rows_.data(),
                             dims_, rounded_bytes_, out.dots_.data());
  const auto middle = static_cast<float>(kMiddle * sum);
  for (size_t i = 0; i < dims_; ++i) {
    out.projected_[i] = step * rounded_steps_[i] * (static_cast<float>(out.dots_[i]) - middle);
  }
  return kernels_->dot(out.centred_.data(), out.centred_.data(), dim_);
}

void Sq8Codec::PrepareQuery(const float* query, Query& out) const {
  const float squared = ProjectQuery(query, out);
  int32_t sum;
  const float step = RoundTo8Bits(out.projected_.data(), dims_, code_bytes_, out.values_, sum);
  out.factor_ = (l2_ ? 2.0f : 1.0f) * step * step_;
  out.base_ = (l2_ ? squared : 0.0f) + out.factor_ * static_cast<float>(kMiddle * sum);
}

namespace {

float Bias(const std::byte* code) {
  float bias;
  std::memcpy(&bias, code, sizeof(bias));
  return bias;
}

// Codes that are compared at a time.
constexpr size_t kPiece = 64;

}  // namespace

void Sq8Codec::Distances(const Query& query, const std::byte* const* codes, size_t count,
                         float* out) const {
  int32_t dots[kPiece];
  const auto* const values = reinterpret_cast<const int8_t*>(query.values_.data());
  for (size_t first = 0; first < count; first += kPiece) {
    const size_t n = std::min(kPiece, count - first);
    vector_kernels_->code_dots(values, codes + first, n, code_bytes_, dots);
    for (size_t i = 0; i < n; ++i) {
      out[first + i] =
          query.base_ + Bias(codes[first + i]) - query.factor_ * static_cast<float>(dots[i]);
    }
  }
}

void Sq8Codec::PairDistances(const std::byte* from, const std::byte* const* codes, size_t count,
                             float* out) const {
  int32_t dots[kPiece];
  const float base = Bias(from), factor = (l2_ ? 2.0f : 1.0f) * step_ * step_;
  for (size_t first = 0; first < count; first += kPiece) {
    const size_t n = std::min(kPiece, count - first);
    vector_kernels_->code_pairs(from, codes + first, n, code_bytes_, dots);
    for (size_t i = 0; i < n; ++i) {
      out[first + i] = base + Bias(codes[first + i]) - factor * static_cast<float>(dots[i]);
    }
  }
}

std::string Sq8Codec::Serialize() const {
  FileHeader header;
  header.dims = static_cast<uint32_t>(dims_);
  header.has_axes = axes_.rows() != 0 ? 1 : 0;
  header.step = step_;
  header.trained_error = trained_error_;
  std::string out(reinterpret_cast<const char*>(&header), sizeof(header));
  out.append(reinterpret_cast<const char*>(mean_.data()), mean_.size() * sizeof(float));
  out.append(reinterpret_cast<const char*>(axes_.data()),
             axes_.rows() * axes_.cols() * sizeof(float));
  return out;
}

Result<Sq8Codec> Sq8Codec::Parse(std::span<const std::byte> bytes, size_t dim, Metric metric,
                                 const Runtime& runtime) {
  FileHeader header;
  if (bytes.size() < sizeof(header)) return DataLossError("codes of ", bytes.size(), " bytes");
  std::memcpy(&header, bytes.data(), sizeof(header));
  const bool has_axes = header.has_axes != 0;
  const size_t expected =
      sizeof(header) + (dim + (has_axes ? size_t{header.dims} * dim : 0)) * sizeof(float);
  if (header.dims < 1 || header.dims > dim || (!has_axes && header.dims != dim) ||
      bytes.size() != expected || !std::isfinite(header.step) || header.step <= 0) {
    return DataLossError("codes of ", header.dims, " of ", dim, " dimensions in ", bytes.size(),
                         " bytes");
  }
  Sq8Codec codec(dim, metric, runtime);
  codec.SetDims(header.dims);
  codec.step_ = header.step;
  codec.trained_error_ = header.trained_error;
  bytes = bytes.subspan(sizeof(header));
  std::memcpy(codec.mean_.data(), bytes.data(), dim * sizeof(float));
  if (has_axes) {
    codec.axes_ = Matrix(header.dims, dim);
    std::memcpy(codec.axes_.data(), bytes.data() + dim * sizeof(float),
                bytes.size() - dim * sizeof(float));
    codec.RoundAxes();
  }
  return codec;
}

}  // namespace rag
