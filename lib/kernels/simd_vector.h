// Kernels on vectors, written once over a vector type V and compiled for each instruction set by
// the file that defines V (kernels_avx2.cc, kernels_avx512.cc).
//
// V lives in that file's unnamed namespace, so that every template instantiated with it has
// internal linkage: the linker can never take one instruction set's code for another's. For the
// same reason nothing here calls an inline function of the standard library.
//
// V gives: Reg; kWidth, elements a register; Load, Store, LoadFirst and StoreFirst (the first n
// lanes, the others zero or untouched); Set, Zero, Add, Sub, Mul, Div, Min, Max (the second operand
// when either is NaN), MulAdd (a * b + c), NegMulAdd (c - a * b), Round, Sqrt, Quotient (see
// avx512_vector.h), ScaleByPowerOf2, KeepFirst (the lanes past the first n become zero), ZeroIfLess
// (x < bound ? 0 : value), SumLanes, MaxLanes; FindMagnitude (the first lane of that magnitude, or
// kWidth); LoadBytes (every fourth byte from here on, signed, as f32; three in front of it are read
// too); the shapes of tiles: kReduceRows, kTileRows, kTileRegs, and kRowGroups, what rows of
// groups are filled up to (simd_group_gemm.h); and how simd_gemm.h walks packed B: kBlockRows of a
// panel at a time, as many panels as kBlockBytes hold, kPrefetchRows of a panel asked for ahead.
#pragma once

#include <cstddef>

#include "lib/kernels/kernels.h"
#include "lib/kernels/simd_math.h"

