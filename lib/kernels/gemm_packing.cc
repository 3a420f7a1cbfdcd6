// What the products' second operands are packed in: panels of columns, each column's elements in
// groups of 32 bits (one of f32, two of bf16, four of int8), all columns' first groups in front.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "lib/kernels/kernels.h"
#include "lib/kernels/tables.h"

namespace rag {
namespace {

constexpr size_t kGroupBytes = sizeof(uint32_t);
constexpr size_t kLine = 64;  // bytes
// Fewer cost more than adding the products of two groups saves; all-MiniLM-L6-v2's layers allow 75
// to 110.
constexpr int32_t kFewInt8Steps = 72;

// write_row(j, row) writes `groups` groups of row j of b, which become column j. The last panel is
// filled up with zeros.
template <class WriteRow>
void PackPanels(size_t panel, size_t n, size_t groups, const WriteRow& write_row, void* packed) {
  // Strides that are no power of two, so that a panel's rows do not share their places in a cache.
  const size_t stride = groups * kGroupBytes + kLine;
  std::vector<std::byte> rows(panel * stride);
  std::byte* out = static_cast<std::byte*>(packed);
  for (size_t first = 0; first < n; first += panel) {
    const size_t width = std::min(panel, n - first);
    for (size_t j = 0; j < width; ++j) write_row(first + j, rows.data() + j * stride);
    if (width < panel)
      std::fill(rows.begin() + static_cast<std::ptrdiff_t>(width * stride), rows.end(),
                std::byte{0});
    for (size_t i = 0; i < groups; ++i) {
      const std::byte* group = rows.data() + i * kGroupBytes;
      for (size_t j = 0; j < panel; ++j) {
        std::memcpy(out, group, kGroupBytes);
        out += kGroupBytes;
        group += stride;
      }
    }
  }
}

}  // namespace

size_t PackedGemmBSize(const Kernels& kernels, size_t n, size_t k) {
  const size_t panel = kernels.gemm_panel;
  return (n + panel - 1) / panel * panel * k;
}

size_t Bf16RowSize(const Kernels& kernels, size_t k) {
  const size_t step = kernels.narrow_row_bytes / sizeof(uint16_t);
  return (k + step - 1) / step * step;
}

size_t Int8RowSize(const Kernels& kernels, size_t k) {
  const size_t step = kernels.narrow_row_bytes;
  return (k + step - 1) / step * step;
}

size_t PackedGemmBf16Size(const Kernels& kernels, size_t n, size_t k) {
  return PackedGemmBSize(kernels, n, Bf16RowSize(kernels, k));
}

size_t PackedGemmInt8Size(const Kernels& kernels, size_t n, size_t k) {
  return kInt8Front + PackedGemmBSize(kernels, n, Int8RowSize(kernels, k == 0 ? 1 : k));
}

void PackGemmB(const Kernels& kernels, RowSource b, size_t n, size_t k, float* packed) {
  const auto write = [&](size_t j, std::byte* row) {
    if (k > 0) std::memcpy(row, b(j), k * sizeof(float));
  };
  PackPanels(kernels.gemm_panel, n, k, write, packed);
}

void PackGemmBf16(const Kernels& kernels, RowSource b, size_t n, size_t k, uint16_t* packed) {
  const size_t padded = Bf16RowSize(kernels, k);
  const auto write = [&](size_t j, std::byte* row) {
    kernels.round_bf16(b(j), k, reinterpret_cast<uint16_t*>(row));
  };
  PackPanels(kernels.gemm_panel, n, padded * sizeof(uint16_t) / kGroupBytes, write, packed);
}

// Of every 64 bytes of a column's first halves in all columns of a panel, then of its second ones:
// steps of a product, each with all that it multiplies.
void PackGemmSplit(const Kernels& kernels, RowSource b, size_t n, size_t k, uint16_t* packed) {
  const size_t padded = Bf16RowSize(kernels, k);
  const size_t step = kernels.narrow_row_bytes / sizeof(uint16_t);
  std::vector<uint16_t> halves(2 * padded);
  const auto write = [&](size_t j, std::byte* row) {
    kernels.split_bf16(b(j), k, halves.data());
    for (size_t i = 0; i < padded; i += step) {
      std::memcpy(row, &halves[i], kernels.narrow_row_bytes);
      std::memcpy(row + kernels.narrow_row_bytes, &halves[padded + i], kernels.narrow_row_bytes);
      row += 2 * kernels.narrow_row_bytes;
    }
  };
  PackPanels(kernels.gemm_panel, n, 2 * padded * sizeof(uint16_t) / kGroupBytes, write, packed);
}

Int8Inputs PackGemmInt8(const Kernels& kernels, Int8RowSource b, size_t n, size_t k, int8_t* packed,
                        int32_t* sums) {
  // A group at least, where rows of no elements have their outliers, which are 0.
  const size_t padded = Int8RowSize(kernels, k == 0 ? 1 : k);
  Kernels::Int8Limits all = {kInt8Steps, kInt8Steps};
  const auto write = [&](size_t j, std::byte* row) {
    const int8_t* const values = b(j);
    int32_t sum = 0;
    for (size_t i = 0; i < k; ++i) sum += values[i];
    sums[j] = sum;
    const Kernels::Int8Limits limits = kernels.int8_limits(values, k);
    all = {std::min(all.steps, limits.steps), std::min(all.two_groups, limits.two_groups)};
    std::copy_n(reinterpret_cast<const std::byte*>(values), k, row);
    std::fill_n(row + k, padded - k, std::byte{0});
  };
  std::fill_n(packed, kInt8Front, int8_t{0});
  PackPanels(kernels.gemm_panel, n, padded / kGroupBytes, write, packed + kInt8Front);
  const bool two_groups = all.two_groups >= kFewInt8Steps;
  return {two_groups ? all.two_groups : all.steps, two_groups};
}

// Evenly around zero: a zero of their own would cost another sum.
float QuantizeWeights(const float* x, size_t n, int8_t* values) {
  // Several, which the compiler keeps in one register.
  constexpr size_t kLanes = 16;
  float lanes[kLanes] = {};
  size_t i = 0;
  const auto widen = [&](size_t lane, float value) {
    const float magnitude = std::abs(value);
    lanes[lane] = lanes[lane] < magnitude ? magnitude : lanes[lane];
  };
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) widen(lane, x[i + lane]);
  }
  for (; i < n; ++i) widen(0, x[i]);
  float largest = *std::max_element(lanes, lanes + kLanes);
  if (!(largest > kLeastInt8Range)) largest = 0;
  const float factor = largest > 0 ? 127.0f / largest : 0.0f;
  // Adding it leaves no place for fractions: rounded to the nearest even whole number.
  constexpr float kRounder = 0x1.8p23f;
  for (i = 0; i < n; ++i) {
    const float scaled = x[i] * factor;
    const float value = (scaled + kRounder) - kRounder;
    const float bounded = std::min(std::max(value, -127.0f), 127.0f);
    values[i] = static_cast<int8_t>(value == value ? bounded : 0.0f);
  }
  return largest / 127.0f;
}

}  // namespace rag
