// The AMX table: products of narrow elements and attention on tiles, everything else as in the
// AVX-512 table.
#include "lib/kernels/amx_tiles.h"
#include "lib/kernels/avx512_intrinsics.h"
#include "lib/kernels/avx512_vector.h"
#include "lib/kernels/kernels.h"
#include "lib/kernels/simd_gemm.h"
#include "lib/kernels/simd_group_gemm.h"
#include "lib/kernels/simd_vector.h"
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

// How a step of 64 bytes of each row of A and each column of B is added to C. kSplit: rows of A
// hold their second halves behind the first, steps of B each behind its first.
struct Bf16Steps {
  static constexpr bool kSplit = false;
  template <int kC, int kA, int kB>
  static void Dot() {
    amx::DotBf16<kC, kA, kB>();
  }
};
struct SplitSteps : Bf16Steps {
  static constexpr bool kSplit = true;
};
// A holds value + 128, as in the AVX-512 table.
struct Int8Steps {
  static constexpr bool kSplit = false;
  template <int kC, int kA, int kB>
  static void Dot() {
    amx::DotUnsigned<kC, kA, kB>();
  }
};

// Steps of A that stay in the first-level cache with what passes of B: 24 KiB of kBlockRows rows.
template <class Steps>
inline constexpr size_t kBlockSteps = Steps::kSplit ? 6 : 12;
// Steps that B is asked for ahead of its use: the second-level cache answers within about one.
constexpr size_t kStepsAhead = 2;

template <class Steps, bool kTwoRowTiles>
void DotTiles(const std::byte* a, size_t lda_bytes) {
  amx::Load<4>(a, lda_bytes);
  Steps::template Dot<0, 4, 6>();
  Steps::template Dot<1, 4, 7>();
  if constexpr (kTwoRowTiles) {
    amx::Load<5>(a + kTileRows * lda_bytes, lda_bytes);
    Steps::template Dot<2, 5, 6>();
    Steps::template Dot<3, 5, 7>();
  }
}

// Where a block of C lies while its steps are summed: rows of f32 or int32, `stride` bytes apart.
struct Cells {
  std::byte* data;
  size_t stride;
};

template <bool kTwoRowTiles>
void ZeroCells() {
  amx::Zero<0>();
  amx::Zero<1>();
  if constexpr (kTwoRowTiles) {
    amx::Zero<2>();
    amx::Zero<3>();
  }
}

template <bool kTwoRowTiles>
void LoadCells(const Cells& cells) {
  amx::Load<0>(cells.data, cells.stride);
  amx::Load<1>(cells.data + kRowBytes, cells.stride);
  if constexpr (kTwoRowTiles) {
    amx::Load<2>(cells.data + kTileRows * cells.stride, cells.stride);
    amx::Load<3>(cells.data + kTileRows * cells.stride + kRowBytes, cells.stride);
  }
}

template <bool kTwoRowTiles>
void StoreCells(const Cells& cells) {
  amx::Store<0>(cells.data, cells.stride);
  amx::Store<1>(cells.data + kRowBytes, cells.stride);
  if constexpr (kTwoRowTiles) {
    amx::Store<2>(cells.data + kTileRows * cells.stride, cells.stride);
    amx::Store<3>(cells.data + kTileRows * cells.stride + kRowBytes, cells.stride);
  }
}

// Some steps of a panel. `a_low`: from a row's first half to its second one. `next`: what of B is
// multiplied after this. An element of C is summed in the same order whatever the rows beside it.
struct StepRange {
  const std::byte* a;
  size_t lda_bytes;
  size_t a_low;
  const std::byte* b;
  size_t count;
  const std::byte* next;
};

template <class Steps, bool kTwoRowTiles>
void AddSteps(const StepRange& range) {
  constexpr size_t kBytes = kStepBytes * (Steps::kSplit ? 2 : 1);
  const std::byte* a = range.a;
  const std::byte* b = range.b;
  for (size_t i = 0; i < range.count; ++i) {
    const std::byte* const ahead = i + kStepsAhead < range.count
                                       ? b + kStepsAhead * kBytes
                                       : range.next + (i + kStepsAhead - range.count) * kBytes;
#pragma GCC unroll 64
    for (size_t line = 0; line < kBytes; line += kRowBytes) {
      _mm_prefetch(reinterpret_cast<const char*>(ahead + line), _MM_HINT_T0);
    }
    if constexpr (Steps::kSplit) {
      // The second halves of B with the first of A, then both of A with the first of B.
      amx::Load<6>(b + kStepBytes, 2 * kRowBytes);
      amx::Load<7>(b + kStepBytes + kRowBytes, 2 * kRowBytes);
      DotTiles<Steps, kTwoRowTiles>(a, range.lda_bytes);
      amx::Load<6>(b, 2 * kRowBytes);
      amx::Load<7>(b + kRowBytes, 2 * kRowBytes);
      Steps::template Dot<0, 4, 6>();
      Steps::template Dot<1, 4, 7>();
      if constexpr (kTwoRowTiles) {
        Steps::template Dot<2, 5, 6>();
        Steps::template Dot<3, 5, 7>();
      }
      DotTiles<Steps, kTwoRowTiles>(a + range.a_low, range.lda_bytes);
    } else {
      amx::Load<6>(b, 2 * kRowBytes);
      amx::Load<7>(b + kRowBytes, 2 * kRowBytes);
      DotTiles<Steps, kTwoRowTiles>(a, range.lda_bytes);
    }
    a += kRowBytes;
    b += kBytes;
  }
}

