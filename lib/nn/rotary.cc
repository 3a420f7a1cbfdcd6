#include "lib/nn/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rag {
namespace {

// YaRN's equation 23 leaves open between which dimensions the ramp runs; this is the published
// code's: the dimension whose wave turns `rotations` times in the original context.
double RotationsDimension(const RotaryScaling& scaling, double dimensions, double base,
                          double rotations) {
  const double context = static_cast<double>(scaling.original_context);
  return dimensions * std::log(context / (rotations * 2 * std::numbers::pi)) / (2 * std::log(base));
}

// 1 where the frequency stays as it is, 0 where it is divided by the factor.
double YarnKeep(const RotaryScaling& scaling, double dimensions, double base, size_t pair) {
  double low = RotationsDimension(scaling, dimensions, base, scaling.beta_fast);
  double high = RotationsDimension(scaling, dimensions, base, scaling.beta_slow);
  if (scaling.whole_dimensions) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dimensions - 1);
  const double width = std::max(high - low, 0.001);
  return 1 - std::clamp((static_cast<double>(pair) - low) / width, 0.0, 1.0);
}

double Exponent(size_t pair, size_t dimensions) {
  return 2.0 * static_cast<double>(pair) / static_cast<double>(dimensions);
}

}  // namespace

void ApplyRotary(RopePairs pairs, const float* cosines, const float* sines, size_t pair_count,
                 float* heads, size_t count, size_t head_dim) {
  const size_t step = pairs == RopePairs::kNeighbors ? 2 : 1;
  const size_t other = pairs == RopePairs::kNeighbors ? 1 : pair_count;
  for (size_t head = 0; head < count; ++head) {
    float* x = heads + head * head_dim;
    for (size_t i = 0; i < pair_count; ++i) {
      float& first = x[i * step];
      float& second = x[i * step + other];
      const float a = first;
      const float b = second;
      first = a * cosines[i] - b * sines[i];
      second = a * sines[i] + b * cosines[i];
    }
  }
}

double YarnMagnitude(double factor) { return factor > 1 ? 0.1 * std::log(factor) + 1 : 1.0; }

std::vector<float> Llama3Divisors(size_t dimensions, double base, const Llama3Scaling& scaling) {
  std::vector<float> divisors;
  for (size_t i = 0; i < dimensions / 2; ++i) {
    const double wavelength = 2 * std::numbers::pi * std::pow(base, Exponent(i, dimensions));
    const double waves = static_cast<double>(scaling.original_context) / wavelength;
    const double keep = std::clamp((waves - scaling.low) / (scaling.high - scaling.low), 0.0, 1.0);
    divisors.push_back(static_cast<float>(1 / ((1 - keep) / scaling.factor + keep)));
  }
  return divisors;
}

RotaryFrequencies::RotaryFrequencies(size_t dimensions, double base, const RotaryScaling& scaling,
                                     std::span<const float> divisors) {
  for (size_t i = 0; i < dimensions / 2; ++i) {
    double frequency = std::pow(base, -Exponent(i, dimensions));
    if (!divisors.empty()) frequency /= static_cast<double>(divisors[i]);
    if (scaling.kind == RopeScaling::kLinear) frequency /= scaling.factor;
    if (scaling.kind == RopeScaling::kYarn) {
      const double keep = YarnKeep(scaling, static_cast<double>(dimensions), base, i);
      frequency = frequency * keep + frequency / scaling.factor * (1 - keep);
    }
    values_.push_back(frequency);
  }
  if (scaling.kind != RopeScaling::kNone) magnitude_ = scaling.attention_factor;
  if (scaling.kind == RopeScaling::kYarn) magnitude_ *= YarnMagnitude(scaling.factor);
}

void RotaryFrequencies::Angles(size_t position, float* cosines, float* sines) const {
  for (size_t i = 0; i < values_.size(); ++i) {
    const double angle = static_cast<double>(position) * values_[i];
    cosines[i] = static_cast<float>(std::cos(angle) * magnitude_);
    sines[i] = static_cast<float>(std::sin(angle) * magnitude_);
  }
}

Rotary::Rotary(size_t positions, const RotaryFrequencies& frequencies)
    : cosines_(positions, frequencies.pairs()), sines_(positions, frequencies.pairs()) {
  const float magnitude = static_cast<float>(frequencies.magnitude_);
  for (size_t i = 0; i < frequencies.pairs(); ++i) {
    const float frequency = static_cast<float>(frequencies.values_[i]);
    for (size_t position = 0; position < positions; ++position) {
      const float angle = static_cast<float>(position) * frequency;
      cosines_.row(position)[i] = std::cos(angle) * magnitude;
      sines_.row(position)[i] = std::sin(angle) * magnitude;
    }
  }
}

void Rotary::Apply(size_t position, size_t heads, float* x) const {
  const size_t half = cosines_.cols();
  ApplyRotary(RopePairs::kHalves, cosines_.row(position).data(), sines_.row(position).data(), half,
              x, heads, 2 * half);
}

}  // namespace rag
