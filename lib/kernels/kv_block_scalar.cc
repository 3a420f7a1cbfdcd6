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

float Q8At(const std::byte* block, size_t element, size_t scale, size_t elements) {
  return static_cast<float>(static_cast<int8_t>(block[element])) *
         HalfAt(block + elements + scale * sizeof(uint16_t));
}

void LoadKeys(DType type, const std::byte* block, size_t head_dim, float* out) {
  const size_t elements = head_dim * kKvBlockTokens;
  for (size_t i = 0; i < elements; ++i) {
    const size_t group = i / kKvBlockTokens / kKvScaleElements;
    out[i] = type == DType::kF16
                 ? HalfAt(block + i * sizeof(uint16_t))
                 : Q8At(block, i, group * kKvBlockTokens + i % kKvBlockTokens, elements);
  }
}

void LoadValues(DType type, const std::byte* block, size_t head_dim, size_t count, float* out) {
  const size_t groups = (head_dim + kKvScaleElements - 1) / kKvScaleElements;
  for (size_t i = 0; i < count * head_dim; ++i) {
    const size_t scale = i / head_dim * groups + i % head_dim / kKvScaleElements;
    out[i] = type == DType::kF16 ? HalfAt(block + i * sizeof(uint16_t))
                                 : Q8At(block, i, scale, head_dim * kKvBlockTokens);
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
