// Distances between vectors in the forms that an index stores them in: elements of several types,
// packed bits, and 8-bit codes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/runtime/runtime.h"

namespace rag {

// The numeric element types of stored rows; the index of the arrays in VectorKernels.
enum class RowType : uint8_t { kF32, kF16, kBF16, kI8, kU8 };
inline constexpr size_t kRowTypes = 5;

// A code is kCodeHeader bytes that belong to its owner, then u8 values up to the end of a multiple
// of kCodeAlign bytes. A query has zeros where the header is; so the header never counts.
inline constexpr size_t kCodeHeader = 4;
inline constexpr size_t kCodeAlign = 64;

struct VectorKernels {
  Isa isa;

  // An f32 query [n] against a row [n] of the type.
  using RowKernel = float (*)(const float* query, const std::byte* row, size_t n);
  RowKernel dot[kRowTypes];
  RowKernel l2_squared[kRowTypes];
  RowKernel l1[kRowTypes];

  // Packed bits; `bytes` is a multiple of 8.
  uint64_t (*hamming)(const std::byte* a, const std::byte* b, size_t bytes);
  // The bits set in both.
  uint64_t (*common)(const std::byte* a, const std::byte* b, size_t bytes);

  // Codes; `bytes` is a multiple of kCodeAlign, codes and query are aligned to it. The codes that
  // come later are fetched while the earlier ones are computed.
  // out[i] = sum of query[j] * codes[i][j].
  void (*code_dots)(const int8_t* query, const std::byte* const* codes, size_t count, size_t bytes,
                    int32_t* out);
  // out[i] = sum over the values of (from[j] - 128) * (codes[i][j] - 128).
  void (*code_pairs)(const std::byte* from, const std::byte* const* codes, size_t count,
                     size_t bytes, int32_t* out);
};

// The table of an instruction set; null when this build or this processor cannot run it.
const VectorKernels* GetVectorKernels(Isa isa);

}  // namespace rag
