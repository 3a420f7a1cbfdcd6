// Sampling: the documented order, its statistics and its determinism.
#include "generate/sampler.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <map>

#include "tests/support/support.h"

namespace rag {
namespace {

std::map<TokenId, int> DrawMany(const SamplingOptions& options, const std::vector<float>& logits,
                                int draws) {
  Sampler sampler(options);
  std::map<TokenId, int> counts;
  for (int i = 0; i < draws; ++i) {
    std::vector<float> copy = logits;
    const auto id = sampler.Next(copy, {});
    REQUIRE_OK(id);
    ++counts[*id];
  }
  return counts;
}

// Pearson's statistic of the counts against the probabilities.
double ChiSquare(const std::map<TokenId, int>& counts, const std::vector<double>& probabilities,
                 int draws) {
  double sum = 0;
  for (size_t id = 0; id < probabilities.size(); ++id) {
    const auto found = counts.find(static_cast<TokenId>(id));
    const double count = found == counts.end() ? 0 : found->second;
    if (probabilities[id] == 0) {
      REQUIRE(count == 0);
      continue;
    }
    const double expected = probabilities[id] * draws;
    sum += (count - expected) * (count - expected) / expected;
  }
  return sum;
}

std::vector<float> Logs(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

const std::vector<double> kProbabilities = {0.1, 0.4, 0.05, 0.25, 0.2};
constexpr int kDraws = 20000;
// The 0.999 quantile of chi-square with 4 degrees of freedom; the seeds are fixed.
constexpr double kLimit = 18.47;

TEST_CASE("draws follow the probabilities") {
  const auto counts = DrawMany({.temperature = 1, .seed = 7}, Logs(kProbabilities), kDraws);
  CHECK(ChiSquare(counts, kProbabilities, kDraws) < kLimit);
}

TEST_CASE("temperature is a power of the probabilities") {
  std::vector<double> expected;
  double sum = 0;
  for (const double p : kProbabilities) sum += std::pow(p, 1 / 0.5);
  for (const double p : kProbabilities) expected.push_back(std::pow(p, 1 / 0.5) / sum);
  const auto counts = DrawMany({.temperature = 0.5, .seed = 8}, Logs(kProbabilities), kDraws);
  CHECK(ChiSquare(counts, expected, kDraws) < kLimit);
}

TEST_CASE("top_k keeps the k most probable tokens") {
  const auto counts =
      DrawMany({.temperature = 1, .top_k = 2, .seed = 9}, Logs(kProbabilities), kDraws);
  CHECK(ChiSquare(counts, {0, 0.4 / 0.65, 0, 0.25 / 0.65, 0}, kDraws) < kLimit);
}

TEST_CASE("top_p keeps the fewest tokens that reach it") {
  const auto half =
      DrawMany({.temperature = 1, .top_p = 0.64, .seed = 10}, Logs(kProbabilities), kDraws);
  CHECK(ChiSquare(half, {0, 0.4 / 0.65, 0, 0.25 / 0.65, 0}, kDraws) < kLimit);
  const auto one =
      DrawMany({.temperature = 1, .top_p = 0.01, .seed = 10}, Logs(kProbabilities), 100);
  CHECK(one.at(1) == 100);
}

TEST_CASE("top_p counts after top_k, and the temperature comes before both") {
  // Of the three best (0.4, 0.25, 0.2 of 0.85) the first has 0.47, the first two 0.76.
  const auto counts = DrawMany({.temperature = 1, .top_k = 3, .top_p = 0.7, .seed = 11},
                               Logs(kProbabilities), kDraws);
  CHECK(ChiSquare(counts, {0, 0.4 / 0.65, 0, 0.25 / 0.65, 0}, kDraws) < kLimit);
  // At temperature 0.2 the first alone has 0.9.
  const auto cold =
      DrawMany({.temperature = 0.2, .top_p = 0.7, .seed = 11}, Logs(kProbabilities), 100);
  CHECK(cold.at(1) == 100);
}

TEST_CASE("min_p drops what is below its share of the most probable token") {
  const auto counts =
      DrawMany({.temperature = 1, .min_p = 0.45, .seed = 12}, Logs(kProbabilities), kDraws);
  CHECK(ChiSquare(counts, {0, 0.4 / 0.85, 0, 0.25 / 0.85, 0.2 / 0.85}, kDraws) < kLimit);
}

TEST_CASE("greedy takes the largest logit, the smaller id among equals") {
  Sampler sampler({});
  std::vector<float> logits = {1, 3, 3, 2};
  CHECK(*sampler.Next(logits, {}) == 1);
}

TEST_CASE("the repetition penalty divides positive and multiplies negative logits, once a token") {
  Sampler sampler({.repetition_penalty = 2});
  std::vector<float> logits = {4, 2.5, -1, -3};
  const std::vector<TokenId> history = {0, 0, 2};
  CHECK(*sampler.Next(logits, history) == 1);
  CHECK(logits == std::vector<float>{2, 2.5, -2, -3});

  // Only over the last 64 tokens.
  std::vector<TokenId> long_history(65, 3);
  long_history[0] = 0;
  logits = {4, 2.5, -1, -3};
  CHECK(*sampler.Next(logits, long_history) == 0);
  CHECK(logits == std::vector<float>{4, 2.5, -1, -6});
}

TEST_CASE("equal seeds give equal draws, other seeds others") {
  const auto draw = [](uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed});
    std::vector<TokenId> ids;
    for (int i = 0; i < 64; ++i) {
      std::vector<float> logits(100, 0.0f);
      ids.push_back(*sampler.Next(logits, {}));
    }
    return ids;
  };
  CHECK(draw(1) == draw(1));
  CHECK(draw(1) != draw(2));
}

TEST_CASE("the random source is xoshiro256** seeded by splitmix64") {
  // From an independent Python implementation of the two published algorithms, seed 42.
  RandomSource random(42);
  CHECK(random.Next() == 1546998764402558742u);
  CHECK(random.Next() == 6990951692964543102u);
  CHECK(random.Next() == 12544586762248559009u);
}

TEST_CASE("logits that are no numbers are damage, not a token") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::vector<float>& bad :
       {std::vector<float>{1, nan}, {infinity, 1}, {-infinity, -infinity}}) {
    for (const double temperature : {0.0, 1.0}) {
      Sampler sampler({.temperature = temperature});
      std::vector<float> logits = bad;
      CHECK(sampler.Next(logits, {}).status().code() == StatusCode::kDataLoss);
    }
  }
  Sampler sampler({.temperature = 1});
  std::vector<float> logits = {-infinity, 0};
  CHECK(*sampler.Next(logits, {}) == 1);
}

