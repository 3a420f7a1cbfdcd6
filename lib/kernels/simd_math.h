// Elementary functions on registers; V as simd_vector.h describes it.
#pragma once

#include <limits>

namespace rag::simd {

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// e^x, relative error below 2 ulp for x in [-87.33, 88.37]; 0 below, e^88.37 above, NaN for NaN.
// Cody-Waite reduction to |r| <= ln(2) / 2 and Cephes' polynomial (expf.c).
template <class V>
typename V::Reg Exp(typename V::Reg x) {
  using Reg = typename V::Reg;
  constexpr float kLowest = -87.33654f;  // below it the result is no normal number
  const Reg clamped = V::Max(V::Set(kLowest), V::Min(V::Set(88.37626f), x));
  const Reg n = V::Round(V::Mul(clamped, V::Set(1.44269504f)));
  Reg r = V::NegMulAdd(n, V::Set(0.693359375f), clamped);
  r = V::NegMulAdd(n, V::Set(-2.12194440e-4f), r);
  Reg p = V::Set(1.9875691500e-4f);
  p = V::MulAdd(p, r, V::Set(1.3981999507e-3f));
  p = V::MulAdd(p, r, V::Set(8.3334519073e-3f));
  p = V::MulAdd(p, r, V::Set(4.1665795894e-2f));
  p = V::MulAdd(p, r, V::Set(1.6666665459e-1f));
  p = V::MulAdd(p, r, V::Set(5.0000001201e-1f));
  p = V::MulAdd(p, V::Mul(r, r), V::Add(r, V::Set(1.0f)));
  return V::ZeroIfLess(x, kLowest, V::ScaleByPowerOf2(p, n));
}

// erf(x), absolute error below 3e-7: the odd rational function that Eigen and XLA use
// (Eigen, MathFunctionsImpl.h), whose argument is clamped to where erf is 1 in f32.
template <class V>
typename V::Reg Erf(typename V::Reg x) {
  using Reg = typename V::Reg;
  x = V::Max(V::Set(-4.0f), V::Min(V::Set(4.0f), x));
  const Reg square = V::Mul(x, x);
  Reg p = V::Set(-2.72614225801306e-10f);
  p = V::MulAdd(p, square, V::Set(2.77068142495902e-08f));
  p = V::MulAdd(p, square, V::Set(-2.10102402082508e-06f));
  p = V::MulAdd(p, square, V::Set(-5.69250639462346e-05f));
  p = V::MulAdd(p, square, V::Set(-7.34990630326855e-04f));
  p = V::MulAdd(p, square, V::Set(-2.95459980854025e-03f));
  p = V::MulAdd(p, square, V::Set(-1.60960333262415e-02f));
  Reg q = V::Set(-1.45660718464996e-05f);
  q = V::MulAdd(q, square, V::Set(-2.13374055278905e-04f));
  q = V::MulAdd(q, square, V::Set(-1.68282697438203e-03f));
  q = V::MulAdd(q, square, V::Set(-7.37332916720468e-03f));
  q = V::MulAdd(q, square, V::Set(-1.42647390514189e-02f));
  return V::Quotient(V::Mul(x, p), q);
}

}  // namespace rag::simd
