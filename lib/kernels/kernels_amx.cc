// The AMX table: products of narrow elements on tiles, everything else as in the AVX-512 table.
#include "lib/kernels/amx_tiles.h"
#include "lib/kernels/avx512_intrinsics.h"
#include "lib/kernels/kernels.h"
#include "lib/kernels/simd_gemm.h"
#include "lib/kernels/tables.h"

namespace rag {
namespace {

using amx::kRowBytes;
using amx::kTileRows;

constexpr size_t kPanel = 32;                      // columns: two tiles side by side
constexpr size_t kBlockRows = 2 * kTileRows;       // of A and C at once
constexpr size_t kStepBytes = kPanel * kRowBytes;  // of a panel of B, for 64 bytes of each row of A
constexpr size_t kCells = kBlockRows * kPanel;     // of C at once
constexpr size_t kCellStride = kPanel * sizeof(float);

// Tiles 0 to 3 are C, 4 and 5 A, 6 and 7 B. A tile has at least a row, used or not.
amx::TileShapes ShapesOf(size_t rows) {
  const size_t first = rows < kTileRows ? rows : kTileRows;
  const size_t second = rows > kTileRows ? rows - kTileRows : 1;
  amx::TileShapes shapes;
  for (const int tile : {0, 1, 4}) shapes.Set(tile, first);
  for (const int tile : {2, 3, 5}) shapes.Set(tile, second);
  for (const int tile : {6, 7}) shapes.Set(tile, kTileRows);
  return shapes;
}

struct DotBf16 {
  template <int kC, int kA, int kB>
  static void Run() {
    amx::DotBf16<kC, kA, kB>();
  }
};

// A holds value + 128, as in the AVX-512 table.
struct DotInt8 {
  template <int kC, int kA, int kB>
  static void Run() {
    amx::DotUnsigned<kC, kA, kB>();
  }
};

// cells [rows, kPanel] = A B for one panel. An element of C is summed in the same order whatever
// the rows beside it.
template <class Dot, bool kTwoRowTiles>
void MultiplyPanel(const std::byte* a, size_t lda_bytes, const std::byte* b, size_t steps,
                   void* cells) {
  amx::Zero<0>();
  amx::Zero<1>();
  if constexpr (kTwoRowTiles) {
    amx::Zero<2>();
    amx::Zero<3>();
  }
  for (size_t i = 0; i < steps; ++i) {
    amx::Load<6>(b, 2 * kRowBytes);
    amx::Load<4>(a, lda_bytes);
    Dot::template Run<0, 4, 6>();
    amx::Load<7>(b + kRowBytes, 2 * kRowBytes);
    Dot::template Run<1, 4, 7>();
    if constexpr (kTwoRowTiles) {
      amx::Load<5>(a + kTileRows * lda_bytes, lda_bytes);
      Dot::template Run<2, 5, 6>();
      Dot::template Run<3, 5, 7>();
    }
    a += kRowBytes;
    b += kStepBytes;
  }
  std::byte* const out = static_cast<std::byte*>(cells);
  amx::Store<0>(out, kCellStride);
  amx::Store<1>(out + kRowBytes, kCellStride);
  if constexpr (kTwoRowTiles) {
    amx::Store<2>(out + kTileRows * kCellStride, kCellStride);
    amx::Store<3>(out + kTileRows * kCellStride + kRowBytes, kCellStride);
  }
}

struct Shape {
  size_t m;
  size_t n;
  size_t steps;  // of kRowBytes of a row of A
};

// C in blocks of kBlockRows by kPanel: finish(row, rows, column, columns, cells) takes each.
template <class Dot, class Finish>
void Multiply(const Shape& shape, const void* a, size_t lda_bytes, const void* packed_b,
              const Finish& finish) {
  if (shape.m == 0) return;
  // Panels that stay in the second-level cache while all rows pass.
  constexpr size_t kBlockBytes = 1 << 20;
  const size_t panel_bytes = shape.steps * kStepBytes;
  const size_t panels = (shape.n + kPanel - 1) / kPanel;
  const size_t fitting = panel_bytes == 0 ? panels : kBlockBytes / panel_bytes;
  const size_t block = fitting == 0 ? 1 : fitting;
  alignas(64) std::byte cells[kCells * sizeof(float)];
  size_t configured = shape.m < kBlockRows ? shape.m : kBlockRows;
  amx::Tiles tiles(ShapesOf(configured));
  for (size_t first = 0; first < panels; first += block) {
    const size_t end = panels - first < block ? panels : first + block;
    for (size_t row = 0; row < shape.m; row += kBlockRows) {
      const size_t rows = shape.m - row < kBlockRows ? shape.m - row : kBlockRows;
      if (rows != configured) {
        tiles.Configure(ShapesOf(rows));
        configured = rows;
      }
      const std::byte* const block_a = static_cast<const std::byte*>(a) + row * lda_bytes;
      for (size_t panel = first; panel < end; ++panel) {
        const std::byte* const b = static_cast<const std::byte*>(packed_b) + panel * panel_bytes;
        if (rows > kTileRows) {
          MultiplyPanel<Dot, true>(block_a, lda_bytes, b, shape.steps, cells);
        } else {
          MultiplyPanel<Dot, false>(block_a, lda_bytes, b, shape.steps, cells);
        }
        const size_t column = panel * kPanel;
        finish(row, rows, column, shape.n - column < kPanel ? shape.n - column : kPanel, cells);
      }
    }
  }
}

size_t StepsOf(size_t row_bytes) { return (row_bytes + kRowBytes - 1) / kRowBytes; }

void GemmBf16(const Kernels::Bf16Product& p) {
  const auto finish = [&p](size_t row, size_t rows, size_t column, size_t columns,
                           const std::byte* cells) {
    for (size_t j = 0; j < columns; j += 16) {
      const __mmask16 valid = FirstLanes(columns - j);
      const __m512 bias = p.bias == nullptr ? _mm512_setzero_ps()
                                            : _mm512_maskz_loadu_ps(valid, p.bias + column + j);
      for (size_t i = 0; i < rows; ++i) {
        const __m512 sum = _mm512_load_ps(cells + i * kCellStride + j * sizeof(float));
        _mm512_mask_storeu_ps(p.c + (row + i) * p.ldc + column + j, valid,
                              _mm512_add_ps(sum, bias));
      }
    }
  };
  Multiply<DotBf16>({p.m, p.n, StepsOf(p.k * sizeof(uint16_t))}, p.a, p.lda * sizeof(uint16_t),
                    p.packed_b, finish);
}

void GemmInt8(const Kernels::Int8Product& p) {
  const auto finish = [&p](size_t row, size_t rows, size_t column, size_t columns,
                           const std::byte* cells) {
    for (size_t j = 0; j < columns; j += 16) {
      const __mmask16 valid = FirstLanes(columns - j);
      const __m512i sums = _mm512_maskz_loadu_epi32(valid, p.b_sums + column + j);
      const __m512 scales = _mm512_maskz_loadu_ps(valid, p.b_scales + column + j);
      const __m512 bias = p.bias == nullptr ? _mm512_setzero_ps()
                                            : _mm512_maskz_loadu_ps(valid, p.bias + column + j);
      for (size_t i = 0; i < rows; ++i) {
        const Kernels::Int8Row& a = p.a_rows[row + i];
        const __m512i sum = _mm512_load_si512(cells + i * kCellStride + j * sizeof(int32_t));
        const __m512i offset = _mm512_mullo_epi32(sums, _mm512_set1_epi32(128 + a.zero));
        const __m512 exact = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, offset));
        const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(a.scale), scales);
        _mm512_mask_storeu_ps(p.c + (row + i) * p.ldc + column + j, valid,
                              _mm512_fmadd_ps(exact, scale, bias));
      }
    }
  };
  Multiply<DotInt8>({p.m, p.n, StepsOf(p.k)}, p.a, p.lda, p.packed_b, finish);
}

void RoundBf16(const float* x, size_t n, uint16_t* out) {
  Avx512Kernels().round_bf16(x, n, out);
  for (size_t i = (n + 1) / 2 * 2; i % (kRowBytes / sizeof(uint16_t)) != 0; ++i) out[i] = 0;
}

Kernels::Int8Row QuantizeInt8(const float* x, size_t n, uint8_t* out) {
  const Kernels::Int8Row row = Avx512Kernels().quantize_int8(x, n, out);
  for (size_t i = (n + 3) / 4 * 4; i % kRowBytes != 0; ++i) out[i] = 128;
  return row;
}

Kernels MakeTable() {
  static_assert(kPanel == simd::kPanelRegs * 16, "B is packed as for the AVX-512 table");
  Kernels table = Avx512Kernels();
  table.isa = Isa::kAmx;
  table.narrow_row_bytes = kRowBytes;
  table.gemm_bf16 = GemmBf16;
  table.gemm_int8 = GemmInt8;
  table.round_bf16 = RoundBf16;
  table.quantize_int8 = QuantizeInt8;
  return table;
}

}  // namespace

const Kernels& AmxKernels() {
  static const Kernels kTable = MakeTable();
  return kTable;
}

}  // namespace rag
