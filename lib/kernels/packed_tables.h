// The products of lib/kernels/packed_avx2.cc, packed_avx512.cc and packed_amx.cc.
#pragma once

#include <cstddef>

#include "lib/kernels/quantized_tables.h"

namespace rag {

inline constexpr size_t kTileRows = 16;

// Blocks of 32 columns of a tile, ready for products: weight = scale * code - minimum.
struct UnpackedBlocks {
  int8_t* codes;  // [blocks][8][16 rows][4 columns], at 64 bytes
  float* scales;  // [blocks][16 rows], at 64 bytes
  float* minima;  // [blocks][16 rows], at 64 bytes; of types with minima alone
};

// Groups of 256 columns: weight = scale * (256 * high + low) - scale_of_minima * minimum.
struct UnpackedGroups {
  int8_t* high;             // [groups][4][16][16 rows][4 columns], at 64 bytes
  uint8_t* low;             // the same
  float* scales;            // [groups][16 rows], at 64 bytes
  int16_t* minima;          // [groups][4][16 rows][2], at 64 bytes; of types with minima alone
  float* scales_of_minima;  // [groups][16 rows], at 64 bytes; likewise
};

// What the products of a type are, bit for bit, in any order of whole numbers' sums:
//   ScaleOf::k32: for 32 columns after 32, sum = sum - minimum * sums32 (one rounding), then
//     sum = sum + whole * (scale * x's scale), `whole` being the sum of code * value.
//   ScaleOf::k256: for 256 columns after 256, sum = sum + (whole * scale - whole minima *
//     scale_of_minima) * x's scale: weights of 8 bits times the scale of 16 or 32 are whole
//     numbers, and so is what the minima take off.
struct PackedKernels {
  ScaleOf scale_of;
  bool minima;
  // The most tokens of a call of dot: those whose activations stay near while a tile passes.
  size_t token_tile;
  // out[t * out_stride + r] = row r . x[t] for the first `rows` of the tile and those behind
  // it; x has scales of scale_of. A result does not depend on `tokens` and `rows`, bit for bit.
  void (*dot)(const std::byte* tile, size_t cols, const Activations8& x, size_t tokens, size_t rows,
              float* out, size_t out_stride);
  // Null where scale_of is the other, and where nothing takes panels.
  void (*unpack_blocks)(const std::byte* tile, size_t first, size_t count,
                        const UnpackedBlocks& out);
  void (*unpack_groups)(const std::byte* tile, size_t first, size_t count,
                        const UnpackedGroups& out);
};

// Bytes of a tile of so many columns, a multiple of 64; `type` has PackedKernels.
size_t PackedTileBytes(DType type, size_t cols);
// Lays out rows of the file's blocks in a tile of zeros; null for those that a last tile lacks,
// which become zeros.
void PackTile(DType type, const std::byte* const rows[kTileRows], size_t cols, std::byte* tile);

// How weights come from memory: from one place after another, far ahead, or from several tiles side
// by side. Intel's processors fetch several streams faster than one (1.4 times on Sapphire Rapids);
// AMD's one faster than several (Zen 5: 32 GB/s of one thread and 39 of two instead of 24 and 29,
// and with four tokens twice as much; 8 kB ahead up to a tenth more than 4 kB).
enum class WeightStreams { kOne, kMany };

// Null for the types that are not packed.
const PackedKernels* Avx2PackedKernels(DType type);
const PackedKernels* Avx512PackedKernels(DType type, WeightStreams streams);

// As PackedKernels::dot for whole panels of activations, of which the last may lack tokens, with
// the same bits. It unpacks a tile for all tokens together: for few of them dot is faster.
struct PanelProduct {
  const PackedKernels* kernels;
  const std::byte* tile;
  size_t cols;
  const PanelBlock* blocks;  // x, of the kernels' scale_of
  const PanelGroup* groups;
  size_t tokens;
  size_t rows;
  float* out;
  size_t out_stride;
};
using PanelDot = void (*)(const PanelProduct& product);
void AmxPanelDot(const PanelProduct& product);

}  // namespace rag
