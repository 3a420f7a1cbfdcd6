// Weights laid out anew when they are loaded: 16 rows interleaved (lib/kernels/packed_layout.h), so
// that a lane is a row, four columns of it feed one multiply-add of bytes, and no sums across lanes
// are left to make. The codes keep the bits that the file has, so that a product reads as much
// memory, and a stream of it for each tile.
#pragma once

#include <cstddef>

#include "lib/kernels/packed_tables.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Null where an instruction set has no such products of the type.
const PackedKernels* GetPackedKernels(Isa isa, DType type);
// Null where an instruction set has none.
PanelDot GetPanelDot(Isa isa);

// How many of a product's tokens, from the first, are multiplied in panels where that can be: a
// tile is unpacked for all of them together, and a panel costs the same however few it has, so few
// tokens are faster without (measured: from about 16, and 8 in a last panel).
constexpr size_t PanelTokens(size_t tokens) {
  if (tokens < kPanelTokens) return 0;
  return tokens % kPanelTokens < kPanelTokens / 2 ? tokens / kPanelTokens * kPanelTokens : tokens;
}

class PackedMatrix {
 public:
  PackedMatrix() = default;
  // Bytes of weights [rows, cols], a multiple of 64; 0 where there are no such products of their
  // type here.
  static size_t BytesFor(const TensorView& weights, const Runtime& runtime);
  // Lays them out in `memory`, which has BytesFor zeros at 64 bytes and outlives the matrix; empty
  // where there are no such products.
  static PackedMatrix Pack(const TensorView& weights, const Runtime& runtime, std::byte* memory);

  bool empty() const { return kernels_ == nullptr; }
  // Rows [16 * tile, 16 * tile + rows) of the product, at `out` and out_stride apart a token; with
  // AVX-512, for few tokens, those of up to 8 tiles together are faster than one after another.
  void Dot(size_t tile, const Activations8& x, size_t tokens, size_t rows, float* out,
           size_t out_stride) const {
    kernels_->dot(data_ + tile * tile_bytes_, cols_, x, tokens, rows, out, out_stride);
  }
  ScaleOf scale_of() const { return kernels_->scale_of; }
  // The most tokens of a call of Dot.
  size_t token_tile() const { return kernels_->token_tile; }
  bool takes_panels() const { return panel_dot_ != nullptr; }
  // The same of the tokens in panels, where it takes_panels.
  void DotPanels(size_t tile, const ProductInput::Quantized8& x, size_t tokens, size_t rows,
                 float* out, size_t out_stride) const {
    panel_dot_({kernels_, data_ + tile * tile_bytes_, cols_, x.blocks, x.groups, tokens, rows, out,
                out_stride});
  }

 private:
  const PackedKernels* kernels_ = nullptr;
  PanelDot panel_dot_ = nullptr;
  size_t cols_ = 0;
  size_t tile_bytes_ = 0;
  const std::byte* data_ = nullptr;
};

}  // namespace rag