struct Shape {
  size_t m;
  size_t n;
  size_t steps;  // of kRowBytes of a row of A
};

struct Operands {
  const std::byte* a;
  size_t lda_bytes;
  const std::byte* packed_b;
  std::byte* c;  // also where sums of some of the steps wait for the others
  size_t ldc_bytes;
};

// A block of rows times panels [first, end): finish(row, rows, column, columns, cells) takes each
// block of C. Steps come in blocks too, so that their part of A stays in the first-level cache.
template <class Steps, bool kTwoRowTiles, class Finish>
void MultiplyRows(const Shape& shape, const Operands& o, size_t row, size_t first, size_t end,
                  const Finish& finish) {
  constexpr size_t kBytes = kStepBytes * (Steps::kSplit ? 2 : 1);
  const size_t panel_bytes = shape.steps * kBytes;
  const size_t rows = shape.m - row < kBlockRows ? shape.m - row : kBlockRows;
  // In turn, so that the next product does not wait for this one's results to be read.
  alignas(64) std::byte cells[2][kCells * sizeof(float)];
  size_t step = 0;
  do {
    const size_t count =
        shape.steps - step < kBlockSteps<Steps> ? shape.steps - step : kBlockSteps<Steps>;
    for (size_t panel = first; panel < end; ++panel) {
      const size_t column = panel * kPanel;
      const bool whole = shape.n - column >= kPanel;
      const std::byte* const b = o.packed_b + panel * panel_bytes + step * kBytes;
      StepRange range = {.a = o.a + row * o.lda_bytes + step * kRowBytes,
                         .lda_bytes = o.lda_bytes,
                         .a_low = shape.steps * kRowBytes,
                         .b = b,
                         .count = count,
                         .next = panel + 1 < end ? b + panel_bytes : b};
      // The last panel's columns past C have no place to wait in: all steps at once.
      if (!whole) {
        if (step > 0) continue;
        range.count = shape.steps;
      }
      const Cells waiting = {o.c + row * o.ldc_bytes + column * sizeof(float), o.ldc_bytes};
      if (step == 0) {
        ZeroCells<kTwoRowTiles>();
      } else {
        LoadCells<kTwoRowTiles>(waiting);
      }
      AddSteps<Steps, kTwoRowTiles>(range);
      if (step + range.count < shape.steps) {
        StoreCells<kTwoRowTiles>(waiting);
        continue;
      }
      std::byte* const done = cells[panel % 2];
      StoreCells<kTwoRowTiles>({done, kCellStride});
      finish(row, rows, column, whole ? kPanel : shape.n - column, done);
    }
    step += count;
  } while (step < shape.steps);
}

template <class Steps, class Finish>
void Multiply(const Shape& shape, const Operands& operands, const Finish& finish) {
  if (shape.m == 0) return;
  // Panels that stay in the second-level cache while all rows pass.
  constexpr size_t kBlockBytes = 1 << 20;
  const size_t panel_bytes = shape.steps * kStepBytes * (Steps::kSplit ? 2 : 1);
  const size_t panels = (shape.n + kPanel - 1) / kPanel;
  const size_t fitting = panel_bytes == 0 ? panels : kBlockBytes / panel_bytes;
  const size_t block = fitting == 0 ? 1 : fitting;
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
      if (rows > kTileRows) {
        MultiplyRows<Steps, true>(shape, operands, row, first, end, finish);
      } else {
        MultiplyRows<Steps, false>(shape, operands, row, first, end, finish);
      }
    }
  }
}

size_t StepsOf(size_t row_bytes) { return (row_bytes + kRowBytes - 1) / kRowBytes; }

// run(f) with the activation as a function of a register.
template <class Run>
void WithActivation(Activation activation, const Run& run) {
  switch (activation) {
    case Activation::kNone:
      return run([](__m512 v) { return v; });
    case Activation::kGelu:
      return run([](__m512 v) { return simd::GeluOf<Avx512>(v); });
    case Activation::kGeluTanh:
      return run([](__m512 v) { return simd::GeluTanhOf<Avx512>(v); });
    case Activation::kSilu:
      return run([](__m512 v) { return simd::SiluOf<Avx512>(v); });
  }
}

