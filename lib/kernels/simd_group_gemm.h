// Matrix products of narrow elements, 2 of bf16 or 4 of int8 in every 32 bits, over a type G.
//
// As in simd_gemm.h a tile of C stays in registers, here for all of k: a panel of narrow elements
// passes through the first-level cache at a fraction of what the multipliers could take. Every
// element of C is one chain of sums in order of k: a row of C depends on its row of A alone, bit
// for bit.
//
// G gives: V, the f32 vector type (simd_vector.h); kTileRows; kStep, the groups that are multiplied
// at once; kPrefetchRows, the groups of a panel that are asked for ahead; Sum, a register of sums;
// Factor and Columns, what is multiplied; Zero(); Broadcast(const std::byte* groups), kStep groups
// of A for every column; Load(const std::byte* columns), a group of each of kWidth columns of B,
// and the further ones of kStep each a panel's row behind; Dot(sum, factor, columns). Of what has
// been summed: Ends, what a register of columns ends with; LoadEnds(args, column, n), for the first
// n from `column` on; Value(sum, ends, args, row), in f32; kOutliers, whether these are added; and
// Finish(value, ends), the elements of C.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/kernels/kernels.h"
#include "lib/kernels/simd_gemm.h"
#include "lib/kernels/simd_vector.h"
#include "lib/kernels/tables.h"

