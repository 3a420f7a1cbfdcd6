// AMX's tiles: eight registers of up to 16 rows of 64 bytes, and products of them. For *_amx.cc
// alone, which are compiled for it (Intel's Software Developer's Manual, volume 1, chapter 18).
//
// Whoever multiplies configures the tiles for the length of its product and releases them: `Tiles`
// does both. So no function finds tiles as another left them, and a thread that waits or runs other
// code has none in use, whose 8 KiB every switch of threads would save. A pair costs 0.17 us
// (measured on a Sapphire Rapids, as much as ten products of tiles): one product of less than some
// microseconds shares its caller's.
//
// Everything here is inlined assembly with its memory declared, since the compiler's own intrinsics
// (g++ 12) do not say that a load reads memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rag::amx {

inline constexpr size_t kTileRows = 16;
inline constexpr size_t kRowBytes = 64;

// LDTILECFG's operand. Tiles without a shape may not be used.
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  // At most kTileRows rows of kRowBytes, a multiple of 4.
  constexpr void Set(int tile, size_t tile_rows, size_t bytes = kRowBytes) {
    rows[tile] = static_cast<uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
};
static_assert(sizeof(TileShapes) == 64);

// The calling thread's tiles, configured while it lives. One at a time.
class Tiles {
 public:
  explicit Tiles(const TileShapes& shapes) { Configure(shapes); }
  ~Tiles() { __asm__ volatile("tilerelease" ::: "memory"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  // Another configuration; all tiles are zero then.
  void Configure(const TileShapes& shapes) { __asm__ volatile("ldtilecfg %0" ::"m"(shapes)); }
};

// Rows of a tile lie `stride` bytes apart; 0 gives each the same.
template <int kTile>
void Load(const void* rows, size_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(rows), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
void Store(void* rows, size_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(rows), "r"(stride), "i"(kTile)
                   : "memory");
}
template <int kTile>
void Zero() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(kTile));
}

// C += A B. Row i of A holds the groups (2 of bf16, 4 of int8) of row i; row g of B holds group g
// of 16 columns; C is of 32-bit elements. Groups are summed in order, whatever the number of rows.
template <int kC, int kA, int kB>
void DotBf16() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}
// int8 by int8, unsigned int8 by int8, and int8 by unsigned int8.
template <int kC, int kA, int kB>
void DotSigned() {
  __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}
template <int kC, int kA, int kB>
void DotUnsigned() {
  __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}

template <int kC, int kA, int kB>
void DotByUnsigned() {
  __asm__ volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}

}  // namespace rag::amx
