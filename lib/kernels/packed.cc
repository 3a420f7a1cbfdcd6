#include "lib/kernels/packed.h"

#include "lib/kernels/kernels.h"

namespace rag {

const PackedKernels* GetPackedKernels(Isa isa, DType type) {
  if (isa < Isa::kAvx512 || GetKernels(isa) == nullptr) return nullptr;
  return Avx512PackedKernels(type);
}

PanelDot GetPanelDot(Isa isa) { return isa == Isa::kAmx ? AmxPanelDot : nullptr; }

Result<PackedMatrix> PackedMatrix::Pack(const TensorView& weights, const Runtime& runtime) {
  PackedMatrix packed;
  const PackedKernels* const kernels = GetPackedKernels(runtime.isa(), weights.type);
  if (kernels == nullptr) return packed;
  const size_t rows = weights.shape[0];
  packed.cols_ = weights.shape[1];
  packed.tile_bytes_ = kernels->tile_bytes(packed.cols_);
  const size_t tiles = (rows + kTileRows - 1) / kTileRows;
  RAG_ASSIGN_OR_RETURN(packed.buffer_, PageBuffer::Allocate(tiles * packed.tile_bytes_));
  packed.kernels_ = kernels;
  packed.panel_dot_ = GetPanelDot(runtime.isa());
  const size_t row_bytes = weights.bytes.size() / rows;
  runtime.pool().ParallelFor(tiles, 4, [&](size_t begin, size_t end, int) {
    for (size_t tile = begin; tile < end; ++tile) {
      const std::byte* of_tile[kTileRows];
      for (size_t i = 0; i < kTileRows; ++i) {
        const size_t row = tile * kTileRows + i;
        of_tile[i] = row < rows ? weights.bytes.data() + row * row_bytes : nullptr;
      }
      kernels->pack(of_tile, packed.cols_, packed.buffer_.data() + tile * packed.tile_bytes_);
    }
  });
  return packed;
}

}  // namespace rag