template <class Steps>
void MultiplyBf16(const Kernels::Bf16Product& p) {
  WithActivation(p.activation, [&p](auto activate) {
    const auto finish = [&p, activate](size_t row, size_t rows, size_t column, size_t columns,
                                       const std::byte* cells) {
      for (size_t j = 0; j < columns; j += 16) {
        const __mmask16 valid = FirstLanes(columns - j);
        const __m512 bias = p.bias == nullptr ? _mm512_setzero_ps()
                                              : _mm512_maskz_loadu_ps(valid, p.bias + column + j);
        for (size_t i = 0; i < rows; ++i) {
          const __m512 sum = _mm512_load_ps(cells + i * kCellStride + j * sizeof(float));
          _mm512_mask_storeu_ps(p.c + (row + i) * p.ldc + column + j, valid,
                                activate(_mm512_add_ps(sum, bias)));
        }
      }
    };
    Multiply<Steps>({p.m, p.n, StepsOf(p.k * sizeof(uint16_t))},
                    {.a = reinterpret_cast<const std::byte*>(p.a),
                     .lda_bytes = p.lda * sizeof(uint16_t),
                     .packed_b = reinterpret_cast<const std::byte*>(p.packed_b),
                     .c = reinterpret_cast<std::byte*>(p.c),
                     .ldc_bytes = p.ldc * sizeof(float)},
                    finish);
  });
}

void GemmInt8(const Kernels::Int8Product& p) {
  const auto* const packed_b = reinterpret_cast<const std::byte*>(p.packed_b + kInt8Front);
  const size_t groups = StepsOf(p.k) * kRowBytes / simd::kGroupBytes;
  WithActivation(p.activation, [&p, packed_b, groups](auto activate) {
    const auto finish = [&p, packed_b, groups, activate](size_t row, size_t rows, size_t column,
                                                         size_t columns, const std::byte* cells) {
      for (size_t j = 0; j < columns; j += 16) {
        const __mmask16 valid = FirstLanes(columns - j);
        const __m512i sums = _mm512_maskz_loadu_epi32(valid, p.b_sums + column + j);
        const __m512 scales = _mm512_maskz_loadu_ps(valid, p.b_scales + column + j);
        const std::byte* const b = simd::ColumnsOf<Avx512>(packed_b, groups, column + j);
        const __m512 bias = p.bias == nullptr ? _mm512_setzero_ps()
                                              : _mm512_maskz_loadu_ps(valid, p.bias + column + j);
        for (size_t i = 0; i < rows; ++i) {
          const Kernels::Int8Row& a = p.a_rows[row + i];
          const __m512i sum = _mm512_load_si512(cells + i * kCellStride + j * sizeof(int32_t));
          const __m512i offset = _mm512_mullo_epi32(sums, _mm512_set1_epi32(128 + a.zero));
          const __m512 exact = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, offset));
          __m512 values[] = {_mm512_mul_ps(exact, _mm512_set1_ps(a.scale))};
          simd::AddOutliers<Avx512>(a, b, values);
          _mm512_mask_storeu_ps(p.c + (row + i) * p.ldc + column + j, valid,
                                activate(_mm512_fmadd_ps(values[0], scales, bias)));
        }
      }
    };
    Multiply<Int8Steps>({p.m, p.n, StepsOf(p.k)},
                        {.a = reinterpret_cast<const std::byte*>(p.a),
                         .lda_bytes = p.lda,
                         .packed_b = packed_b,
                         .c = reinterpret_cast<std::byte*>(p.c),
                         .ldc_bytes = p.ldc * sizeof(float)},
                        finish);
  });
}

void RoundBf16(const float* x, size_t n, uint16_t* out) {
  Avx512Kernels().round_bf16(x, n, out);
  for (size_t i = (n + 1) / 2 * 2; i % (kRowBytes / sizeof(uint16_t)) != 0; ++i) out[i] = 0;
}

void SplitBf16(const float* x, size_t n, uint16_t* out) {
  constexpr size_t kStep = kRowBytes / sizeof(uint16_t);
  const size_t padded = (n + kStep - 1) / kStep * kStep;
  for (size_t i = 0; i < padded; i += 16) {
    const __m512 value = _mm512_maskz_loadu_ps(FirstLanes(n > i ? n - i : 0), x + i);
    const __m256i high = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value));
    const __m512 widened = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
    const __m256i low =
        reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_sub_ps(value, widened)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), high);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + padded + i), low);
  }
}

Kernels::Int8Row QuantizeInt8(const float* x, size_t n, int32_t steps, float* rest, uint8_t* out) {
  const Kernels::Int8Row row = Avx512Kernels().quantize_int8(x, n, steps, rest, out);
  for (size_t i = (n + 3) / 4 * 4; i % kRowBytes != 0; ++i) out[i] = 128;
  return row;
}

Kernels MakeTable() {
  static_assert(kPanel == simd::kPanelRegs * 16, "B is packed as for the AVX-512 table");
  Kernels table = Avx512Kernels();
  table.isa = Isa::kAmx;
  table.narrow_row_bytes = kRowBytes;
  table.gemm_bf16 = MultiplyBf16<Bf16Steps>;
  table.gemm_split = MultiplyBf16<SplitSteps>;
  table.gemm_int8 = GemmInt8;
  table.round_bf16 = RoundBf16;
  table.split_bf16 = SplitBf16;
  table.quantize_int8 = QuantizeInt8;
  table.attention = AmxAttention;
  return table;
}

}  // namespace

const Kernels& AmxKernels() {
  static const Kernels kTable = MakeTable();
  return kTable;
}

}  // namespace rag
