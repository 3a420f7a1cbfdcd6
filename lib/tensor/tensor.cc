#include "lib/tensor/tensor.h"

#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

namespace rag {
namespace {

constexpr size_t kAlignment = 64;  // a cache line and an AVX-512 register

float* AllocateFloats(size_t count) {
  if (count == 0) return nullptr;
  void* memory = ::operator new(count * sizeof(float), std::align_val_t(kAlignment));
  return static_cast<float*>(memory);
}

void FreeFloats(float* data) { ::operator delete(data, std::align_val_t(kAlignment)); }

}  // namespace

const DTypeInfo& GetDTypeInfo(DType type) {
  // Block sizes of the quantized types: ggml-common.h's structures as the GGUF specification lists
  // them.
  static constexpr DTypeInfo kInfos[] = {
      {"F32", 1, 4},        {"F16", 1, 2},      {"BF16", 1, 2},     {"F64", 1, 8},
      {"I8", 1, 1},         {"I16", 1, 2},      {"I32", 1, 4},      {"I64", 1, 8},
      {"U8", 1, 1},         {"U16", 1, 2},      {"U32", 1, 4},      {"U64", 1, 8},
      {"BOOL", 1, 1},       {"Q4_0", 32, 18},   {"Q4_1", 32, 20},   {"Q5_0", 32, 22},
      {"Q5_1", 32, 24},     {"Q8_0", 32, 34},   {"Q2_K", 256, 84},  {"Q3_K", 256, 110},
      {"Q4_K", 256, 144},   {"Q5_K", 256, 176}, {"Q6_K", 256, 210}, {"IQ4_NL", 32, 18},
      {"IQ4_XS", 256, 136}, {"MXFP4", 32, 17},
  };
  static_assert(std::size(kInfos) == kDTypeCount);
  return kInfos[static_cast<size_t>(type)];
}

Result<size_t> RowBytes(DType type, size_t elements) {
  const DTypeInfo& info = GetDTypeInfo(type);
  if (elements % info.block_size != 0) {
    return InvalidArgumentError("a row of ", elements, " elements is no whole number of ",
                                info.name, " blocks of ", info.block_size);
  }
  const size_t blocks = elements / info.block_size;
  if (blocks > std::numeric_limits<size_t>::max() / info.block_bytes) {
    return OutOfRangeError("a row of ", elements, " elements of ", info.name,
                           " has too many bytes");
  }
  return blocks * info.block_bytes;
}

size_t TensorView::elements() const {
  size_t product = 1;
  for (const size_t extent : shape) product *= extent;
  return product;
}

Matrix::Matrix(size_t rows, size_t cols)
    : data_(AllocateFloats(rows * cols)), rows_(rows), cols_(cols) {
  if (data_ != nullptr) std::memset(data_, 0, rows * cols * sizeof(float));
}

Matrix::~Matrix() { FreeFloats(data_); }

Matrix::Matrix(Matrix&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      rows_(std::exchange(other.rows_, 0)),
      cols_(std::exchange(other.cols_, 0)) {}

Matrix& Matrix::operator=(Matrix&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(rows_, other.rows_);
  std::swap(cols_, other.cols_);
  return *this;
}

Matrix::Matrix(const Matrix& other)
    : data_(AllocateFloats(other.rows_ * other.cols_)), rows_(other.rows_), cols_(other.cols_) {
  if (data_ != nullptr) std::memcpy(data_, other.data_, rows_ * cols_ * sizeof(float));
}

Matrix& Matrix::operator=(const Matrix& other) {
  if (this != &other) *this = Matrix(other);
  return *this;
}

float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) {
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  }
  // Zero or subnormal: mantissa * 2^-24, exact in f32.
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

uint16_t FloatToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);   // NaN, quiet
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds to infinity
  if (magnitude < 0x38800000u) {
    // Subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits of the mantissa.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

float BFloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

uint16_t FloatToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace rag
