// How far two models' distributions of the next token are apart.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <span>
#include <vector>

namespace rag::test {

using Distribution = std::vector<double>;  // logarithms

inline Distribution LogSoftmax(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  Distribution out;
  for (const float logit : logits) out.push_back(logit - largest - std::log(sum));
  return out;
}

// The mean of KL(exact || rounded), nats a token.
inline double Divergence(const std::vector<Distribution>& exact,
                         const std::vector<Distribution>& rounded) {
  REQUIRE(exact.size() == rounded.size());
  double sum = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    for (size_t id = 0; id < exact[i].size(); ++id) {
      sum += std::exp(exact[i][id]) * (exact[i][id] - rounded[i][id]);
    }
  }
  return sum / static_cast<double>(exact.size());
}

}  // namespace rag::test
