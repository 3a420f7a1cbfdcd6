#include "lib/kernels/quantized_fit.h"

#include <algorithm>
#include <cmath>

namespace rag {
namespace {

double Square(double x) { return x * x; }

// Least squares of scale and minimum for the codes that `fit` gives.
AffineFit Refit(const FitInput& in, const AffineFit& fit, int levels, bool free_minimum) {
  const float inverse = InverseOrZero(fit.scale);
  double weights = 0, codes = 0, squares = 0, values = 0, products = 0;
  for (size_t i = 0; i < in.n; ++i) {
    const double w = static_cast<double>(in.weight(i));
    const double x = static_cast<double>(in.x[i]);
    const double code = RoundedCode((in.x[i] + fit.minimum) * inverse, 0, levels - 1);
    weights += w;
    codes += w * code;
    squares += w * code * code;
    values += w * x;
    products += w * code * x;
  }
  const double determinant = weights * squares - codes * codes;
  if (!(determinant > 0)) return fit;
  double scale = (weights * products - codes * values) / determinant;
  double minimum = (codes * products - squares * values) / determinant;
  if (minimum < 0 && !free_minimum) {
    minimum = 0;
    scale = squares > 0 ? products / squares : 0;
  }
  if (!(scale > 0)) return fit;
  return {static_cast<float>(scale), static_cast<float>(minimum)};
}

// level(x * inverse of the scale) is what an element becomes, in scales.
template <class Level>
double LevelError(const FitInput& in, float scale, const Level& level) {
  const float inverse = InverseOrZero(scale);
  double error = 0;
  for (size_t i = 0; i < in.n; ++i) {
    const float value = static_cast<float>(level(in.x[i] * inverse));
    error +=
        static_cast<double>(in.weight(i)) * Square(static_cast<double>(scale * value - in.x[i]));
  }
  return error;
}

double AffineError(const FitInput& in, const AffineFit& fit, int levels) {
  const float inverse = InverseOrZero(fit.scale);
  double error = 0;
  for (size_t i = 0; i < in.n; ++i) {
    const float code =
        static_cast<float>(RoundedCode((in.x[i] + fit.minimum) * inverse, 0, levels - 1));
    error += static_cast<double>(in.weight(i)) *
             Square(static_cast<double>(fit.scale * code - fit.minimum - in.x[i]));
  }
  return error;
}

// The step among the nearest and its neighbours whose error is least.
template <class Error>
int BestStep(float scale, float step, int least, int most, const Error& error) {
  const int nearest = RoundedCode(scale * InverseOrZero(step), least, most);
  int best = nearest;
  double lowest = error(step * static_cast<float>(nearest));
  for (const int other : {nearest - 1, nearest + 1}) {
    if (other < least || other > most) continue;
    const double found = error(step * static_cast<float>(other));
    if (found < lowest) {
      lowest = found;
      best = other;
    }
  }
  return best;
}

// Of the scales whose inverses are given: the one whose codes, scaled by least squares, take most
// of the error away. level(x * inverse) is what an element becomes.
template <class Level>
float BestScale(const FitInput& in, std::span<const float> inverses, const Level& level) {
  float best = 0;
  double most = -1;  // of products^2 / squares, which the error falls by
  for (const float inverse : inverses) {
    double products = 0, squares = 0;
    for (size_t i = 0; i < in.n; ++i) {
      const double w = static_cast<double>(in.weight(i));
      const double value = static_cast<double>(level(in.x[i] * inverse));
      products += w * value * static_cast<double>(in.x[i]);
      squares += w * value * value;
    }
    if (squares > 0 && products * products > most * squares) {
      most = products * products / squares;
      best = static_cast<float>(products / squares);
    }
  }
  return best;
}

}  // namespace

float SignedLargest(const float* x, size_t n) {
  float largest = n == 0 ? 0.0f : x[0];
  for (size_t i = 1; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
  }
  return largest;
}

int RoundedCode(float value, int low, int high) {
  const float rounded = std::round(value);
  if (!(rounded > static_cast<float>(low))) return low;  // NaN too: 0 times a subnormal's inverse
  return rounded < static_cast<float>(high) ? static_cast<int>(rounded) : high;
}

AffineFit FitAffine(const FitInput& in, int levels, bool free_minimum) {
  const auto [low, high] = std::minmax_element(in.x, in.x + in.n);
  const float minimum = free_minimum ? -*low : std::max(0.0f, -*low);
  const float range = *high + minimum;
  if (!(range > 0)) return {0, minimum};
  AffineFit best = {range / static_cast<float>(levels - 1), minimum};
  double least = AffineError(in, best, levels);
  // Leaving the ends outside can serve the rest better, and the more so the fewer levels there are.
  const int last = levels > 8 ? 12 : 18;
  for (int step = -2; step <= last; ++step) {
    const float steps = static_cast<float>(levels - 1) + 0.15f * static_cast<float>(step);
    AffineFit fit = {range / steps, minimum};
    for (int round = 0; round < 2; ++round) {
      fit = Refit(in, fit, levels, free_minimum);
      const double error = AffineError(in, fit, levels);
      if (error < least) {
        least = error;
        best = fit;
      }
    }
  }
  return best;
}

AffineSteps RoundAffine(const FitInput& in, const AffineFit& fit, int levels, float scale_step,
                        float minimum_step, int most) {
  const int scale = RoundedCode(fit.scale * InverseOrZero(scale_step), 0, most);
  const int minimum = RoundedCode(fit.minimum * InverseOrZero(minimum_step), 0, most);
  AffineSteps best = {scale, minimum};
  double least = -1;
  for (int s = std::max(0, scale - 1); s <= std::min(most, scale + 1); ++s) {
    for (int m = std::max(0, minimum - 1); m <= std::min(most, minimum + 1); ++m) {
      const AffineFit rounded = {scale_step * static_cast<float>(s),
                                 minimum_step * static_cast<float>(m)};
      const double error = AffineError(in, rounded, levels);
      if (least >= 0 && !(error < least)) continue;
      least = error;
      best = {s, m};
    }
  }
  return best;
}

float FitSymmetric(const FitInput& in, int low, int high) {
  const float largest = SignedLargest(in.x, in.n);
  if (largest == 0) return 0;
  std::array<float, 19> inverses;
  for (size_t i = 0; i < inverses.size(); ++i) {
    inverses[i] = (static_cast<float>(low) + 0.1f * (static_cast<float>(i) - 9)) / largest;
  }
  return BestScale(in, inverses, [&](float x) { return RoundedCode(x, low, high); });
}

int RoundSymmetric(const FitInput& in, float scale, int low, int high, float step, int least,
                   int most) {
  return BestStep(scale, step, least, most, [&](float rounded) {
    return LevelError(in, rounded, [&](float x) { return RoundedCode(x, low, high); });
  });
}

int NearestCode(CodeTable values, float x) {
  const auto above = std::upper_bound(values.begin(), values.end(), x,
                                      [](float a, int8_t b) { return a < static_cast<float>(b); });
  if (above == values.begin()) return 0;
  const auto index = static_cast<int>(above - values.begin());
  if (above == values.end()) return index - 1;
  const float below = static_cast<float>(above[-1]);
  return static_cast<float>(*above) - x < x - below ? index : index - 1;
}

float FitTable(const FitInput& in, CodeTable values) {
  const float largest = SignedLargest(in.x, in.n);
  if (largest == 0) return 0;
  // The largest element becomes the first value or, with the other sign, the last.
  std::array<float, 38> inverses;
  for (size_t i = 0; i < 19; ++i) {
    const float change = 1 + 0.012f * (static_cast<float>(i) - 9);
    inverses[i] = static_cast<float>(values.front()) * change / largest;
    inverses[19 + i] = static_cast<float>(values.back()) * change / largest;
  }
  return BestScale(in, inverses,
                   [&](float x) { return values[static_cast<size_t>(NearestCode(values, x))]; });
}

int RoundTable(const FitInput& in, float scale, CodeTable values, float step, int least, int most) {
  return BestStep(scale, step, least, most, [&](float rounded) {
    return LevelError(in, rounded,
                      [&](float x) { return values[static_cast<size_t>(NearestCode(values, x))]; });
  });
}

}  // namespace rag
