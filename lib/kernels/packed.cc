#include "lib/kernels/packed.h"

#include "lib/kernels/kernels.h"

namespace rag {
namespace {

WeightStreams ProcessorStreams() {
  static const bool kAmd = __builtin_cpu_is("amd");
  return kAmd ? WeightStreams::kOne : WeightStreams::kMany;
}

}  // namespace

const PackedKernels* GetPackedKernels(Isa isa, DType type) {
  if (isa == Isa::kScalar || GetKernels(isa) == nullptr) return nullptr;
  return isa == Isa::kAvx2 ? Avx2PackedKernels(type)
                           : Avx512PackedKernels(type, ProcessorStreams());
}

PanelDot GetPanelDot(Isa isa) { return isa == Isa::kAmx ? AmxPanelDot : nullptr; }

size_t PackedMatrix::BytesFor(const TensorView& weights, const Runtime& runtime) {
  const PackedKernels* const kernels = GetPackedKernels(runtime.isa(), weights.type);
  if (kernels == nullptr) return 0;
  return (weights.shape[0] + kTileRows - 1) / kTileRows *
         PackedTileBytes(weights.type, weights.shape[1]);
}

PackedMatrix PackedMatrix::Pack(const TensorView& weights, const Runtime& runtime,
                                std::byte* memory) {
  PackedMatrix packed;
  const PackedKernels* const kernels = GetPackedKernels(runtime.isa(), weights.type);
  if (kernels == nullptr) return packed;
  const size_t rows = weights.shape[0];
  packed.cols_ = weights.shape[1];
  packed.tile_bytes_ = PackedTileBytes(weights.type, packed.cols_);
  const size_t tiles = (rows + kTileRows - 1) / kTileRows;
  packed.data_ = memory;
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
      PackTile(weights.type, of_tile, packed.cols_, memory + tile * packed.tile_bytes_);
    }
  });
  return packed;
}

}  // namespace rag
