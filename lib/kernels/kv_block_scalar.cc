// The reference: plain loops, summed in double.
#include <cstring>

#include "lib/kernels/kv_block_tables.h"

namespace rag {
namespace {

float HalfAt(const std::byte* from) {
  uint16_t half;
  std::memcpy(&half, from, sizeof(half));
  return HalfToFloat(half);
}

// Element i of a token whose codes begin at `codes`, `stride` bytes apart, as its group's scale has
// it.
float CodeAt(DType type, const std::byte* codes, size_t stride, size_t head_dim, size_t i) {
  if (type == DType::kQ8_0) return static_cast<float>(static_cast<int8_t>(codes[i * stride]));
  const size_t group = i / kKvScaleElements;
  const size_t pairs = KvPairBytes(KvGroupElements(head_dim, group));
  const size_t at = i % kKvScaleElements;
  const unsigned pair = static_cast<unsigned>(codes[(group * kKvPairBytes + at % pairs) * stride]);
  return static_cast<float>(at < pairs ? pair & 15 : pair >> 4) - 8.0f;
}

void LoadKeys(DType type, const std::byte* block, size_t head_dim, float* out) {
  const std::byte* scales = block + KvCodeBytes(type, head_dim) * kKvBlockTokens;
  for (size_t i = 0; i < head_dim; ++i) {
    for (size_t j = 0; j < kKvBlockTokens; ++j) {
      const size_t at = i * kKvBlockTokens + j;
      const size_t scale = i / kKvScaleElements * kKvBlockTokens + j;
      out[at] = type == DType::kF16 ? HalfAt(block + at * sizeof(uint16_t))
                                    : CodeAt(type, block + j, kKvBlockTokens, head_dim, i) *
                                          HalfAt(scales + scale * sizeof(uint16_t));
    }
  }
}

void LoadValues(DType type, const std::byte* block, size_t head_dim, size_t count, float* out) {
  const size_t code_bytes = KvCodeBytes(type, head_dim);
  const std::byte* scales = block + code_bytes * kKvBlockTokens;
  for (size_t j = 0; j < count; ++j) {
    for (size_t i = 0; i < head_dim; ++i) {
      const size_t at = j * head_dim + i;
      const size_t scale = j * KvGroups(head_dim) + i / kKvScaleElements;
      out[at] = type == DType::kF16 ? HalfAt(block + at * sizeof(uint16_t))
                                    : CodeAt(type, block + j * code_bytes, 1, head_dim, i) *
                                          HalfAt(scales + scale * sizeof(uint16_t));
    }
  }
}

void Scores(const float* const* queries, size_t rows, const float* keys, size_t head_dim,
            float* const* scores) {
  for (size_t row = 0; row < rows; ++row) {
    for (size_t j = 0; j < kKvBlockTokens; ++j) {
      double sum = 0;
      for (size_t i = 0; i < head_dim; ++i) {
        sum += static_cast<double>(queries[row][i]) * keys[i * kKvBlockTokens + j];
      }
      scores[row][j] = static_cast<float>(sum);
    }
  }
}

void AddValues(const float* const* weights, size_t rows, const float* values, size_t head_dim,
               size_t count, float* const* out) {
  for (size_t row = 0; row < rows; ++row) {
    for (size_t i = 0; i < head_dim; ++i) {
      double sum = out[row][i];
      for (size_t j = 0; j < count; ++j) {
        sum += static_cast<double>(weights[row][j]) * values[j * head_dim + i];
      }
      out[row][i] = static_cast<float>(sum);
    }
  }
}

}  // namespace

const KvBlockKernels& ScalarKvBlockKernels() {
  static constexpr KvBlockKernels kTable = {
      .isa = Isa::kScalar,
      .load_keys = LoadKeys,
      .load_values = LoadValues,
      .scores = Scores,
      .add_values = AddValues,
  };
  return kTable;
}

}  // namespace rag
