#include "lib/kernels/kv_block.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "lib/kernels/kernels.h"
#include "lib/kernels/kv_block_tables.h"

namespace rag {
namespace {

void Put(uint16_t value, std::byte* to) { std::memcpy(to, &value, sizeof(value)); }

uint16_t ClampedHalf(float value) {
  // Compared so that NaN stays NaN.
  if (value > kLargestHalf) value = kLargestHalf;
  if (value < -kLargestHalf) value = -kLargestHalf;
  return FloatToHalf(value);
}

// The element of largest magnitude with its sign, the first of equals; NaN when one is infinite or
// NaN.
float SignedLargest(const float* x, size_t n) {
  float largest = 0;
  float poison = 0;
  for (size_t i = 0; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
    poison += x[i] * 0.0f;
  }
  return std::isnan(poison) ? poison : largest;
}

// Element i of a token lies at `at(i)`, its group's scale at `scale_at(group)`.
template <class At, class ScaleAt>
void StoreQ8(const float* x, size_t n, std::byte* block, At at, ScaleAt scale_at) {
  for (size_t group = 0; group < KvGroups(n); ++group) {
    const size_t begin = group * kKvScaleElements;
    const size_t end = begin + KvGroupElements(n, group);
    const float largest = std::fabs(SignedLargest(x + begin, end - begin));
    const uint16_t half = ClampedHalf(largest / 127.0f);
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

// Byte i of a token's codes lies at `at(i)`, a group's scale at `scale_at(group)`.
template <class At, class ScaleAt>
void StoreQ4(const float* x, size_t n, std::byte* block, At at, ScaleAt scale_at) {
  for (size_t group = 0; group < KvGroups(n); ++group) {
    const float* from = x + group * kKvScaleElements;
    const size_t count = KvGroupElements(n, group);
    const float scale = std::clamp(SignedLargest(from, count) / -8.0f, -kLargestHalf, kLargestHalf);
    Put(ClampedHalf(scale), block + scale_at(group));
    float inverse = 1.0f / scale;
    if (!std::isfinite(inverse)) inverse = 0;  // all are 0, or as good as
    const auto code = [&](size_t i) {
      if (i >= count || inverse == 0) return 8u;
      // In this order also of what is no number.
      const float code = std::min(15.0f, std::trunc(from[i] * inverse + 8.5f));
      return static_cast<unsigned>(std::max(0.0f, code));
    };
    const size_t pairs = KvPairBytes(count);
    for (size_t i = 0; i < pairs; ++i) {
      block[at(group * kKvPairBytes + i)] = static_cast<std::byte>(code(i) | code(pairs + i) << 4);
    }
  }
}

}  // namespace

bool IsKvType(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kQ8_0 || type == DType::kQ4_0;
}

size_t KvBlockBytes(DType type, size_t head_dim) {
  const size_t elements = head_dim * kKvBlockTokens;
  if (type == DType::kF32) return elements * sizeof(float);
  if (type == DType::kF16) return elements * sizeof(uint16_t);
  const size_t scales = KvGroups(head_dim) * kKvBlockTokens * sizeof(uint16_t);
  return (KvCodeBytes(type, head_dim) * kKvBlockTokens + scales + 63) / 64 * 64;
}

void StoreKey(DType type, const float* key, size_t head_dim, size_t slot, std::byte* block) {
  const auto at = [&](size_t i) { return i * kKvBlockTokens + slot; };
  if (type == DType::kF32) {
    for (size_t i = 0; i < head_dim; ++i) std::memcpy(block + at(i) * 4, key + i, 4);
  } else if (type == DType::kF16) {
    for (size_t i = 0; i < head_dim; ++i) Put(ClampedHalf(key[i]), block + at(i) * 2);
  } else {
    const auto scale_at = [&](size_t group) {
      return KvCodeBytes(type, head_dim) * kKvBlockTokens + at(group) * sizeof(uint16_t);
    };
    if (type == DType::kQ8_0) {
      StoreQ8(key, head_dim, block, at, scale_at);
    } else {
      StoreQ4(key, head_dim, block, at, scale_at);
    }
  }
}

void StoreValue(DType type, const float* value, size_t head_dim, size_t slot, std::byte* block) {
  const size_t begin = slot * head_dim;
  if (type == DType::kF32) {
    std::memcpy(block + begin * sizeof(float), value, head_dim * sizeof(float));
  } else if (type == DType::kF16) {
    for (size_t i = 0; i < head_dim; ++i) Put(ClampedHalf(value[i]), block + (begin + i) * 2);
  } else {
    const size_t bytes = KvCodeBytes(type, head_dim);
    const auto at = [&](size_t i) { return slot * bytes + i; };
    const auto scale_at = [&](size_t group) {
      return bytes * kKvBlockTokens + (slot * KvGroups(head_dim) + group) * sizeof(uint16_t);
    };
    if (type == DType::kQ8_0) {
      StoreQ8(value, head_dim, block, at, scale_at);
    } else {
      StoreQ4(value, head_dim, block, at, scale_at);
    }
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
