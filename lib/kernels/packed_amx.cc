// Packed products on AMX's tiles, in whole numbers, 16 tokens by 16 rows of weights; what scales
// and adds them up are AVX-512's instructions, which run beside the tiles' as long as none of both
// waits for the other: so a product of tiles is always begun before the last one is added up.
#include "lib/kernels/amx_tiles.h"
#include "lib/kernels/avx512_intrinsics.h"
#include "lib/kernels/packed_tables.h"

namespace rag {
namespace {

constexpr size_t kCells = kPanelTokens * kTileRows;  // of a product of tiles

size_t Smaller(size_t a, size_t b) { return a < b ? a : b; }

// --- scales of 32 columns: a product of 32 columns by one pair of tiles, then scaled ---

constexpr size_t kBlock = 32;
constexpr size_t kCodes = kBlock * kTileRows;
// Blocks that are unpacked at once: 16 KiB of codes stay in the first-level cache while all tokens
// pass.
constexpr size_t kChunkBlocks = 32;
// Products that are under way: two are being made, one is stored, one is added up.
constexpr size_t kStages = 4;

struct Blocks {
  alignas(64) int8_t codes[kChunkBlocks * kCodes];
  alignas(64) float scales[kChunkBlocks * kTileRows];
  alignas(64) float minima[kChunkBlocks * kTileRows];
  size_t count;
};

// A panel's sums over a chunk, which go on from those at `out` unless it is the first.
template <bool kMinima>
class BlockPanel {
 public:
  BlockPanel(const Blocks& blocks, const PanelBlock* x) : blocks_(blocks), x_(x) {}

  void Run(bool first, size_t tokens, __mmask16 rows, float* out, size_t out_stride) {
    __m512 sums[kPanelTokens];
#pragma GCC unroll 16
    for (size_t t = 0; t < kPanelTokens; ++t) {
      const bool begun = !first && t < tokens;
      sums[t] = begun ? _mm512_maskz_loadu_ps(rows, out + t * out_stride) : _mm512_setzero_ps();
    }
    Start<0>(0);
    if (blocks_.count > 1) Start<1>(1);
    for (size_t block = 0; block <= blocks_.count; block += kStages) {
      Stage<0>(block, sums);
      Stage<1>(block + 1, sums);
      Stage<2>(block + 2, sums);
      Stage<3>(block + 3, sums);
    }
#pragma GCC unroll 16
    for (size_t t = 0; t < kPanelTokens; ++t) {
      if (t < tokens) _mm512_mask_storeu_ps(out + t * out_stride, rows, sums[t]);
    }
  }

 private:
  // Tiles 0 to 3 are products, 4 and 5 activations, 6 and 7 weights.
  template <int kStage>
  inline __attribute__((always_inline)) void Start(size_t block) {
    constexpr int kA = 4 + kStage % 2, kB = 6 + kStage % 2;
    amx::Zero<kStage>();
    amx::Load<kA>(x_[block].values, kBlock);
    amx::Load<kB>(blocks_.codes + block * kCodes, amx::kRowBytes);
    amx::DotSigned<kStage, kA, kB>();
  }

  template <int kStage>
  inline __attribute__((always_inline)) void Stage(size_t block, __m512* sums) {
    if (block < blocks_.count) {
      amx::Store<kStage>(products_[kStage], amx::kRowBytes);
      if (block + 2 < blocks_.count) Start<(kStage + 2) % kStages>(block + 2);
    }
    if (block > 0 && block <= blocks_.count) {
      Add(block - 1, products_[(kStage + kStages - 1) % kStages], sums);
    }
  }

  inline __attribute__((always_inline)) void Add(size_t block, const int32_t* products,
                                                 __m512* sums) {
    const PanelBlock& x = x_[block];
    const __m512 scale = _mm512_load_ps(blocks_.scales + block * kTileRows);
    const __m512 minimum =
        kMinima ? _mm512_load_ps(blocks_.minima + block * kTileRows) : _mm512_setzero_ps();
#pragma GCC unroll 16
    for (size_t t = 0; t < kPanelTokens; ++t) {
      if (kMinima) sums[t] = _mm512_fnmadd_ps(minimum, _mm512_set1_ps(x.sums32[t]), sums[t]);
      const __m512 whole = _mm512_cvtepi32_ps(_mm512_load_si512(products + t * kTileRows));
      sums[t] = _mm512_fmadd_ps(whole, _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[t])), sums[t]);
    }
  }

