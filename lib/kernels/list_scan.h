// Scans of the codes in an inverted list: the estimated distance of each vector to one or more
// queries, in integers, and of these the ones below a bound.
//
// The codes lie in one of three forms; a block is kListBlock vectors, the last one filled up.
//   kRows    vector after vector, `units` bytes each, a multiple of kListAlign. A query's table is
//            i8 [units]; the sum is that of table[j] * code[j].
//   kBytes   product quantization with 256 entries a part: for each block and part kListBlock
//            bytes, one a vector. Tables are u8 [units parts][256].
//   kNibbles product quantization with 16 entries a part: for each block and group of four parts
//            64 bytes, in an order of the instruction set (`nibble`). Tables are u8 [units
//            groups][4][16].
// The second and third sum table[part][code of the part]. In all of them
//   distance = base + norms[i] - scale * sum,
// or where each vector has a factor of its own
//   distance = base + norms[i] - factors[i] * (offset + scale * sum).
// 4-bit scans follow André, Kermarrec and Le Scouarnec, "Cache locality is not enough:
// High-performance nearest neighbor search with product quantization fast scan" (VLDB 2015), and
// FAISS; where the processor can permute 64 bytes and add products of bytes, four tables stand in
// one register and four look-ups become one sum.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/runtime/runtime.h"

namespace rag {

inline constexpr size_t kListBlock = 32;
inline constexpr size_t kListAlign = 64;
inline constexpr size_t kPartsPerGroup = 4;
inline constexpr size_t kGroupBytes = kPartsPerGroup * kListBlock / 2;
// Sums stay below 2^31 up to so many parts or bytes of a row.
inline constexpr size_t kMaxListUnits = 65'536;

enum class ListForm : uint8_t { kRows, kBytes, kNibbles };

// One query's part of a scan.
struct ListScan {
  const std::byte* table = nullptr;  // aligned to kListAlign
  float scale = 0;
  float base = 0;
  float offset = 0;
  // Of the vectors that are scanned, as many as norms; null: there are none.
  const float* factors = nullptr;
  float bound = 0;
  // Positions in the list, ascending, and distances of the vectors below the bound; room for all
  // that are scanned.
  uint32_t* positions = nullptr;
  float* distances = nullptr;
  size_t found = 0;
};

struct ListKernels {
  Isa isa;
  // out[j] = sum over d < dims of query[d] * codebook[d * entries + j], j < entries, which is a
  // multiple of 16.
  void (*products)(const float* query, const float* codebook, size_t dims, size_t entries,
                   float* out);
  // Values [parts][entries], of which each part's are to become bytes: lows [parts] gets the least
  // of each part; returns the widest span of a part.
  float (*spans)(const float* values, size_t parts, size_t entries, float* lows);
  // table = (value - its part's low) * factor, rounded, in 0 ... 255.
  void (*narrow)(const float* values, const float* lows, float factor, size_t parts, size_t entries,
                 std::byte* table);
  // Where in a block the code of a part and lane lies: twice the byte, plus 1 for the upper half.
  size_t (*nibble)(size_t part, size_t lane);
  // codes: of whole blocks, aligned to kListAlign; norms [count rounded up to blocks], infinite
  // from `count` on. Sets `found`, writes positions and distances.
  using Scan = void (*)(const std::byte* codes, const float* norms, size_t count, size_t units,
                        ListScan* scans, size_t scan_count);
  Scan scan[3];  // by ListForm
};

// The table of an instruction set; null when this build or this processor cannot run it.
const ListKernels* GetListKernels(Isa isa);

}  // namespace rag