namespace rag::simd {

// --- distances ---

// Both sums keep kChains partial registers for each row, combined in one order, so that a row's
// result is the same whether it is computed alone or among others.
inline constexpr size_t kChains = 4;

template <class V>
struct DotStep {
  static typename V::Reg Step(typename V::Reg a, typename V::Reg b, typename V::Reg sum) {
    return V::MulAdd(a, b, sum);
  }
};

template <class V>
struct L2Step {
  static typename V::Reg Step(typename V::Reg a, typename V::Reg b, typename V::Reg sum) {
    const typename V::Reg difference = V::Sub(a, b);
    return V::MulAdd(difference, difference, sum);
  }
};

// out[r] = the sum of Op over (query, rows + r * stride) for r < R.
template <class V, class Op, size_t R>
void ReduceRows(const float* query, const float* rows, size_t stride, size_t dim, float* out) {
  constexpr size_t W = V::kWidth;
  typename V::Reg sums[R][kChains];
#pragma GCC unroll 4
  for (size_t r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (size_t c = 0; c < kChains; ++c) sums[r][c] = V::Zero();
  }
  size_t i = 0;
  for (; i + kChains * W <= dim; i += kChains * W) {
#pragma GCC unroll 4
    for (size_t c = 0; c < kChains; ++c) {
      const typename V::Reg q = V::Load(query + i + c * W);
#pragma GCC unroll 4
      for (size_t r = 0; r < R; ++r) {
        sums[r][c] = Op::Step(q, V::Load(rows + r * stride + i + c * W), sums[r][c]);
      }
    }
  }
  for (; i + W <= dim; i += W) {
    const typename V::Reg q = V::Load(query + i);
#pragma GCC unroll 4
    for (size_t r = 0; r < R; ++r) {
      sums[r][0] = Op::Step(q, V::Load(rows + r * stride + i), sums[r][0]);
    }
  }
  if (i < dim) {
    const typename V::Reg q = V::LoadFirst(query + i, dim - i);
#pragma GCC unroll 4
    for (size_t r = 0; r < R; ++r) {
      sums[r][1] = Op::Step(q, V::LoadFirst(rows + r * stride + i, dim - i), sums[r][1]);
    }
  }
#pragma GCC unroll 4
  for (size_t r = 0; r < R; ++r) {
    out[r] = V::SumLanes(V::Add(V::Add(sums[r][0], sums[r][1]), V::Add(sums[r][2], sums[r][3])));
  }
}

template <class V, class Op>
float Reduce(const float* a, const float* b, size_t n) {
  float out;
  ReduceRows<V, Op, 1>(a, b, 0, n, &out);
  return out;
}

template <class V, class Op>
void ReduceAllRows(const float* query, const float* rows, size_t stride, size_t count, size_t dim,
                   float* out) {
  constexpr size_t R = V::kReduceRows;
  size_t i = 0;
  for (; i + R <= count; i += R) {
    ReduceRows<V, Op, R>(query, rows + i * stride, stride, dim, out + i);
  }
  for (; i < count; ++i) ReduceRows<V, Op, 1>(query, rows + i * stride, stride, dim, out + i);
}

// --- elementwise ---

// x[i] = f(x[i]).
template <class V, class F>
void MapInPlace(float* x, size_t n, F f) {
  constexpr size_t W = V::kWidth;
  size_t i = 0;
  for (; i + W <= n; i += W) V::Store(x + i, f(V::Load(x + i)));
  if (i < n) V::StoreFirst(x + i, f(V::LoadFirst(x + i, n - i)), n - i);
}

template <class V>
typename V::Reg GeluOf(typename V::Reg v) {
  const typename V::Reg half = V::Mul(v, V::Set(0.5f));
  return V::MulAdd(half, Erf<V>(V::Mul(v, V::Set(0.70710678f))), half);
}

// 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
template <class V>
typename V::Reg GeluTanhOf(typename V::Reg v) {
  const typename V::Reg cubic = V::MulAdd(V::Mul(V::Mul(v, v), v), V::Set(0.044715f), v);
  const typename V::Reg e = Exp<V>(V::Mul(cubic, V::Set(-1.59576912f)));
  return V::Div(v, V::Add(e, V::Set(1.0f)));
}

template <class V>
typename V::Reg SiluOf(typename V::Reg v) {
  return V::Div(v, V::Add(Exp<V>(V::Sub(V::Zero(), v)), V::Set(1.0f)));
}

template <class V>
void Gelu(float* x, size_t n) {
  MapInPlace<V>(x, n, [](typename V::Reg v) { return GeluOf<V>(v); });
}

template <class V>
void GeluTanh(float* x, size_t n) {
  MapInPlace<V>(x, n, [](typename V::Reg v) { return GeluTanhOf<V>(v); });
}

template <class V>
void Silu(float* x, size_t n) {
  MapInPlace<V>(x, n, [](typename V::Reg v) { return SiluOf<V>(v); });
}

// x = activation(x), elementwise.
template <class V>
void Activate(Activation activation, float* x, size_t n) {
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kGelu:
      return Gelu<V>(x, n);
    case Activation::kGeluTanh:
      return GeluTanh<V>(x, n);
    case Activation::kSilu:
      return Silu<V>(x, n);
  }
}

template <class V>
void Add(float* x, const float* y, size_t n) {
  constexpr size_t W = V::kWidth;
  size_t i = 0;
  for (; i + W <= n; i += W) V::Store(x + i, V::Add(V::Load(x + i), V::Load(y + i)));
  for (; i < n; ++i) x[i] += y[i];
}

template <class V>
void Mul(float* x, const float* y, size_t n) {
  constexpr size_t W = V::kWidth;
  size_t i = 0;
  for (; i + W <= n; i += W) V::Store(x + i, V::Mul(V::Load(x + i), V::Load(y + i)));
  for (; i < n; ++i) x[i] *= y[i];
}

template <class V>
void Axpy(float a, const float* x, float* y, size_t n) {
  constexpr size_t W = V::kWidth;
  const typename V::Reg scale = V::Set(a);
  size_t i = 0;
  for (; i + W <= n; i += W) V::Store(y + i, V::MulAdd(scale, V::Load(x + i), V::Load(y + i)));
  if (i < n) {
    const size_t rest = n - i;
    V::StoreFirst(y + i, V::MulAdd(scale, V::LoadFirst(x + i, rest), V::LoadFirst(y + i, rest)),
                  rest);
  }
}

