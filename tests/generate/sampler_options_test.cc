// The sampler's options against distributions that are computed here from their definitions.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <random>

#include "generate/sampler.h"
#include "tests/support/support.h"

namespace rag {
namespace {

constexpr size_t kVocabulary = 40;
constexpr size_t kDraws = 40000;

std::vector<float> RandomLogits(uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 2.0f);
  std::vector<float> logits(kVocabulary);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

using Distribution = std::map<TokenId, double>;

Distribution Softmax(const std::vector<float>& logits, double temperature) {
  Distribution p;
  double total = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    p[static_cast<TokenId>(i)] = std::exp(static_cast<double>(logits[i]) / temperature);
    total += p[static_cast<TokenId>(i)];
  }
  for (auto& [id, value] : p) value /= total;
  return p;
}

Distribution Keep(const Distribution& p, const std::vector<TokenId>& ids) {
  Distribution kept;
  double total = 0;
  for (const TokenId id : ids) total += p.at(id);
  for (const TokenId id : ids) kept[id] = p.at(id) / total;
  return kept;
}

// Ids by `key`, ascending.
template <class Key>
std::vector<TokenId> SortedBy(const Distribution& p, Key key) {
  std::vector<TokenId> ids;
  for (const auto& [id, value] : p) ids.push_back(id);
  std::stable_sort(ids.begin(), ids.end(), [&](TokenId a, TokenId b) { return key(a) < key(b); });
  return ids;
}

// Frequencies of many draws within five standard deviations of the distribution, and nothing
// outside of it.
void CheckDraws(const SamplingOptions& options, const std::vector<float>& logits,
                const Distribution& expected) {
  Sampler sampler(options);
  std::map<TokenId, double> counts;
  for (size_t i = 0; i < kDraws; ++i) {
    std::vector<float> own = logits;
    const auto id = sampler.Next(own, {});
    REQUIRE_OK(id);
    REQUIRE(expected.count(*id) == 1);
    counts[*id] += 1;
  }
  for (const auto& [id, p] : expected) {
    INFO("token " << id << ", p " << p);
    const double deviation = std::sqrt(kDraws * p * (1 - p)) + 1;
    CHECK(std::fabs(counts[id] - kDraws * p) < 5 * deviation);
  }
}

TEST_CASE("typical sampling draws from those nearest to the expected surprise") {
  for (const double typical : {0.3, 0.7, 0.95}) {
    const auto logits = RandomLogits(1);
    const Distribution p = Softmax(logits, 0.9);
    double entropy = 0;
    for (const auto& [id, value] : p) entropy -= value * std::log(value);
    const auto order =
        SortedBy(p, [&](TokenId id) { return std::fabs(-std::log(p.at(id)) - entropy); });
    std::vector<TokenId> kept;
    double sum = 0;
    for (const TokenId id : order) {
      kept.push_back(id);
      sum += p.at(id);
      if (sum >= typical) break;
    }
    CheckDraws({.temperature = 0.9, .typical_p = typical, .seed = 5}, logits, Keep(p, kept));
  }
}

TEST_CASE("top-n-sigma keeps what is near the largest logit, whatever the temperature") {
  const auto logits = RandomLogits(2);
  double mean = 0, squares = 0;
  for (const float logit : logits) mean += static_cast<double>(logit) / kVocabulary;
  for (const float logit : logits) squares += std::pow(static_cast<double>(logit) - mean, 2);
  const double deviation = std::sqrt(squares / kVocabulary);
  const double largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  for (const double temperature : {0.7, 3.0}) {
    std::vector<TokenId> kept;
    for (size_t i = 0; i < kVocabulary; ++i) {
      if (static_cast<double>(logits[i]) >= largest - 2.0 * deviation) {
        kept.push_back(static_cast<TokenId>(i));
      }
    }
    REQUIRE(kept.size() > 2);
    CheckDraws({.temperature = temperature, .top_n_sigma = 2.0, .seed = 6}, logits,
               Keep(Softmax(logits, temperature), kept));
  }
}

TEST_CASE("XTC drops the top choices, all but the least likely of them, as often as it should") {
  const auto logits = RandomLogits(3);
  const Distribution p = Softmax(logits, 1.5);
  const auto order = SortedBy(p, [&](TokenId id) { return -p.at(id); });
  size_t above = 0;
  while (p.at(order[above]) >= 0.05) ++above;
  REQUIRE(above > 2);
  const Distribution excluded =
      Keep(p, std::vector<TokenId>(order.begin() + static_cast<ptrdiff_t>(above) - 1, order.end()));
  Distribution expected;
  for (const auto& [id, value] : p) {
    expected[id] = 0.7 * value + 0.3 * (excluded.count(id) == 1 ? excluded.at(id) : 0);
  }
  CheckDraws({.temperature = 1.5, .xtc_probability = 0.3, .xtc_threshold = 0.05, .seed = 7}, logits,
             expected);
}

TEST_CASE("the chain in its order: top-k, typical, top-p, min-p") {
  const auto logits = RandomLogits(4);
  const Distribution p = Softmax(logits, 1.2);
  auto order = SortedBy(p, [&](TokenId id) { return -p.at(id); });
  order.resize(12);  // top_k
  Distribution left = Keep(p, order);
  std::vector<TokenId> kept;
  double sum = 0;
  for (const TokenId id : SortedBy(left, [&](TokenId t) { return -left.at(t); })) {
    kept.push_back(id);
    sum += left.at(id);
    if (sum >= 0.9) break;  // top_p
  }
  const double least = 0.2 * left.at(kept[0]);
  std::erase_if(kept, [&](TokenId id) { return left.at(id) < least; });  // min_p
  CheckDraws({.temperature = 1.2, .top_k = 12, .top_p = 0.9, .min_p = 0.2, .seed = 8}, logits,
             Keep(left, kept));
}

TEST_CASE("mirostat 2 follows its authors' algorithm, and holds the surprise near tau") {
  for (const double tau : {1.5, 3.0}) {
    const SamplingOptions options = {.temperature = 1.0, .mirostat_tau = tau, .seed = 9};
    Sampler sampler(options);
    double mu = 2 * tau;
    double total = 0;
    constexpr int kSteps = 4000;
    for (int i = 0; i < kSteps; ++i) {
      std::vector<float> logits = RandomLogits(100 + static_cast<uint32_t>(i));
      const Distribution p = Softmax(logits, 1.0);
      const auto id = sampler.Next(logits, {});
      REQUIRE_OK(id);
      std::vector<TokenId> kept;
      for (const TokenId token : SortedBy(p, [&](TokenId t) { return -p.at(t); })) {
        if (kept.empty() || -std::log2(p.at(token)) <= mu) kept.push_back(token);
      }
      const Distribution left = Keep(p, kept);
      REQUIRE(left.count(*id) == 1);
      const double surprise = -std::log2(left.at(*id));
      mu -= options.mirostat_eta * (surprise - tau);
      total += surprise;
    }
    CHECK(total / kSteps == Approx(tau).margin(0.1));
  }
}

TEST_CASE("presence and frequency penalties count what was generated, not the prompt") {
  const std::vector<TokenId> history = {1, 2, 2, 3, 2, 3, 3, 4};
  const SamplingOptions options = {
      .logit_bias = {{7, 2.5}, {1, -1.0}}, .presence_penalty = 0.5, .frequency_penalty = 0.25};
  // With a temperature of 0 each token wins once its logit is raised past the others.
  const std::map<TokenId, double> changes = {{1, -1.0},        {2, -0.5 - 0.25}, {3, -0.5 - 0.75},
                                             {4, -0.5 - 0.25}, {7, 2.5},         {5, 0.0}};
  for (const auto& [id, change] : changes) {
    for (const double edge : {-0.01, 0.01}) {
      std::vector<float> logits(kVocabulary, -100.0f);
      logits[0] = 1.0f;
      logits[static_cast<size_t>(id)] = static_cast<float>(1.0 - change + edge);
      Sampler sampler(options, 3);
      CHECK(*sampler.Next(logits, history) == (edge > 0 ? id : 0));
    }
  }
}

TEST_CASE("DRY punishes what goes on with a repetition, by its length") {
  const SamplingOptions options = {
      .dry_multiplier = 0.8, .dry_base = 1.75, .dry_allowed_length = 2};
  std::mt19937 random(10);
  for (int round = 0; round < 200; ++round) {
    std::vector<TokenId> history;
    for (size_t i = 0; i < 60; ++i) history.push_back(static_cast<TokenId>(random() % 4));
    std::vector<bool> breaks(4);
    breaks[3] = round % 2 == 0;
    // Every token that may come, with the longest end of the history before an earlier one of it.
    std::map<TokenId, double> expected;
    const auto is_break = [&](TokenId id) { return breaks[static_cast<size_t>(id)]; };
    for (size_t at = 1; at < history.size(); ++at) {
      for (size_t length = at; length >= 1; --length) {
        const bool equal = std::equal(history.end() - static_cast<ptrdiff_t>(length), history.end(),
                                      history.begin() + static_cast<ptrdiff_t>(at - length));
        const bool broken =
            std::any_of(history.end() - static_cast<ptrdiff_t>(length), history.end(), is_break);
        if (!equal || broken || is_break(history[at])) continue;
        if (length < 2) break;
        double& largest = expected[history[at]];
        largest = std::max(largest, 0.8 * std::pow(1.75, static_cast<double>(length) - 2));
        break;
      }
    }
    const auto found = DryPenalties(options, history, breaks);
    REQUIRE(found.size() == expected.size());
    for (const auto& [id, penalty] : expected) CHECK(found.at(id) == Approx(penalty));
  }
}

TEST_CASE("equal seeds give equal draws under every option") {
  const SamplingOptions options = {.temperature = 1.3,
                                   .typical_p = 0.9,
                                   .xtc_probability = 0.5,
                                   .xtc_threshold = 0.05,
                                   .seed = 12};
  Sampler a(options), b(options);
  for (uint32_t i = 0; i < 200; ++i) {
    auto logits = RandomLogits(i);
    auto again = logits;
    CHECK(*a.Next(logits, {}) == *b.Next(again, {}));
  }
}

TEST_CASE("options outside of their ranges are named") {
  const auto fails = [](const SamplingOptions& options, const char* name) {
    const Status status = ValidateSampling(options);
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK_THAT(status.message(), Catch::Matchers::Contains(name));
  };
  fails({.presence_penalty = NAN}, "presence_penalty");
  fails({.frequency_penalty = 2000}, "frequency_penalty");
  fails({.dry_multiplier = -1}, "dry_multiplier");
  fails({.dry_base = 0.5}, "dry_base");
  fails({.top_n_sigma = -0.1}, "top_n_sigma");
  fails({.typical_p = 0}, "typical_p");
  fails({.xtc_probability = 1.1}, "xtc_probability");
  fails({.xtc_threshold = 0}, "xtc_threshold");
  fails({.mirostat_tau = INFINITY}, "mirostat_tau");
  fails({.mirostat_eta = 0}, "mirostat_eta");
  fails({.logit_bias = {{3, 1e9}}}, "logit_bias of token 3");
  CHECK(ValidateSampling({}).ok());
}

}  // namespace
}  // namespace rag
