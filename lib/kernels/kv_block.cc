#include "lib/kernels/kv_block.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "lib/kernels/kernels.h"
#include "lib/kernels/kv_block_tables.h"

namespace rag {
namespace {

constexpr float kLargestHalf = 65504.0f;

size_t Groups(size_t head_dim) { return (head_dim + kKvScaleElements - 1) / kKvScaleElements; }

void Put(uint16_t value, std::byte* to) { std::memcpy(to, &value, sizeof(value)); }

uint16_t ClampedHalf(float value) {
  // Compared so that NaN stays NaN.
  if (value > kLargestHalf) value = kLargestHalf;
  if (value < -kLargestHalf) value = -kLargestHalf;
  return FloatToHalf(value);
}

// Element i of a token lies at `at(i)`, its group's scale at `scale_at(group)`.
template <class At, class ScaleAt>
void StoreQ8(const float* x, size_t n, std::byte* block, At at, ScaleAt scale_at) {
  for (size_t group = 0; group < Groups(n); ++group) {
    const size_t begin = group * kKvScaleElements;
    const size_t end = std::min(n, begin + kKvScaleElements);
    float largest = 0;
    float poison = 0;  // NaN as soon as one element is infinite or NaN
    for (size_t i = begin; i < end; ++i) {
      largest = std::max(largest, std::fabs(x[i]));
      poison += x[i] * 0.0f;
    }
    const uint16_t half = std::isnan(poison) ? FloatToHalf(poison) : ClampedHalf(largest / 127.0f);
    const float scale = HalfToFloat(half);
    const float inverse = scale > 0 ? 1.0f / scale : 0.0f;  // 0 for NaN too
    Put(half, block + scale_at(group));
    for (size_t i = begin; i < end; ++i) {
      const float value = inverse > 0 ? std::nearbyint(x[i] * inverse) : 0.0f;
      block[at(i)] =
          static_cast<std::byte>(static_cast<int8_t>(std::clamp(value, -127.0f, 127.0f)));
    }
  }
}

}  // namespace

bool IsKvType(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kQ8_0;
}

size_t KvBlockBytes(DType type, size_t head_dim) {
  const size_t elements = head_dim * kKvBlockTokens;
  if (type == DType::kF32) return elements * sizeof(float);
  if (type == DType::kF16) return elements * sizeof(uint16_t);
  return (elements + Groups(head_dim) * kKvBlockTokens * sizeof(uint16_t) + 63) / 64 * 64;
}

void StoreKey(DType type, const float* key, size_t head_dim, size_t slot, std::byte* block) {
  const auto at = [&](size_t i) { return i * kKvBlockTokens + slot; };
  if (type == DType::kF32) {
    for (size_t i = 0; i < head_dim; ++i) std::memcpy(block + at(i) * 4, key + i, 4);
  } else if (type == DType::kF16) {
    for (size_t i = 0; i < head_dim; ++i) Put(ClampedHalf(key[i]), block + at(i) * 2);
  } else {
    StoreQ8(key, head_dim, block, at,
            [&](size_t group) { return head_dim * kKvBlockTokens + at(group) * sizeof(uint16_t); });
  }
}

void StoreValue(DType type, const float* value, size_t head_dim, size_t slot, std::byte* block) {
  const size_t begin = slot * head_dim;
  if (type == DType::kF32) {
    std::memcpy(block + begin * sizeof(float), value, head_dim * sizeof(float));
  } else if (type == DType::kF16) {
    for (size_t i = 0; i < head_dim; ++i) Put(ClampedHalf(value[i]), block + (begin + i) * 2);
  } else {
    StoreQ8(
        value, head_dim, block, [&](size_t i) { return begin + i; },
        [&](size_t group) {
          return head_dim * kKvBlockTokens + (slot * Groups(head_dim) + group) * sizeof(uint16_t);
        });
  }
}

const KvBlockKernels* GetKvBlockKernels(Isa isa) {
  if (GetKernels(isa) == nullptr) return nullptr;  // it knows what the processor can run
  switch (isa) {
    case Isa::kScalar:
      return &ScalarKvBlockKernels();
    case Isa::kAvx2:
      return &Avx2KvBlockKernels();
    case Isa::kAvx512:
    case Isa::kAmx:
      return &Avx512KvBlockKernels();
  }
  return nullptr;
}

}  // namespace rag