TEST_CASE("the smallest temperature does not overflow") {
  Sampler sampler({.temperature = 1e-300, .top_k = 3, .top_p = 0.9, .min_p = 0.1, .seed = 3});
  std::vector<float> logits = {-1e30f, 5, 1e30f, 0};
  CHECK(*sampler.Next(logits, {}) == 2);
}

TEST_CASE("sampling options out of range are named") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto message = [](const SamplingOptions& options) {
    const Status status = ValidateSampling(options);
    CHECK(status.code() == StatusCode::kInvalidArgument);
    return status.message();
  };
  using Catch::Matchers::Contains;
  CHECK_THAT(message({.temperature = -1}), Contains("temperature"));
  CHECK_THAT(message({.temperature = 101}), Contains("temperature"));
  CHECK_THAT(message({.temperature = nan}), Contains("temperature"));
  CHECK_THAT(message({.top_p = 0}), Contains("top_p"));
  CHECK_THAT(message({.top_p = 1.5}), Contains("top_p"));
  CHECK_THAT(message({.min_p = 1}), Contains("min_p"));
  CHECK_THAT(message({.min_p = nan}), Contains("min_p"));
  CHECK_THAT(message({.repetition_penalty = 0}), Contains("repetition_penalty"));
  CHECK(ValidateSampling({}).ok());
}

}  // namespace
}  // namespace rag