  const Blocks& blocks_;
  const PanelBlock* x_;
  alignas(64) int32_t products_[kStages][kCells];
};

template <bool kMinima>
void DotBlocks(const PanelProduct& p) {
  const size_t count = p.cols / kBlock;
  amx::TileShapes shapes;
  for (const int tile : {0, 1, 2, 3}) shapes.Set(tile, kPanelTokens);
  for (const int tile : {4, 5}) shapes.Set(tile, kPanelTokens, kBlock);
  for (const int tile : {6, 7}) shapes.Set(tile, kBlock / 4);
  amx::Tiles tiles(shapes);
  Blocks blocks;
  for (size_t begin = 0; begin < count; begin += kChunkBlocks) {
    blocks.count = Smaller(count - begin, kChunkBlocks);
    p.kernels->unpack_blocks(p.tile, begin, blocks.count,
                             {blocks.codes, blocks.scales, blocks.minima});
    for (size_t first = 0; first < p.tokens; first += kPanelTokens) {
      BlockPanel<kMinima> panel(blocks, p.blocks + first / kPanelTokens * count + begin);
      panel.Run(begin == 0, Smaller(p.tokens - first, kPanelTokens), FirstLanes(p.rows),
                p.out + first * p.out_stride, p.out_stride);
    }
  }
}

// --- scales of 256 columns: weights in 16 bits, whose high and low bytes are multiplied each ---

constexpr size_t kGroup = 256;
constexpr size_t kSteps = 4;  // of 64 columns
// Groups that are unpacked at once, 8 KiB of weights each, and tokens whose sums stay beside them.
constexpr size_t kChunkGroups = 2;
constexpr size_t kSlabTokens = 256;

struct Groups {
  alignas(64) int8_t high[kChunkGroups][kSteps][kCells * 4];
  alignas(64) uint8_t low[kChunkGroups][kSteps][kCells * 4];
  alignas(64) float scales[kChunkGroups][kTileRows];
  alignas(64) int16_t minima[kChunkGroups][kSteps][2 * kTileRows];
  alignas(64) float scales_of_minima[kChunkGroups][kTileRows];
};

// The products of two panels with a group: the high and the low bytes of each.
struct Pair {
  const PanelGroup* x[2];
  size_t group;
  float* sums;  // [2 * kPanelTokens][kTileRows]
};

template <bool kMinima>
inline __attribute__((always_inline)) void AddPanel(const Groups& groups, size_t group,
                                                    const PanelGroup& x, const int32_t* high,
                                                    const int32_t* low, float* sums) {
  const __m512 scale = _mm512_load_ps(groups.scales[group]);
  __m512i minima[kSteps];
  __m512 of_minima = scale;
  if (kMinima) {
    of_minima = _mm512_load_ps(groups.scales_of_minima[group]);
    for (size_t i = 0; i < kSteps; ++i) minima[i] = _mm512_load_si512(groups.minima[group][i]);
  }
#pragma GCC unroll 4
  for (size_t t = 0; t < kPanelTokens; ++t) {
    const __m512i whole =
        _mm512_add_epi32(_mm512_slli_epi32(_mm512_load_si512(high + t * kTileRows), 8),
                         _mm512_load_si512(low + t * kTileRows));
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(whole), scale);
    if (kMinima) {
      __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 4
      for (size_t i = 0; i < kSteps; ++i) {
        int32_t two;
        __builtin_memcpy(&two, x.whole32[i][t], sizeof(two));
        sum = _mm512_dpwssd_epi32(sum, minima[i], _mm512_set1_epi32(two));
      }
      value = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(sum), of_minima, value);
    }
    float* const at = sums + t * kTileRows;
    _mm512_store_ps(at, _mm512_fmadd_ps(value, _mm512_set1_ps(x.scales[t]), _mm512_load_ps(at)));
  }
}

class GroupPanels {
 public:
  explicit GroupPanels(const Groups& groups) : groups_(groups) {}

