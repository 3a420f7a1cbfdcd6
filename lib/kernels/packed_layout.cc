#include "lib/kernels/packed_layout.h"

#include <cstring>

#include "lib/kernels/quantized_blocks.h"

namespace rag {
namespace {

void PutHalf(float value, std::byte* to) {
  const uint16_t bits = FloatToHalf(value);
  std::memcpy(to, &bits, sizeof(bits));
}

template <bool kMinima>
void StoreScales(HalfScales<kMinima>, const DecodedBlock& decoded, size_t row, size_t block,
                 std::byte* header) {
  std::byte* const at = header + block * HalfScales<kMinima>::kEach + row * sizeof(uint16_t);
  PutHalf(decoded.scale[0], at);
  if (kMinima) PutHalf(decoded.offset[0], at + kHalfScales);
}

template <size_t kScales, bool kMinima>
void StoreScales(ByteScales<kScales, kMinima>, const DecodedBlock& decoded, size_t row, size_t,
                 std::byte* header) {
  PutHalf(decoded.d, header + row * sizeof(uint16_t));
  if (kMinima) PutHalf(decoded.dmin, header + kHalfScales + row * sizeof(uint16_t));
  constexpr size_t kStep = kMaxBlockElements / kScaleGroup / kScales;
  std::byte* const scales = header + ByteScales<kScales, kMinima>::kFactors;
  for (size_t i = 0; i < kScales; ++i) {
    scales[i * kTileRows + row] = static_cast<std::byte>(decoded.subscale[i * kStep]);
    if (!kMinima) continue;
    std::byte* const pair = scales + (kScales + i / 2 * 2) * kTileRows;
    pair[2 * row + i % 2] = static_cast<std::byte>(decoded.subminimum[i * kStep]);
  }
}

template <size_t kPlanes>
void StoreCodes(NibbleCodes<kPlanes>, const uint8_t quads[kQuads][kQuadBytes], uint8_t* out) {
  using Codes = NibbleCodes<kPlanes>;
  for (size_t i = 0; i < kQuads / 2; ++i) {
    for (size_t j = 0; j < kQuadBytes; ++j) {
      out[(kPlanes + i) * kQuadBytes + j] =
          static_cast<uint8_t>((quads[i][j] & 15) | quads[i + kQuads / 2][j] << 4);
    }
  }
  if constexpr (kPlanes > 0) {
    for (size_t i = 0; i < kQuads; ++i) {
      uint8_t* const plane = out + Codes::Plane(i) * kQuadBytes;
      for (size_t j = 0; j < kQuadBytes; ++j) {
        plane[j] =
            static_cast<uint8_t>(plane[j] | (quads[i][j] & Codes::kMore) >> 4 << Codes::Bit(i));
      }
    }
  }
}

void StoreCodes(ByteCodes, const uint8_t quads[kQuads][kQuadBytes], uint8_t* out) {
  std::memcpy(out, quads, kQuads * kQuadBytes);
}

// The unsigned codes of one of the file's blocks, [block_size].
template <class F>
void TakeCodes(const std::byte* block, const DecodedBlock& decoded, uint8_t* codes) {
  constexpr bool kLong = F::Scales::kScaleOf == ScaleOf::k256;
  if constexpr (F::kValues) {
    // Which of the values, not the value: behind the scales, 16 bytes for 32 columns.
    const std::byte* const nibbles = block + (kLong ? 8 : 2);
    for (size_t i = 0; i < (kLong ? kGroupBlocks : 1); ++i) {
      for (size_t j = 0; j < 16; ++j) {
        const auto byte = static_cast<uint8_t>(nibbles[i * 16 + j]);
        codes[i * kPackedBlock + j] = byte & 15;
        codes[i * kPackedBlock + j + 16] = byte >> 4;
      }
    }
  } else {
    for (size_t i = 0; i < (kLong ? kMaxBlockElements : kPackedBlock); ++i) {
      codes[i] = static_cast<uint8_t>(decoded.q[i] + F::kZero);
    }
  }
}

template <class F>
void PackFormat(const std::byte* const rows[kTileRows], size_t cols, std::byte* tile) {
  const DTypeInfo& info = GetDTypeInfo(F::kDType);
  // Rows that there are not stay of scale zero.
  alignas(64) uint8_t codes[kTileRows][kMaxBlockElements] = {};
  for (size_t begin = 0; begin < cols; begin += info.block_size) {
    const size_t first = begin / kPackedBlock % kGroupBlocks;  // of the group's blocks
    std::byte* const header = tile + begin / kPackedBlock / kGroupBlocks * F::kGroupBytes;
    for (size_t row = 0; row < kTileRows; ++row) {
      if (rows[row] == nullptr) continue;
      const std::byte* const block = rows[row] + begin / info.block_size * info.block_bytes;
      DecodedBlock decoded;
      DecodeBlock(F::kDType, block, decoded);
      TakeCodes<F>(block, decoded, codes[row]);
      StoreScales(typename F::Scales(), decoded, row, first, header);
    }
    for (size_t block = 0; block < info.block_size / kPackedBlock; ++block) {
      alignas(64) uint8_t quads[kQuads][kQuadBytes];
      for (size_t row = 0; row < kTileRows; ++row) {
        for (size_t i = 0; i < kQuads; ++i) {
          std::memcpy(quads[i] + 4 * row, codes[row] + block * kPackedBlock + 4 * i, 4);
        }
      }
      std::byte* const to = header + F::Scales::kBytes + (first + block) * F::Codes::kBytes;
      StoreCodes(typename F::Codes(), quads, reinterpret_cast<uint8_t*>(to));
    }
  }
}

}  // namespace

size_t PackedTileBytes(DType type, size_t cols) {
  return VisitPackedFormat(type, [&]<class F>(F) { return F::TileBytes(cols); });
}

void PackTile(DType type, const std::byte* const rows[kTileRows], size_t cols, std::byte* tile) {
  using Pack = void (*)(const std::byte* const rows[kTileRows], size_t cols, std::byte* tile);
  VisitPackedFormat(type, []<class F>(F) -> Pack { return PackFormat<F>; })(rows, cols, tile);
}

}  // namespace rag