// --- rows ---

// The sum of f(x[i]).
template <class V, class F>
float SumOf(const float* x, size_t n, F f) {
  constexpr size_t W = V::kWidth;
  typename V::Reg sums[2] = {V::Zero(), V::Zero()};
  size_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    sums[0] = V::Add(sums[0], f(V::Load(x + i)));
    sums[1] = V::Add(sums[1], f(V::Load(x + i + W)));
  }
  for (; i + W <= n; i += W) sums[0] = V::Add(sums[0], f(V::Load(x + i)));
  float sum = V::SumLanes(V::Add(sums[0], sums[1]));
  if (i < n) sum += V::SumLanes(V::KeepFirst(f(V::LoadFirst(x + i, n - i)), n - i));
  return sum;
}

// The largest magnitude of x.
template <class V>
float MaxMagnitude(const float* x, size_t n) {
  constexpr size_t W = V::kWidth;
  typename V::Reg largest = V::Zero();
  const auto widen = [&largest](typename V::Reg v) {
    largest = V::Max(V::Max(v, V::Sub(V::Zero(), v)), largest);
  };
  size_t i = 0;
  for (; i + W <= n; i += W) widen(V::Load(x + i));
  if (i < n) widen(V::LoadFirst(x + i, n - i));
  return V::MaxLanes(largest);
}

// Copies x [n], n <= kMaxInt8Depth, to `rest`, where the outliers, which `row` is given, are zeros.
// The first of equal ones is taken; NaN is none.
template <class V>
void TakeOutliers(const float* x, size_t n, float* rest, Kernels::Int8Row& row) {
  constexpr size_t W = V::kWidth;
  // Few enough that one is searched quickly, enough that there are few.
  constexpr size_t kBlock = 64;
  float largest[(kMaxInt8Depth + kBlock - 1) / kBlock];
  const size_t blocks = (n + kBlock - 1) / kBlock;
  const auto size_of = [n](size_t block) {
    return n - block * kBlock < kBlock ? n - block * kBlock : kBlock;
  };
  size_t i = 0;
  for (; i + W <= n; i += W) V::Store(rest + i, V::Load(x + i));
  if (i < n) V::StoreFirst(rest + i, V::LoadFirst(x + i, n - i), n - i);
  for (size_t b = 0; b < blocks; ++b) largest[b] = MaxMagnitude<V>(x + b * kBlock, size_of(b));
  for (Kernels::Int8Row::Outlier& outlier : row.outliers) {
    outlier = {0, 0.0f};
    size_t block = 0;
    for (size_t b = 1; b < blocks; ++b) block = largest[b] > largest[block] ? b : block;
    const float magnitude = blocks > 0 ? largest[block] : 0.0f;
    if (!(magnitude > 0)) continue;
    const size_t begin = block * kBlock;
    const size_t end = begin + size_of(block);
    size_t at = begin;
    size_t lane = W;
    for (; at + W <= end; at += W) {
      lane = V::FindMagnitude(V::Load(rest + at), magnitude);
      if (lane < W) break;
    }
    if (lane == W && at < end)
      lane = V::FindMagnitude(V::LoadFirst(rest + at, end - at), magnitude);
    if (lane == W) continue;
    at += lane;
    outlier = {static_cast<uint32_t>(at), rest[at]};
    rest[at] = 0.0f;
    largest[block] = MaxMagnitude<V>(rest + begin, end - begin);
  }
}

