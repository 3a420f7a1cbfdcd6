#include "generate/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rag {
namespace {

// YaRN's equation 23 leaves open between which dimensions the ramp runs; this is the published
// code's: the dimension whose wave turns `rotations` times in the original context.
double RotationsDimension(const RopeConfig& config, double base, double rotations) {
  const double dimensions = static_cast<double>(config.dimensions);
  const double context = static_cast<double>(config.original_context);
  return dimensions * std::log(context / (rotations * 2 * std::numbers::pi)) / (2 * std::log(base));
}

// 1 where the frequency stays as it is, 0 where it is divided by the factor.
double YarnKeep(const RopeConfig& config, double base, size_t pair) {
  const double last = static_cast<double>(config.dimensions) - 1;
  const double low = std::max(std::floor(RotationsDimension(config, base, config.beta_fast)), 0.0);
  const double high = std::min(std::ceil(RotationsDimension(config, base, config.beta_slow)), last);
  const double width = std::max(high - low, 0.001);
  return 1 - std::clamp((static_cast<double>(pair) - low) / width, 0.0, 1.0);
}

}  // namespace

RotaryTable::RotaryTable(const RopeConfig& config, double base, std::span<const float> divisors,
                         bool scaled) {
  const RopeScaling scaling = scaled ? config.scaling : RopeScaling::kNone;
  for (size_t i = 0; i < config.dimensions / 2; ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(config.dimensions);
    double frequency = std::pow(base, -exponent);
    if (scaled && !divisors.empty()) frequency /= static_cast<double>(divisors[i]);
    if (scaling == RopeScaling::kLinear) frequency /= config.factor;
    if (scaling == RopeScaling::kYarn) {
      const double keep = YarnKeep(config, base, i);
      frequency = frequency * keep + frequency / config.factor * (1 - keep);
    }
    frequencies_.push_back(frequency);
  }
  if (scaling != RopeScaling::kNone) magnitude_ = config.attention_factor;
  // YaRN's section 3.4: a temperature on the attention, put into the angles.
  if (scaling == RopeScaling::kYarn && config.factor > 1) {
    magnitude_ *= 0.1 * std::log(config.factor) + 1;
  }
}

void RotaryTable::Angles(size_t position, float* cosines, float* sines) const {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const double angle = static_cast<double>(position) * frequencies_[i];
    cosines[i] = static_cast<float>(std::cos(angle) * magnitude_);
    sines[i] = static_cast<float>(std::sin(angle) * magnitude_);
  }
}

}  // namespace rag
