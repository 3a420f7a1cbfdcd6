#include "lib/nn/score_bias.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace rag {
namespace {

size_t Bucket(size_t distance, size_t buckets, size_t max_distance) {
  const size_t exact = buckets / 2;
  if (distance < exact) return distance;
  // f32 up to the last step, whose rounding decides between two buckets.
  const float ratio =
      std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
      static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact)));
  return std::min(exact + static_cast<size_t>(ratio * static_cast<float>(buckets - exact)),
                  buckets - 1);
}

}  // namespace

double AlibiSlope(size_t head, size_t heads, double max_bias) {
  const size_t power = std::bit_floor(heads);
  if (head < power) {
    return std::exp2(-max_bias * static_cast<double>(head + 1) / static_cast<double>(power));
  }
  const size_t odd = 2 * (head - power) + 1;
  return std::exp2(-max_bias / 2 * static_cast<double>(odd) / static_cast<double>(power));
}

ScoreBias ScoreBias::Alibi(size_t heads, size_t max_length) {
  ScoreBias bias;
  bias.values_ = Matrix(heads, 2 * max_length - 1);
  for (size_t head = 0; head < heads; ++head) {
    const double slope = AlibiSlope(head, heads, 8.0);
    for (size_t i = 0; i < bias.values_.cols(); ++i) {
      const double distance = static_cast<double>(i) - static_cast<double>(max_length - 1);
      bias.values_.row(head)[i] = static_cast<float>(-slope * std::abs(distance));
    }
  }
  return bias;
}

ScoreBias ScoreBias::Buckets(MatrixView table, size_t max_distance, size_t max_length) {
  const size_t side = table.rows / 2;
  ScoreBias bias;
  bias.values_ = Matrix(table.cols, 2 * max_length - 1);
  for (size_t i = 0; i < bias.values_.cols(); ++i) {
    // Keys after the query take the second half.
    const bool after = i >= max_length;
    const size_t distance = after ? i - (max_length - 1) : max_length - 1 - i;
    const size_t row = Bucket(distance, side, max_distance) + (after ? side : 0);
    for (size_t head = 0; head < table.cols; ++head) {
      bias.values_.row(head)[i] = table.row(row)[head];
    }
  }
  return bias;
}

}  // namespace rag