template <class V>
float MaxOf(const float* x, size_t n) {
  constexpr size_t W = V::kWidth;
  typename V::Reg largest = V::Set(kMinusInfinity);
  size_t i = 0;
  if (n >= 4 * W) {
    typename V::Reg chains[4] = {largest, largest, largest, largest};
    for (; i + 4 * W <= n; i += 4 * W) {
#pragma GCC unroll 4
      for (size_t c = 0; c < 4; ++c) chains[c] = V::Max(chains[c], V::Load(x + i + c * W));
    }
    largest = V::Max(V::Max(chains[0], chains[1]), V::Max(chains[2], chains[3]));
  }
  for (; i + W <= n; i += W) largest = V::Max(largest, V::Load(x + i));
  float result = V::MaxLanes(largest);
  for (; i < n; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

// x[i] = exp((x[i] - shift) * scale); gives their sum.
template <class V>
float ExpRow(float* x, size_t n, float shift, float scale) {
  constexpr size_t W = V::kWidth;
  const typename V::Reg factor = V::Set(scale);
  const typename V::Reg minus = V::Set(shift);
  typename V::Reg sum = V::Zero();
  size_t i = 0;
  for (; i + W <= n; i += W) {
    const typename V::Reg e = Exp<V>(V::Mul(V::Sub(V::Load(x + i), minus), factor));
    V::Store(x + i, e);
    sum = V::Add(sum, e);
  }
  if (i < n) {
    const typename V::Reg e =
        V::KeepFirst(Exp<V>(V::Mul(V::Sub(V::LoadFirst(x + i, n - i), minus), factor)), n - i);
    V::StoreFirst(x + i, e, n - i);
    sum = V::Add(sum, e);
  }
  return V::SumLanes(sum);
}

template <class V>
void Softmax(float* row, size_t n) {
  const float largest = MaxOf<V>(row, n);
  if (largest == kMinusInfinity) {
    for (size_t i = 0; i < n; ++i) row[i] = 0.0f;
    return;
  }
  const typename V::Reg scale = V::Set(1.0f / ExpRow<V>(row, n, largest, 1.0f));
  MapInPlace<V>(row, n, [scale](typename V::Reg v) { return V::Mul(v, scale); });
}

template <class V>
void LayerNorm(const float* x, const float* gamma, const float* beta, float epsilon, float* out,
               size_t n) {
  if (n == 0) return;
  constexpr size_t W = V::kWidth;
  const float count = static_cast<float>(n);
  const typename V::Reg mean = V::Set(SumOf<V>(x, n, [](typename V::Reg v) { return v; }) / count);
  const float variance = SumOf<V>(x, n,
                                  [mean](typename V::Reg v) {
                                    const typename V::Reg centred = V::Sub(v, mean);
                                    return V::Mul(centred, centred);
                                  }) /
                         count;
  const typename V::Reg scale = V::Div(V::Set(1.0f), V::Sqrt(V::Set(variance + epsilon)));
  const auto apply = [&](typename V::Reg v, typename V::Reg g, typename V::Reg b) {
    return V::MulAdd(V::Mul(V::Sub(v, mean), scale), g, b);
  };
  size_t i = 0;
  for (; i + W <= n; i += W) {
    V::Store(out + i, apply(V::Load(x + i), V::Load(gamma + i), V::Load(beta + i)));
  }
  if (i < n) {
    const size_t rest = n - i;
    V::StoreFirst(out + i,
                  apply(V::LoadFirst(x + i, rest), V::LoadFirst(gamma + i, rest),
                        V::LoadFirst(beta + i, rest)),
                  rest);
  }
}

template <class V>
void RmsNorm(const float* x, const float* gamma, float epsilon, float* out, size_t n) {
  if (n == 0) return;
  constexpr size_t W = V::kWidth;
  const float squares = SumOf<V>(x, n, [](typename V::Reg v) { return V::Mul(v, v); });
  const typename V::Reg scale =
      V::Div(V::Set(1.0f), V::Sqrt(V::Set(squares / static_cast<float>(n) + epsilon)));
  size_t i = 0;
  for (; i + W <= n; i += W) {
    V::Store(out + i, V::Mul(V::Mul(V::Load(x + i), scale), V::Load(gamma + i)));
  }
  if (i < n) {
    const size_t rest = n - i;
    V::StoreFirst(out + i,
                  V::Mul(V::Mul(V::LoadFirst(x + i, rest), scale), V::LoadFirst(gamma + i, rest)),
                  rest);
  }
}

}  // namespace rag::simd
