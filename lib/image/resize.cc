#include "lib/image/resize.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

namespace rag {
namespace {

// Bits of a weight behind the point: with 8 of a color and 2 of head room they fill an int32.
constexpr int kWeightBits = 32 - 8 - 2;

// Steps that are added up to the first pixel of a part: far more than a picture's edge has.
constexpr size_t kMaxSteps = size_t{1} << 20;

double Sinc(double x) {
  return x == 0.0 ? 1.0 : std::sin(x * std::numbers::pi) / (x * std::numbers::pi);
}

double Support(ResampleFilter filter) {
  switch (filter) {
    case ResampleFilter::kLanczos:
      return 3.0;
    case ResampleFilter::kBicubic:
      return 2.0;
    case ResampleFilter::kBox:
      return 0.5;
    default:
      return 1.0;
  }
}

double Weight(ResampleFilter filter, double x) {
  switch (filter) {
    case ResampleFilter::kBox:
      return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    case ResampleFilter::kHamming:
      x = std::abs(x);
      return x < 1.0 ? Sinc(x) * (0.54 + 0.46 * std::cos(x * std::numbers::pi)) : 0.0;
    case ResampleFilter::kBicubic: {
      constexpr double kA = -0.5;
      x = std::abs(x);
      if (x < 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1.0;
      return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * kA : 0.0;
    }
    case ResampleFilter::kLanczos:
      return x >= -3.0 && x < 3.0 ? Sinc(x) * Sinc(x / 3.0) : 0.0;
    default:
      return std::max(0.0, 1.0 - std::abs(x));
  }
}

// The pixels that one output pixel is a sum of.
struct Taps {
  size_t first = 0;  // of them, among the inputs
  size_t count = 0;
  size_t weights = 0;  // of the first, in Axis::weights
};

// One direction: what the outputs of a part of it read.
struct Axis {
  std::vector<Taps> taps;        // [outputs of the part]
  std::vector<int32_t> weights;  // rounded to kWeightBits
};

// Outputs first to first + count of `outputs`, which `inputs` pixels become.
Axis MakeAxis(size_t inputs, size_t outputs, size_t first, size_t count, ResampleFilter filter) {
  Axis axis;
  axis.taps.resize(count);
  const double scale = static_cast<double>(inputs) / static_cast<double>(outputs);
  if (inputs == outputs || filter == ResampleFilter::kNearest) {
    // One pixel each, as it is.
    axis.weights = {1 << kWeightBits};
    // The reference adds up steps, which ends beside the product where that is near a whole number.
    double at = scale * 0.5;
    if (first > kMaxSteps) {
      at = (static_cast<double>(first) + 0.5) * scale;
    } else {
      for (size_t i = 0; i < first; ++i) at += scale;
    }
    for (size_t i = 0; i < count; ++i, at += scale) {
      axis.taps[i] = {.first = std::min(static_cast<size_t>(at), inputs - 1), .count = 1};
    }
    return axis;
  }
  const double stretch = std::max(scale, 1.0);
  const double support = Support(filter) * stretch;
  // The reference multiplies by the inverse, which rounds otherwise than a division.
  const double shrink = 1.0 / stretch;
  std::vector<double> row;
  for (size_t i = 0; i < count; ++i) {
    const double centre = (static_cast<double>(first + i) + 0.5) * scale;
    const double low = std::max(centre - support + 0.5, 0.0);
    Taps& taps = axis.taps[i];
    taps.first = static_cast<size_t>(low);
    taps.count = std::min(static_cast<size_t>(centre + support + 0.5), inputs) - taps.first;
    taps.weights = axis.weights.size();
    row.resize(taps.count);
    double sum = 0;
    for (size_t j = 0; j < taps.count; ++j) {
      row[j] = Weight(filter, (static_cast<double>(j + taps.first) - centre + 0.5) * shrink);
      sum += row[j];
    }
    for (double& weight : row) {
      if (sum != 0.0) weight /= sum;
      const double scaled = weight * (1 << kWeightBits);
      axis.weights.push_back(static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
    }
  }
  return axis;
}

constexpr int32_t kHalf = 1 << (kWeightBits - 1);

uint8_t Round(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255)); }

// A row of the picture -> to [taps, 3].
void ResizeRow(const uint8_t* row, const Axis& axis, uint8_t* to) {
  for (const Taps& taps : axis.taps) {
    const int32_t* weights = axis.weights.data() + taps.weights;
    const uint8_t* from = row + 3 * taps.first;
    int32_t red = kHalf, green = kHalf, blue = kHalf;
    for (size_t j = 0; j < taps.count; ++j, from += 3) {
      red += from[0] * weights[j];
      green += from[1] * weights[j];
      blue += from[2] * weights[j];
    }
    to[0] = Round(red);
    to[1] = Round(green);
    to[2] = Round(blue);
    to += 3;
  }
}

}  // namespace

Image ResizeBox(const Image& image, size_t width, size_t height, const PixelBox& box,
                ResampleFilter filter) {
  const Axis across = MakeAxis(image.width, width, box.x, box.width, filter);
  const Axis down = MakeAxis(image.height, height, box.y, box.height, filter);
  // The rows that the second direction reads.
  size_t first = image.height;
  size_t end = 0;
  for (const Taps& taps : down.taps) {
    first = std::min(first, taps.first);
    end = std::max(end, taps.first + taps.count);
  }
  const size_t bytes = box.width * 3;
  std::vector<uint8_t> rows((end - std::min(first, end)) * bytes);
  for (size_t y = first; y < end; ++y) {
    ResizeRow(image.row(y), across, rows.data() + (y - first) * bytes);
  }
  Image out{.width = box.width, .height = box.height};
  out.rgb.resize(bytes * box.height);
  std::vector<int32_t> sums(bytes);
  for (size_t y = 0; y < box.height; ++y) {
    const Taps& taps = down.taps[y];
    std::fill(sums.begin(), sums.end(), kHalf);
    for (size_t j = 0; j < taps.count; ++j) {
      const uint8_t* from = rows.data() + (taps.first + j - first) * bytes;
      const int32_t weight = down.weights[taps.weights + j];
      for (size_t i = 0; i < bytes; ++i) sums[i] += from[i] * weight;
    }
    std::transform(sums.begin(), sums.end(), out.row(y), Round);
  }
  return out;
}

Image Resize(const Image& image, size_t width, size_t height, ResampleFilter filter) {
  return ResizeBox(image, width, height, {.width = width, .height = height}, filter);
}

}  // namespace rag
