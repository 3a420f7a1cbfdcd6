// How packed weights lie in memory: the same for every instruction set that multiplies them.
//
// A tile is 16 rows, groups of 256 columns one after another: first their scales, then their codes,
// block (32 columns) after block. Four columns of all rows are a quad, 64 bytes, row after row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/kernels/packed_tables.h"

namespace rag {
namespace {  // of each file that includes it, as simd_vector.h explains

constexpr size_t kPackedBlock = 32;                           // columns whose codes stand together
constexpr size_t kQuads = 8;                                  // groups of four columns in them
constexpr size_t kQuadBytes = 64;                             // four columns of a tile's rows
constexpr size_t kGroupBlocks = 8;                            // blocks behind one header of scales
constexpr size_t kHalfScales = kTileRows * sizeof(uint16_t);  // bytes of a tile's f16

// --- codes: what stands for a weight, unsigned ---

// Four bits, two quads to 64 bytes (i and i + 4), and kPlanesOf more of each in front of them: a
// byte of 64 of those holds the bits of its place in 8 / kPlanesOf quads.
template <size_t kPlanesOf>
struct NibbleCodes {
  static constexpr size_t kPlanes = kPlanesOf;
  static constexpr size_t kBytes = kPlanes * kQuadBytes + kQuads / 2 * kQuadBytes;
  static constexpr unsigned kMore = ((1u << kPlanes) - 1) << 4;
  // Where a quad's further bits lie: the plane, and the first one's place in its bytes.
  static constexpr size_t Plane(size_t quad) { return quad * kPlanes / kQuads; }
  static constexpr unsigned Bit(size_t quad) {
    return static_cast<unsigned>(quad * kPlanes % kQuads);
  }
};

struct ByteCodes {
  static constexpr size_t kPlanes = 0;
  static constexpr size_t kBytes = kQuads * kQuadBytes;
};

// --- scales: weight = scale * code - offset; they stand in front of a group's codes ---

// One scale in half precision for 32 columns, and one minimum where kMinima.
template <bool kMinima>
struct HalfScales {
  static constexpr ScaleOf kScaleOf = ScaleOf::k32;
  static constexpr size_t kParts = 1;  // of a block that have a scale of their own
  static constexpr size_t kEach = (kMinima ? 2 : 1) * kHalfScales;
  static constexpr size_t kBytes = kGroupBlocks * kEach;

  static const std::byte* Scale(const std::byte* header, size_t block) {
    return header + block * kEach;
  }
  static const std::byte* Minimum(const std::byte* header, size_t block) {
    return header + block * kEach + kHalfScales;
  }
};

// d for the group and a signed byte of it for each of its kScalesOf parts; with kMinima dmin and
// unsigned bytes likewise, those of two blocks side by side.
template <size_t kScalesOf, bool kMinima>
struct ByteScales {
  static constexpr ScaleOf kScaleOf = ScaleOf::k256;
  static constexpr size_t kScales = kScalesOf;
  static constexpr size_t kParts = kScales / kGroupBlocks;
  static constexpr size_t kFactors = (kMinima ? 2 : 1) * kHalfScales;
  static constexpr size_t kBytes =
      (kFactors + (kMinima ? 2 : 1) * kScales * kTileRows + kQuadBytes - 1) / kQuadBytes *
      kQuadBytes;

  static const std::byte* Dmin(const std::byte* header) { return header + kHalfScales; }
  // [16] signed bytes.
  static const std::byte* Scale(const std::byte* header, size_t block, size_t part) {
    return header + kFactors + (block * kParts + part) * kTileRows;
  }
  // [16][2] unsigned bytes: of blocks 2 * pair and 2 * pair + 1.
  static const std::byte* Minima(const std::byte* header, size_t pair) {
    return header + kFactors + (kScales + 2 * pair) * kTileRows;
  }
};

// --- formats ---

// 2^kZeroBits is added to a weight's whole number to make it unsigned, nothing where kMinima.
// kValues: the codes stand for the values of IQ4_NL, made unsigned already.
template <DType kType, class CodesOf, class ScalesOf, bool kMinimaOf, unsigned kZeroBitsOf,
          bool kValuesOf = false>
struct PackedFormat {
  using Codes = CodesOf;
  using Scales = ScalesOf;
  static constexpr DType kDType = kType;
  static constexpr bool kMinima = kMinimaOf;
  static constexpr unsigned kZeroBits = kZeroBitsOf;
  static constexpr int kZero = kMinima ? 0 : 1 << kZeroBits;
  static constexpr bool kValues = kValuesOf;
  static constexpr size_t kGroupBytes = Scales::kBytes + kGroupBlocks * Codes::kBytes;

  // The last group may have fewer blocks, behind a header of full length.
  static constexpr size_t TileBytes(size_t cols) {
    const size_t blocks = cols / kPackedBlock;
    const size_t groups = (blocks + kGroupBlocks - 1) / kGroupBlocks;
    return groups * Scales::kBytes + blocks * Codes::kBytes;
  }
  static const std::byte* CodesOfBlock(const std::byte* group, size_t block) {
    return group + Scales::kBytes + block * Codes::kBytes;
  }
};

using PackedQ4_0 = PackedFormat<DType::kQ4_0, NibbleCodes<0>, HalfScales<false>, false, 3>;
using PackedQ4_1 = PackedFormat<DType::kQ4_1, NibbleCodes<0>, HalfScales<true>, true, 0>;
using PackedQ5_0 = PackedFormat<DType::kQ5_0, NibbleCodes<1>, HalfScales<false>, false, 4>;
using PackedQ5_1 = PackedFormat<DType::kQ5_1, NibbleCodes<1>, HalfScales<true>, true, 0>;
using PackedQ8_0 = PackedFormat<DType::kQ8_0, ByteCodes, HalfScales<false>, false, 7>;
using PackedQ4_K = PackedFormat<DType::kQ4_K, NibbleCodes<0>, ByteScales<8, true>, true, 0>;
using PackedQ5_K = PackedFormat<DType::kQ5_K, NibbleCodes<1>, ByteScales<8, true>, true, 0>;
using PackedQ6_K = PackedFormat<DType::kQ6_K, NibbleCodes<2>, ByteScales<16, false>, false, 5>;
using PackedIQ4_NL =
    PackedFormat<DType::kIQ4_NL, NibbleCodes<0>, HalfScales<false>, false, 7, true>;
using PackedIQ4_XS =
    PackedFormat<DType::kIQ4_XS, NibbleCodes<0>, ByteScales<8, false>, false, 7, true>;

// Calls visit(F()) with the format of the type; for other types returns what `visit` would, as
// its default (null for pointers).
template <class Visit>
auto VisitPackedFormat(DType type, const Visit& visit) -> decltype(visit(PackedQ4_0())) {
  switch (type) {
    case DType::kQ4_0:
      return visit(PackedQ4_0());
    case DType::kQ4_1:
      return visit(PackedQ4_1());
    case DType::kQ5_0:
      return visit(PackedQ5_0());
    case DType::kQ5_1:
      return visit(PackedQ5_1());
    case DType::kQ8_0:
      return visit(PackedQ8_0());
    case DType::kQ4_K:
      return visit(PackedQ4_K());
    case DType::kQ5_K:
      return visit(PackedQ5_K());
    case DType::kQ6_K:
      return visit(PackedQ6_K());
    case DType::kIQ4_NL:
      return visit(PackedIQ4_NL());
    case DType::kIQ4_XS:
      return visit(PackedIQ4_XS());
    default:
      return {};
  }
}

}  // namespace
}  // namespace rag
