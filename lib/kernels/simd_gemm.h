// Matrix product over a vector type V (see simd_vector.h).
//
// A tile of C, R rows by P panels of 2 registers each, stays in registers while k runs. Every
// element of C is one chain of multiply-adds in order of k, whatever the tile's size: a row of C
// depends on its row of A alone, bit for bit.
#pragma once

#include <cstddef>

namespace rag::simd {

// Registers of a panel of packed B.
inline constexpr size_t kPanelRegs = 2;

inline constexpr size_t kLineBytes = 64;  // of the caches

// Where a tile reads B and how its sums begin.
struct TileB {
  const float* b;       // first panel; k rows of `row_stride` floats
  size_t row_stride;    // the panel's width in packed B
  size_t panel_stride;  // from one panel to the next
  const float* bias;    // [columns] or null, when not accumulating
  bool accumulate;      // the sums begin with C
};

// c [R, columns] = sums, columns <= P * 2 * kWidth; the last panel may be partly there. With
// kMaskB only valid columns of B are read, else whole panels are (packed B is filled up).
template <class V, size_t R, size_t P, bool kMaskB>
void Tile(size_t k, size_t columns, const float* a, size_t lda, const TileB& operand, float* c,
          size_t ldc) {
  constexpr size_t W = V::kWidth;
  constexpr size_t N = P * kPanelRegs;
  using Reg = typename V::Reg;
  const auto valid = [columns](size_t j) {
    return columns >= (j + 1) * W ? W : (columns > j * W ? columns - j * W : 0);
  };
  const bool full = columns == N * W;
  Reg sums[R][N];
  if (operand.accumulate) {
#pragma GCC unroll 12
    for (size_t r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (size_t j = 0; j < N; ++j) {
        const float* from = c + r * ldc + j * W;
        sums[r][j] = full ? V::Load(from) : V::LoadFirst(from, valid(j));
      }
    }
  } else {
#pragma GCC unroll 8
    for (size_t j = 0; j < N; ++j) {
      Reg first = V::Zero();
      if (operand.bias != nullptr) first = V::LoadFirst(operand.bias + j * W, valid(j));
#pragma GCC unroll 12
      for (size_t r = 0; r < R; ++r) sums[r][j] = first;
    }
  }
  const float* b = operand.b;
#pragma GCC unroll 4
  for (size_t i = 0; i < k; ++i) {
    if constexpr (V::kPrefetchRows > 0 && !kMaskB) {
#pragma GCC unroll 4
      for (size_t p = 0; p < P; ++p) {
        const float* const ahead =
            b + p * operand.panel_stride + V::kPrefetchRows * operand.row_stride;
#pragma GCC unroll 2
        for (size_t j = 0; j < kPanelRegs * W; j += kLineBytes / sizeof(float)) {
          __builtin_prefetch(ahead + j);
        }
      }
    }
    Reg columns_of_b[N];
#pragma GCC unroll 8
    for (size_t j = 0; j < N; ++j) {
      const float* from = b + (j / kPanelRegs) * operand.panel_stride + (j % kPanelRegs) * W;
      columns_of_b[j] = kMaskB ? V::LoadFirst(from, valid(j)) : V::Load(from);
    }
    b += operand.row_stride;
#pragma GCC unroll 12
    for (size_t r = 0; r < R; ++r) {
      const Reg factor = V::Set(a[r * lda + i]);
#pragma GCC unroll 8
      for (size_t j = 0; j < N; ++j) sums[r][j] = V::MulAdd(factor, columns_of_b[j], sums[r][j]);
    }
  }
#pragma GCC unroll 12
  for (size_t r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (size_t j = 0; j < N; ++j) {
      float* to = c + r * ldc + j * W;
      if (full) {
        V::Store(to, sums[r][j]);
      } else {
        V::StoreFirst(to, sums[r][j], valid(j));
      }
    }
  }
}

// Panels of a tile of R rows: a few rows take several panels, so that there are enough independent
// sums to keep the multipliers busy.
template <class V, size_t R>
inline constexpr size_t kTilePanels = V::kTileRegs / (R * kPanelRegs) >= 4   ? 4
                                      : V::kTileRegs / (R * kPanelRegs) >= 2 ? 2
                                                                             : 1;

// Rows [0, R) of C for the panels [0, panels) of a block of B; `columns` counts to the end of C.
template <class V, size_t R>
void RowTiles(size_t k, size_t columns, size_t panels, const float* a, size_t lda, TileB operand,
              float* c, size_t ldc) {
  constexpr size_t P = kTilePanels<V, R>;
  constexpr size_t kPanel = kPanelRegs * V::kWidth;
  const auto step = [&](size_t count) {
    const size_t width = count * kPanel < columns ? count * kPanel : columns;
    operand.b += count * operand.panel_stride;
    if (operand.bias != nullptr) operand.bias += width;
    c += width;
    columns -= width;
    panels -= count;
  };
  const auto width_of = [&](size_t count) {
    return count * kPanel < columns ? count * kPanel : columns;
  };
  while (panels >= P) {
    Tile<V, R, P, false>(k, width_of(P), a, lda, operand, c, ldc);
    step(P);
  }
  while (panels > 0) {
    Tile<V, R, 1, false>(k, width_of(1), a, lda, operand, c, ldc);
    step(1);
  }
}

template <class V>
using RowTilesFunction = void (*)(size_t, size_t, size_t, const float*, size_t, TileB, float*,
                                  size_t);

template <class V, size_t R>
void ChooseRowTiles(size_t rows, RowTilesFunction<V>& chosen) {
  if constexpr (R > 0) {
    if (rows == R) {
      chosen = RowTiles<V, R>;
    } else {
      ChooseRowTiles<V, R - 1>(rows, chosen);
    }
  }
}

// Kernels::gemm.
template <class V>
void Gemm(size_t m, size_t n, size_t k, const float* a, size_t lda, const float* packed_b,
          const float* bias, float* c, size_t ldc) {
  constexpr size_t kPanel = kPanelRegs * V::kWidth;
  // kBlockK rows of a panel pass through the first-level cache for each tile of rows; kBlockPanels
  // of them stay in the second level.
  constexpr size_t kBlockK = V::kBlockRows;
  constexpr size_t kBlockPanels = V::kBlockBytes / (kBlockK * kPanel * sizeof(float));
  const size_t panels = (n + kPanel - 1) / kPanel;
  for (size_t first_panel = 0; first_panel < panels; first_panel += kBlockPanels) {
    const size_t count = panels - first_panel < kBlockPanels ? panels - first_panel : kBlockPanels;
    const size_t column = first_panel * kPanel;
    const size_t columns = n - column < count * kPanel ? n - column : count * kPanel;
    size_t first_k = 0;
    do {
      const size_t depth = k - first_k < kBlockK ? k - first_k : kBlockK;
      const TileB operand = {
          .b = packed_b + first_panel * kPanel * k + first_k * kPanel,
          .row_stride = kPanel,
          .panel_stride = kPanel * k,
          .bias = bias == nullptr ? nullptr : bias + column,
          .accumulate = first_k > 0,
      };
      RowTilesFunction<V> tiles = RowTiles<V, V::kTileRows>;
      for (size_t row = 0; row < m; row += V::kTileRows) {
        const size_t rows = m - row;
        if (rows < V::kTileRows) ChooseRowTiles<V, V::kTileRows - 1>(rows, tiles);
        tiles(depth, columns, count, a + row * lda + first_k, lda, operand, c + row * ldc + column,
              ldc);
      }
      first_k += depth;
    } while (first_k < k);
  }
}

}  // namespace rag::simd