  // Begins `pair`, and adds up what was begun before.
  template <bool kMinima>
  void Run(const Pair& pair) {
    amx::Zero<0>();
    amx::Zero<1>();
    amx::Zero<2>();
    amx::Zero<3>();
    Step(pair, 0);
    Step(pair, 1);
    if (last_.sums != nullptr) Add<kMinima>(0);
    Step(pair, 2);
    Step(pair, 3);
    if (last_.sums != nullptr) Add<kMinima>(1);
    amx::Store<0>(products_[0], amx::kRowBytes);
    amx::Store<1>(products_[1], amx::kRowBytes);
    amx::Store<2>(products_[2], amx::kRowBytes);
    amx::Store<3>(products_[3], amx::kRowBytes);
    last_ = pair;
  }
  template <bool kMinima>
  void Finish() {
    Add<kMinima>(0);
    Add<kMinima>(1);
    last_.sums = nullptr;
  }

 private:
  // Tiles 0 and 1 are the first panel's products, 2 and 3 the second's; 4 and 5 activations, 6 and
  // 7 weights.
  inline __attribute__((always_inline)) void Step(const Pair& pair, size_t i) {
    amx::Load<4>(pair.x[0]->values[i], amx::kRowBytes);
    amx::Load<6>(groups_.high[pair.group][i], amx::kRowBytes);
    amx::DotSigned<0, 4, 6>();
    amx::Load<7>(groups_.low[pair.group][i], amx::kRowBytes);
    amx::DotByUnsigned<1, 4, 7>();
    amx::Load<5>(pair.x[1]->values[i], amx::kRowBytes);
    amx::DotSigned<2, 5, 6>();
    amx::DotByUnsigned<3, 5, 7>();
  }

  template <bool kMinima>
  inline __attribute__((always_inline)) void Add(size_t panel) {
    AddPanel<kMinima>(groups_, last_.group, *last_.x[panel], products_[2 * panel],
                      products_[2 * panel + 1], last_.sums + panel * kCells);
  }

  const Groups& groups_;
  Pair last_ = {};
  alignas(64) int32_t products_[4][kCells];
};

template <bool kMinima>
void DotGroups(const PanelProduct& p) {
  const size_t count = p.cols / kGroup;
  amx::TileShapes shapes;
  for (int tile = 0; tile < 8; ++tile) shapes.Set(tile, amx::kTileRows);
  amx::Tiles tiles(shapes);
  Groups groups;
  GroupPanels panels(groups);
  alignas(64) float sums[kSlabTokens * kTileRows];
  for (size_t slab = 0; slab < p.tokens; slab += kSlabTokens) {
    const size_t tokens = Smaller(p.tokens - slab, kSlabTokens);
    const size_t pairs = (tokens + 2 * kPanelTokens - 1) / (2 * kPanelTokens);
    for (size_t i = 0; i < pairs * 2 * kCells; ++i) sums[i] = 0;
    for (size_t begin = 0; begin < count; begin += kChunkGroups) {
      const size_t chunk = Smaller(count - begin, kChunkGroups);
      p.kernels->unpack_groups(p.tile, begin, chunk,
                               {groups.high[0][0], groups.low[0][0], groups.scales[0],
                                groups.minima[0][0], groups.scales_of_minima[0]});
      for (size_t pair = 0; pair < pairs; ++pair) {
        const size_t first = slab / kPanelTokens + 2 * pair;
        // The second of the last pair may not exist: the first stands in, and nobody reads its
        // sums.
        const size_t second = first * kPanelTokens + kPanelTokens < p.tokens ? first + 1 : first;
        for (size_t i = 0; i < chunk; ++i) {
          panels.Run<kMinima>(
              {{p.groups + first * count + begin + i, p.groups + second * count + begin + i},
               i,
               sums + pair * 2 * kCells});
        }
      }
      panels.Finish<kMinima>();
    }
    for (size_t t = 0; t < tokens; ++t) {
      _mm512_mask_storeu_ps(p.out + (slab + t) * p.out_stride, FirstLanes(p.rows),
                            _mm512_load_ps(sums + t * kTileRows));
    }
  }
}

}  // namespace

void AmxPanelDot(const PanelProduct& product) {
  const bool minima = product.kernels->minima;
  if (product.kernels->scale_of == ScaleOf::k32) {
    return minima ? DotBlocks<true>(product) : DotBlocks<false>(product);
  }
  return minima ? DotGroups<true>(product) : DotGroups<false>(product);
}

}  // namespace rag
