// Distances between an f32 query and a row of another element type, written once over L and Op.
//
// L gives, beside what simd_vector.h says of V: Load(row, i) and LoadFirst(row, i, n), elements
// i ... of a row as f32, and Abs. Like V it lives in the unnamed namespace of its file.
#pragma once

#include <cstddef>

namespace rag::simd {

template <class V>
struct L1Step {
  static typename V::Reg Step(typename V::Reg a, typename V::Reg b, typename V::Reg sum) {
    return V::Add(sum, V::Abs(V::Sub(a, b)));
  }
};

template <class V, class L, class Op>
float ReduceRow(const float* query, const std::byte* row, size_t n) {
  constexpr size_t W = V::kWidth;
  typename V::Reg sums[4] = {V::Zero(), V::Zero(), V::Zero(), V::Zero()};
  size_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W) {
#pragma GCC unroll 4
    for (size_t c = 0; c < 4; ++c) {
      sums[c] = Op::Step(V::Load(query + i + c * W), L::Load(row, i + c * W), sums[c]);
    }
  }
  for (; i + W <= n; i += W) sums[0] = Op::Step(V::Load(query + i), L::Load(row, i), sums[0]);
  if (i < n) {
    sums[1] = Op::Step(V::LoadFirst(query + i, n - i), L::LoadFirst(row, i, n - i), sums[1]);
  }
  return V::SumLanes(V::Add(V::Add(sums[0], sums[1]), V::Add(sums[2], sums[3])));
}

}  // namespace rag::simd
