// The reference products: one block at a time, integer sums of 16 elements joined in double.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "lib/kernels/quantized_blocks.h"
#include "lib/kernels/quantized_tables.h"

namespace rag {
namespace {

template <DType kType>
void BlockDot(const std::byte* row, size_t cols, const Activations8& x, size_t tokens, float* out,
              size_t out_stride) {
  const DTypeInfo& info = GetDTypeInfo(kType);
  for (size_t t = 0; t < tokens; ++t) {
    const int8_t* values = x.values + t * x.stride;
    const float* scales = x.scales + t * x.stride / 32;
    const float* sums16 = x.sums16 + t * x.stride / kScaleGroup;
    const std::byte* block = row;
    double sum = 0;
    for (size_t begin = 0; begin < cols; begin += info.block_size) {
      DecodedBlock decoded;
      DecodeBlock(kType, block, decoded);
      block += info.block_bytes;
      for (size_t group = 0; group < info.block_size / kScaleGroup; ++group) {
        const size_t at = begin + group * kScaleGroup;
        int products = 0;
        for (size_t i = 0; i < kScaleGroup; ++i) {
          products += decoded.q[group * kScaleGroup + i] * values[at + i];
        }
        sum += static_cast<double>(decoded.scale[group]) * scales[at / 32] * products;
        sum -= static_cast<double>(decoded.offset[group]) * sums16[at / kScaleGroup];
      }
    }
    out[t * out_stride] = static_cast<float>(sum);
  }
}

float ToFloat(float value) { return value; }
struct Half {
  uint16_t bits;
};
float ToFloat(Half value) { return HalfToFloat(value.bits); }
struct BFloat16 {
  uint16_t bits;
};
float ToFloat(BFloat16 value) { return BFloat16ToFloat(value.bits); }

template <class T>
void FloatDot(const std::byte* row, size_t cols, const float* x, size_t x_stride, size_t tokens,
              float* out, size_t out_stride) {
  for (size_t t = 0; t < tokens; ++t) {
    double sum = 0;
    for (size_t i = 0; i < cols; ++i) {
      T weight;
      std::memcpy(&weight, row + i * sizeof(T), sizeof(T));
      sum += static_cast<double>(ToFloat(weight)) * x[t * x_stride + i];
    }
    out[t * out_stride] = static_cast<float>(sum);
  }
}

// Adding and removing 1.5 * 2^23 rounds |value| < 2^22 to the nearest integer, ties to even, in
// instructions that every processor has.
constexpr float kRounder = 12582912.0f;

template <DType... kTypes>
constexpr void SetBlockDots(QuantizedKernels& table) {
  ((table.block_dot[static_cast<size_t>(kTypes)] = BlockDot<kTypes>), ...);
}

constexpr QuantizedKernels MakeTable() {
  QuantizedKernels table = {
      .isa = Isa::kScalar, .block_dot = {}, .float_dot = {}, .quantize_row = ScalarQuantizeRow};
  SetBlockDots<DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kQ2_K,
               DType::kQ3_K, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL,
               DType::kIQ4_XS, DType::kMXFP4>(table);
  table.float_dot[static_cast<size_t>(DType::kF32)] = FloatDot<float>;
  table.float_dot[static_cast<size_t>(DType::kF16)] = FloatDot<Half>;
  table.float_dot[static_cast<size_t>(DType::kBF16)] = FloatDot<BFloat16>;
  return table;
}

}  // namespace

void StoreGroupSums(size_t group, float scale, const int (&sums)[2], const ActivationRow& out) {
  out.scales[group] = scale;
  out.sums16[2 * group] = scale * static_cast<float>(sums[0]);
  out.sums16[2 * group + 1] = scale * static_cast<float>(sums[1]);
  out.sums32[group] = scale * static_cast<float>(sums[0] + sums[1]);
  out.minus16[2 * group] = -sums[0];
  out.minus16[2 * group + 1] = -sums[1];
  out.minus32[group] = -sums[0] - sums[1];
  out.whole32[group] = static_cast<int16_t>(sums[0] + sums[1]);
}

void ScalarQuantizeRow(const float* x, size_t cols, size_t padded, ScaleOf scale_of,
                       const ActivationRow& out) {
  const size_t shared = scale_of == ScaleOf::k32 ? kActivationGroup : kMaxBlockElements;
  for (size_t first = 0; first < padded; first += shared) {
    const size_t end = std::clamp(cols, first, first + shared);
    float largest = 0;
    float poison = 0;  // NaN as soon as one element is infinite or NaN
    for (size_t i = first; i < end; ++i) {
      largest = std::max(largest, std::fabs(x[i]));
      poison += x[i] * 0.0f;
    }
    // Below the smallest normal number 127 / largest could overflow.
    const bool usable = largest >= std::numeric_limits<float>::min() && !std::isnan(poison);
    const float inverse = usable ? 127.0f / largest : 0.0f;
    const float scale = usable ? largest / 127.0f : poison;
    for (size_t begin = first; begin < first + shared; begin += kActivationGroup) {
      int sums[2] = {0, 0};
      for (size_t i = begin; i < begin + kActivationGroup; ++i) {
        const float scaled = usable && i < end ? x[i] * inverse : 0.0f;
        const int value = std::bit_cast<int>(scaled + kRounder) - std::bit_cast<int>(kRounder);
        out.values[i] = static_cast<int8_t>(value);
        sums[(i - begin) / kScaleGroup] += value;
      }
      StoreGroupSums(begin / kActivationGroup, scale, sums, out);
    }
  }
}

const QuantizedKernels& ScalarQuantizedKernels() {
  static constexpr QuantizedKernels kTable = MakeTable();
  return kTable;
}

}  // namespace rag
