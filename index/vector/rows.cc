#include "index/vector/rows.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "lib/tensor/tensor.h"

namespace rag {
namespace {

constexpr size_t kLine = 64;

size_t RoundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

size_t ElementBytes(ElementType type) {
  switch (type) {
    case ElementType::kF32:
      return 4;
    case ElementType::kF16:
    case ElementType::kBF16:
      return 2;
    default:
      return 1;
  }
}

bool IsWhole(ElementType type) { return type == ElementType::kI8 || type == ElementType::kU8; }

// The squared length in double, so that neither overflow nor underflow hides anything.
double SquaredNorm(std::span<const float> vector) {
  double sum = 0;
  for (const float x : vector) sum += static_cast<double>(x) * x;
  return sum;
}

// With a finite squared norm no inner product of two vectors, nor any partial sum of one, is
// infinite (Cauchy-Schwarz), and so no distance is NaN.
Status CheckFinite(std::span<const float> vector, Metric metric, std::string_view what,
                   size_t row) {
  double sum = 0;
  for (size_t i = 0; i < vector.size(); ++i) {
    if (!std::isfinite(vector[i])) {
      return InvalidArgumentError(what, " ", row, ": element ", i, " is ", vector[i]);
    }
    sum += static_cast<double>(vector[i]) * vector[i];
  }
  if (metric == Metric::kCosine) {
    if (sum == 0) {
      return InvalidArgumentError(what, " ", row, " is zero, which has no cosine with anything");
    }
  } else if (sum > FLT_MAX / 4) {
    return InvalidArgumentError(what, " ", row, ": its squared length ", sum,
                                " is over the limit of ", FLT_MAX / 4);
  }
  return OkStatus();
}

Status CheckBits(std::span<const float> vector, std::string_view what, size_t row) {
  for (size_t i = 0; i < vector.size(); ++i) {
    if (vector[i] != 0 && vector[i] != 1) {
      return InvalidArgumentError(what, " ", row, ": element ", i, " is ", vector[i],
                                  ", a binary vector has 0 and 1 only");
    }
  }
  return OkStatus();
}

void Normalize(std::span<const float> from, float* to) {
  const double scale = 1.0 / std::sqrt(SquaredNorm(from));
  for (size_t i = 0; i < from.size(); ++i) to[i] = static_cast<float>(from[i] * scale);
}

// Bit i is bit i % 8 of byte i / 8.
void Pack(std::span<const float> vector, std::byte* out) {
  for (size_t i = 0; i < vector.size(); ++i) {
    if (vector[i] != 0) out[i / 8] |= std::byte{1} << (i % 8);
  }
}

template <class T>
void StoreAs(std::byte* row, size_t i, T value) {
  std::memcpy(row + i * sizeof(T), &value, sizeof(T));
}

template <class T>
T LoadAs(const std::byte* row, size_t i) {
  T value;
  std::memcpy(&value, row + i * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

Rows::Rows(size_t dim, Metric metric, ElementType element, const Runtime& runtime)
    : dim_(dim),
      metric_(metric),
      element_(element),
      float_kernels_(runtime.kernels()),
      kernels_(*GetVectorKernels(runtime.isa())) {
  if (binary()) {
    element_bytes_ = RoundUp(RoundUp(dim, 8) / 8, 8);
    form_ = metric == Metric::kHamming ? Form::kHamming : Form::kJaccard;
    bytes_ = RoundUp(element_bytes_, kLine);
    return;
  }
  element_bytes_ = dim * ElementBytes(element);
  const auto type = static_cast<size_t>(element);
  static_assert(static_cast<size_t>(ElementType::kU8) == static_cast<size_t>(RowType::kU8));
  const bool scaled = metric == Metric::kCosine && IsWhole(element);
  bytes_ = RoundUp(element_bytes_ + (scaled ? sizeof(float) : 0), kLine);
  switch (metric) {
    case Metric::kL2:
      kernel_ = kernels_.l2_squared[type];
      form_ = Form::kSum;
      break;
    case Metric::kManhattan:
      kernel_ = kernels_.l1[type];
      form_ = Form::kSum;
      break;
    default:
      kernel_ = kernels_.dot[type];
      form_ = scaled ? Form::kScaled : Form::kNegative;
  }
}

size_t Rows::query_floats() const { return binary() ? element_bytes_ / sizeof(float) : dim_; }

Status Rows::Check(std::span<const float> vector, std::string_view what, size_t row) const {
  if (binary()) return CheckBits(vector, what, row);
  RAG_RETURN_IF_ERROR(CheckFinite(vector, metric_, what, row));
  float low, high;
  switch (element_) {
    case ElementType::kF16:
      // Normalized vectors always fit.
      if (metric_ == Metric::kCosine) return OkStatus();
      low = -65'504;
      high = 65'504;
      break;
    case ElementType::kI8:
      low = -128;
      high = 127;
      break;
    case ElementType::kU8:
      low = 0;
      high = 255;
      break;
    default:
      return OkStatus();
  }
  const bool whole = IsWhole(element_);
  for (size_t i = 0; i < vector.size(); ++i) {
    const float x = vector[i];
    if (x < low || x > high || (whole && x != std::floor(x))) {
      return InvalidArgumentError(what, " ", row, ": element ", i, " is ", x, ", which ",
                                  ElementTypeName(element_), " cannot hold");
    }
  }
  return OkStatus();
}

Status Rows::CheckQuery(std::span<const float> query, size_t row) const {
  if (binary()) return CheckBits(query, "query", row);
  // The sum is infinite or NaN when an element is, and far from its bounds it is as good as the
  // exact one.
  const float sum = float_kernels_.dot(query.data(), query.data(), query.size());
  if (sum > FLT_MIN && sum < FLT_MAX / 8) return OkStatus();
  return CheckFinite(query, metric_, "query", row);
}

void Rows::Encode(std::span<const float> vector, std::byte* row) const {
  std::memset(row, 0, bytes_);
  const bool cosine = metric_ == Metric::kCosine;
  const double scale = cosine && !IsWhole(element_) ? 1.0 / std::sqrt(SquaredNorm(vector)) : 1.0;
  switch (element_) {
    case ElementType::kF32:
      if (cosine) {
        Normalize(vector, reinterpret_cast<float*>(row));
      } else {
        std::memcpy(row, vector.data(), vector.size_bytes());
      }
      break;
    case ElementType::kF16:
      for (size_t i = 0; i < dim_; ++i) {
        StoreAs(row, i, FloatToHalf(static_cast<float>(vector[i] * scale)));
      }
      break;
    case ElementType::kBF16:
      for (size_t i = 0; i < dim_; ++i) {
        StoreAs(row, i, FloatToBFloat16(static_cast<float>(vector[i] * scale)));
      }
      break;
    case ElementType::kI8:
      for (size_t i = 0; i < dim_; ++i) StoreAs(row, i, static_cast<int8_t>(vector[i]));
      break;
    case ElementType::kU8:
      for (size_t i = 0; i < dim_; ++i) StoreAs(row, i, static_cast<uint8_t>(vector[i]));
      break;
    case ElementType::kBinary:
      Pack(vector, row);
      break;
  }
  if (form_ == Form::kScaled) {
    const auto inverse = static_cast<float>(1.0 / std::sqrt(SquaredNorm(vector)));
    std::memcpy(row + element_bytes_, &inverse, sizeof(inverse));
  }
}

void Rows::Decode(const std::byte* row, float* out) const {
  float scale = 1;
  if (form_ == Form::kScaled) std::memcpy(&scale, row + element_bytes_, sizeof(scale));
  switch (element_) {
    case ElementType::kF32:
      std::memcpy(out, row, dim_ * sizeof(float));
      break;
    case ElementType::kF16:
      for (size_t i = 0; i < dim_; ++i) out[i] = HalfToFloat(LoadAs<uint16_t>(row, i));
      break;
    case ElementType::kBF16:
      for (size_t i = 0; i < dim_; ++i) out[i] = BFloat16ToFloat(LoadAs<uint16_t>(row, i));
      break;
    case ElementType::kI8:
      for (size_t i = 0; i < dim_; ++i) out[i] = scale * LoadAs<int8_t>(row, i);
      break;
    case ElementType::kU8:
      for (size_t i = 0; i < dim_; ++i) out[i] = scale * LoadAs<uint8_t>(row, i);
      break;
    case ElementType::kBinary:
      for (size_t i = 0; i < dim_; ++i) {
        out[i] = (row[i / 8] >> (i % 8) & std::byte{1}) != std::byte{0} ? 1.0f : 0.0f;
      }
      break;
  }
}

void Rows::PrepareQuery(std::span<const float> query, float* out) const {
  if (binary()) {
    std::memset(out, 0, element_bytes_);
    Pack(query, reinterpret_cast<std::byte*>(out));
  } else if (metric_ == Metric::kCosine) {
    Normalize(query, out);
  } else {
    std::memcpy(out, query.data(), query.size_bytes());
  }
}

void Rows::AsQuery(const std::byte* row, float* out) const {
  if (binary()) {
    std::memcpy(out, row, element_bytes_);
  } else {
    Decode(row, out);
  }
}

float Rows::OtherDistance(const float* query, const std::byte* row) const {
  const auto* const bits = reinterpret_cast<const std::byte*>(query);
  switch (form_) {
    case Form::kScaled: {
      float scale;
      std::memcpy(&scale, row + element_bytes_, sizeof(scale));
      return -scale * kernel_(query, row, dim_);
    }
    case Form::kHamming:
      return static_cast<float>(kernels_.hamming(bits, row, element_bytes_));
    default: {
      const uint64_t differ = kernels_.hamming(bits, row, element_bytes_);
      const uint64_t both = kernels_.common(bits, row, element_bytes_);
      if (differ + both == 0) return -1;
      return -static_cast<float>(both) / static_cast<float>(differ + both);
    }
  }
}

}  // namespace rag
