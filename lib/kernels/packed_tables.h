// The products of lib/kernels/packed_avx512.cc.
#pragma once

#include <cstddef>

#include "lib/kernels/quantized_tables.h"

namespace rag {

inline constexpr size_t kTileRows = 16;

struct PackedKernels {
  // Bytes of a tile of so many columns, a multiple of 64.
  size_t (*tile_bytes)(size_t cols);
  // rows: of the file's blocks; null for those that a last tile lacks, which become zeros.
  void (*pack)(const std::byte* const rows[kTileRows], size_t cols, std::byte* tile);
  // out[t * out_stride + r] = row r . x[t] for the first `rows` of the tile. A result does not
  // depend on `tokens`, bit for bit.
  void (*dot)(const std::byte* tile, size_t cols, const Activations8& x, size_t tokens, size_t rows,
              float* out, size_t out_stride);
};

// Null for the types that are not packed.
const PackedKernels* Avx512PackedKernels(DType type);

}  // namespace rag