namespace rag::simd {

inline constexpr size_t kGroupBytes = 4;

// What LoadEnds and Value need of the product. Sizes in bytes where they say so.
struct GroupArgs {
  size_t m;
  size_t n;
  size_t groups;  // of k, a multiple of kStep
  const std::byte* a;
  size_t lda_bytes;
  const std::byte* packed_b;
  const float* bias;               // or null
  const Kernels::Int8Row* a_rows;  // [m], of int8
  const float* b_scales;           // [n]
  const int32_t* b_sums;           // [n]
  float* c;
  size_t ldc;
  Activation activation;
};

// The bias of the first n columns from `column` on, or zeros.
template <class V>
typename V::Reg LoadBias(const GroupArgs& args, size_t column, size_t n) {
  return args.bias == nullptr ? V::Zero() : V::LoadFirst(args.bias + column, n);
}

// What a G whose sums are f32 ends with.
template <class V>
struct FloatSums {
  static constexpr bool kOutliers = false;
  using Ends = typename V::Reg;  // bias
  static Ends LoadEnds(const GroupArgs& args, size_t column, size_t n) {
    return LoadBias<V>(args, column, n);
  }
  static typename V::Reg Value(typename V::Reg sum, const Ends&, const GroupArgs&, size_t) {
    return sum;
  }
  static typename V::Reg Finish(typename V::Reg value, const Ends& bias) {
    return V::Add(value, bias);
  }
};

// Where the first groups of `column` and those behind it lie in packed B.
template <class V>
const std::byte* ColumnsOf(const std::byte* packed_b, size_t groups, size_t column) {
  constexpr size_t kPanel = kPanelRegs * V::kWidth;
  return packed_b + (column / kPanel * kPanel * groups + column % kPanel) * kGroupBytes;
}

// Adds to `sums` of a row of int8, in the row's own values, what its outliers give; `columns` as
// ColumnsOf gives it.
template <class V, size_t N>
void AddOutliers(const Kernels::Int8Row& row, const std::byte* columns,
                 typename V::Reg (&sums)[N]) {
  constexpr size_t kPanelRow = kPanelRegs * V::kWidth * kGroupBytes;
#pragma GCC unroll 4
  for (const Kernels::Int8Row::Outlier& outlier : row.outliers) {
    const std::byte* const bytes = columns + outlier.index / 4 * kPanelRow + outlier.index % 4;
    const typename V::Reg value = V::Set(outlier.value);
#pragma GCC unroll 2
    for (size_t j = 0; j < N; ++j) {
      sums[j] = V::MulAdd(V::LoadBytes(bytes + j * V::kWidth * kGroupBytes), value, sums[j]);
    }
  }
}

// C [R, columns] at (row, column); columns <= 2 * kWidth.
template <class G, size_t R>
void GroupTile(const GroupArgs& args, size_t row, size_t column, size_t columns,
               const std::byte* panel) {
  using V = typename G::V;
  constexpr size_t W = V::kWidth;
  constexpr size_t N = kPanelRegs;
  typename G::Sum sums[R][N];
#pragma GCC unroll 12
  for (size_t r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (size_t j = 0; j < N; ++j) sums[r][j] = G::Zero();
  }
  const std::byte* a = args.a + row * args.lda_bytes;
  const std::byte* b = panel;
  for (size_t i = 0; i < args.groups; i += G::kStep) {
    if constexpr (G::kPrefetchRows > 0) {
      constexpr size_t kRowBytes = N * W * kGroupBytes;
#pragma GCC unroll 4
      for (size_t j = 0; j < G::kStep * kRowBytes; j += kLineBytes) {
        __builtin_prefetch(b + G::kPrefetchRows * kRowBytes + j);
      }
    }
    typename G::Columns columns_of_b[N];
#pragma GCC unroll 2
    for (size_t j = 0; j < N; ++j) columns_of_b[j] = G::Load(b + j * W * kGroupBytes);
    b += G::kStep * N * W * kGroupBytes;
#pragma GCC unroll 12
    for (size_t r = 0; r < R; ++r) {
      const typename G::Factor factor = G::Broadcast(a + r * args.lda_bytes);
#pragma GCC unroll 2
      for (size_t j = 0; j < N; ++j) sums[r][j] = G::Dot(sums[r][j], factor, columns_of_b[j]);
    }
    a += G::kStep * kGroupBytes;
  }
  const auto valid = [columns](size_t j) {
    return columns >= (j + 1) * W ? W : (columns > j * W ? columns - j * W : 0);
  };
  typename G::Ends ends[N];
#pragma GCC unroll 2
  for (size_t j = 0; j < N; ++j) ends[j] = G::LoadEnds(args, column + j * W, valid(j));
  // What follows takes them from memory: g++ would store every sum at every step for it else.
  typename G::Sum totals[R][N];
#pragma GCC unroll 12
  for (size_t r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (size_t j = 0; j < N; ++j) totals[r][j] = sums[r][j];
  }
#pragma GCC unroll 1
  for (size_t r = 0; r < R; ++r) {
    typename V::Reg values[N];
#pragma GCC unroll 2
    for (size_t j = 0; j < N; ++j) values[j] = G::Value(totals[r][j], ends[j], args, row + r);
    if constexpr (G::kOutliers) AddOutliers<V>(args.a_rows[row + r], panel, values);
#pragma GCC unroll 2
    for (size_t j = 0; j < N; ++j) {
      float* const to = args.c + (row + r) * args.ldc + column + j * W;
      const typename V::Reg value = G::Finish(values[j], ends[j]);
      if (columns == N * W) {
        V::Store(to, value);
      } else {
        V::StoreFirst(to, value, valid(j));
      }
    }
  }
  if (args.activation == Activation::kNone) return;
  for (size_t r = 0; r < R; ++r) {
    Activate<V>(args.activation, args.c + (row + r) * args.ldc + column, columns);
  }
}

using GroupTileFunction = void (*)(const GroupArgs&, size_t, size_t, size_t, const std::byte*);

template <class G, size_t R>
GroupTileFunction ChooseGroupTile(size_t rows) {
  if constexpr (R > 1) {
    if (rows < R) return ChooseGroupTile<G, R - 1>(rows);
  }
  return GroupTile<G, R>;
}

template <class G>
void GroupGemm(const GroupArgs& args) {
  constexpr size_t kPanel = kPanelRegs * G::V::kWidth;
  constexpr size_t R = G::kTileRows;
  // Panels that stay in the second-level cache while all rows pass.
  constexpr size_t kBlockBytes = 512 << 10;
  const size_t panel_bytes = args.groups * kPanel * kGroupBytes;
  const size_t panels = (args.n + kPanel - 1) / kPanel;
  const size_t fitting = panel_bytes == 0 ? panels : kBlockBytes / panel_bytes;
  const size_t block = fitting == 0 ? 1 : fitting;
  for (size_t first = 0; first < panels; first += block) {
    const size_t end = panels - first < block ? panels : first + block;
    for (size_t row = 0; row < args.m; row += R) {
      const size_t rows = args.m - row < R ? args.m - row : R;
      const GroupTileFunction tile = ChooseGroupTile<G, R>(rows);
      for (size_t panel = first; panel < end; ++panel) {
        const size_t column = panel * kPanel;
        const size_t columns = args.n - column < kPanel ? args.n - column : kPanel;
        tile(args, row, column, columns, args.packed_b + panel * panel_bytes);
      }
    }
  }
}

// Groups of a row of k elements, `size` in each, filled up to what is multiplied at once.
template <class G>
size_t GroupsOf(size_t k, size_t size) {
  const size_t step = size * G::V::kRowGroups;
  return (k + step - 1) / step * G::V::kRowGroups;
}

// Kernels::gemm_bf16 and gemm_int8.
template <class G>
void GemmBf16(const Kernels::Bf16Product& p) {
  GroupGemm<G>({.m = p.m,
                .n = p.n,
                .groups = GroupsOf<G>(p.k, 2),
                .a = reinterpret_cast<const std::byte*>(p.a),
                .lda_bytes = p.lda * 2,
                .packed_b = reinterpret_cast<const std::byte*>(p.packed_b),
                .bias = p.bias,
                .a_rows = nullptr,
                .b_scales = nullptr,
                .b_sums = nullptr,
                .c = p.c,
                .ldc = p.ldc,
                .activation = p.activation});
}

template <class G>
void GemmInt8(const Kernels::Int8Product& p) {
  GroupGemm<G>({.m = p.m,
                .n = p.n,
                .groups = GroupsOf<G>(p.k, 4),
                .a = reinterpret_cast<const std::byte*>(p.a),
                .lda_bytes = p.lda,
                .packed_b = reinterpret_cast<const std::byte*>(p.packed_b + kInt8Front),
                .bias = p.bias,
                .a_rows = p.a_rows,
                .b_scales = p.b_scales,
                .b_sums = p.b_sums,
                .c = p.c,
                .ldc = p.ldc,
                .activation = p.activation});
}

}  // namespace rag::simd
