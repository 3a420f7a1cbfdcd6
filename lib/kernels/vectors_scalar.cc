// The reference table.
#include <bit>
#include <cmath>
#include <cstring>

#include "lib/kernels/tables.h"
#include "lib/kernels/vectors_tables.h"
#include "lib/tensor/tensor.h"

namespace rag {
namespace {

template <class T>
T At(const std::byte* row, size_t i) {
  T value;
  std::memcpy(&value, row + i * sizeof(T), sizeof(T));
  return value;
}

struct F32 {
  static float Get(const std::byte* row, size_t i) { return At<float>(row, i); }
};
struct F16 {
  static float Get(const std::byte* row, size_t i) { return HalfToFloat(At<uint16_t>(row, i)); }
};
struct BF16 {
  static float Get(const std::byte* row, size_t i) { return BFloat16ToFloat(At<uint16_t>(row, i)); }
};
struct I8 {
  static float Get(const std::byte* row, size_t i) { return At<int8_t>(row, i); }
};
struct U8 {
  static float Get(const std::byte* row, size_t i) { return At<uint8_t>(row, i); }
};

template <class T>
float Dot(const float* query, const std::byte* row, size_t n) {
  float sum = 0;
  for (size_t i = 0; i < n; ++i) sum += query[i] * T::Get(row, i);
  return sum;
}

template <class T>
float L2(const float* query, const std::byte* row, size_t n) {
  float sum = 0;
  for (size_t i = 0; i < n; ++i) {
    const float difference = query[i] - T::Get(row, i);
    sum += difference * difference;
  }
  return sum;
}

template <class T>
float L1(const float* query, const std::byte* row, size_t n) {
  float sum = 0;
  for (size_t i = 0; i < n; ++i) sum += std::fabs(query[i] - T::Get(row, i));
  return sum;
}

float DotF32(const float* query, const std::byte* row, size_t n) {
  return ScalarKernels().dot(query, reinterpret_cast<const float*>(row), n);
}

float L2F32(const float* query, const std::byte* row, size_t n) {
  return ScalarKernels().l2_squared(query, reinterpret_cast<const float*>(row), n);
}

uint64_t Hamming(const std::byte* a, const std::byte* b, size_t bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes / 8; ++i) {
    sum += static_cast<uint64_t>(std::popcount(At<uint64_t>(a, i) ^ At<uint64_t>(b, i)));
  }
  return sum;
}

uint64_t Common(const std::byte* a, const std::byte* b, size_t bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes / 8; ++i) {
    sum += static_cast<uint64_t>(std::popcount(At<uint64_t>(a, i) & At<uint64_t>(b, i)));
  }
  return sum;
}

void CodeDots(const int8_t* query, const std::byte* const* codes, size_t count, size_t bytes,
              int32_t* out) {
  for (size_t i = 0; i < count; ++i) {
    int32_t sum = 0;
    for (size_t j = 0; j < bytes; ++j) sum += query[j] * std::to_integer<int32_t>(codes[i][j]);
    out[i] = sum;
  }
}

void CodePairs(const std::byte* from, const std::byte* const* codes, size_t count, size_t bytes,
               int32_t* out) {
  for (size_t i = 0; i < count; ++i) {
    int32_t sum = 0;
    for (size_t j = kCodeHeader; j < bytes; ++j) {
      sum +=
          (std::to_integer<int32_t>(from[j]) - 128) * (std::to_integer<int32_t>(codes[i][j]) - 128);
    }
    out[i] = sum;
  }
}

}  // namespace

const VectorKernels& ScalarVectorKernels() {
  static constexpr VectorKernels kTable = {
      .isa = Isa::kScalar,
      .dot = {DotF32, Dot<F16>, Dot<BF16>, Dot<I8>, Dot<U8>},
      .l2_squared = {L2F32, L2<F16>, L2<BF16>, L2<I8>, L2<U8>},
      .l1 = {L1<F32>, L1<F16>, L1<BF16>, L1<I8>, L1<U8>},
      .hamming = Hamming,
      .common = Common,
      .code_dots = CodeDots,
      .code_pairs = CodePairs,
  };
  return kTable;
}

}  // namespace rag
