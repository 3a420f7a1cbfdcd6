#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rag {
namespace {

constexpr double kMaxTemperature = 100;
constexpr double kMaxPenalty = 1000;
constexpr size_t kMaxBiases = 1024;

uint64_t RotateLeft(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

Status CheckLogits(std::span<const float> logits) {
  bool any = false;
  for (size_t id = 0; id < logits.size(); ++id) {
    if (std::isnan(logits[id]) || (std::isinf(logits[id]) && logits[id] > 0)) {
      return DataLossError("the model gives token ", id, " the logit ", logits[id],
                           ": its weights are damaged");
    }
    any = any || !std::isinf(logits[id]);
  }
  if (!any) return DataLossError("the model gives every token the logit -infinity");
  return OkStatus();
}

// Written so that NaN fails.
Status CheckRange(std::string_view name, double value, bool fits, std::string_view range) {
  if (fits) return OkStatus();
  return InvalidArgumentError(name, " ", value, " is not ", range);
}

}  // namespace

Status ValidateSampling(const SamplingOptions& options) {
  const auto fraction = [](double value) { return value > 0 && value <= 1; };
  const auto share = [](double value) { return value >= 0 && value <= 1; };
  const auto above = [](double value) { return value > 0 && std::isfinite(value); };
  const auto not_negative = [](double value) { return value >= 0 && value <= kMaxPenalty; };
  const auto penalty = [](double value) { return std::fabs(value) <= kMaxPenalty; };
  const SamplingOptions& o = options;
  const struct {
    std::string_view name;
    double value;
    bool fits;
    std::string_view range;
  } kChecks[] = {
      {"temperature", o.temperature, o.temperature >= 0 && o.temperature <= kMaxTemperature,
       "between 0 and 100"},
      {"top_p", o.top_p, fraction(o.top_p), "above 0 and at most 1"},
      {"min_p", o.min_p, o.min_p >= 0 && o.min_p < 1, "at least 0 and below 1"},
      {"repetition_penalty", o.repetition_penalty, above(o.repetition_penalty), "above 0"},
      {"presence_penalty", o.presence_penalty, penalty(o.presence_penalty),
       "between -1000 and 1000"},
      {"frequency_penalty", o.frequency_penalty, penalty(o.frequency_penalty),
       "between -1000 and 1000"},
      {"dry_multiplier", o.dry_multiplier, not_negative(o.dry_multiplier), "between 0 and 1000"},
      {"dry_base", o.dry_base, o.dry_base >= 1 && o.dry_base <= kMaxPenalty, "between 1 and 1000"},
      {"top_n_sigma", o.top_n_sigma, not_negative(o.top_n_sigma), "between 0 and 1000"},
      {"typical_p", o.typical_p, fraction(o.typical_p), "above 0 and at most 1"},
      {"xtc_probability", o.xtc_probability, share(o.xtc_probability), "between 0 and 1"},
      {"xtc_threshold", o.xtc_threshold, fraction(o.xtc_threshold), "above 0 and at most 1"},
      {"mirostat_tau", o.mirostat_tau, not_negative(o.mirostat_tau), "between 0 and 1000"},
      {"mirostat_eta", o.mirostat_eta, fraction(o.mirostat_eta), "above 0 and at most 1"},
  };
  for (const auto& check : kChecks) {
    RAG_RETURN_IF_ERROR(CheckRange(check.name, check.value, check.fits, check.range));
  }
  if (options.logit_bias.size() > kMaxBiases) {
    return InvalidArgumentError("logit_bias has ", options.logit_bias.size(), " entries, over ",
                                kMaxBiases);
  }
  for (const auto& [id, bias] : options.logit_bias) {
    RAG_RETURN_IF_ERROR(CheckRange(StrCat("logit_bias of token ", id), bias, penalty(bias),
                                   "between -1000 and 1000"));
  }
  return OkStatus();
}

RandomSource::RandomSource(uint64_t seed) {
  for (uint64_t& word : state_) {
    seed += 0x9e3779b97f4a7c15;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    word = z ^ (z >> 31);
  }
}

uint64_t RandomSource::Next() {
  const uint64_t result = RotateLeft(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = RotateLeft(state_[3], 45);
  return result;
}

double RandomSource::NextUniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

Sampler::Sampler(const SamplingOptions& options, size_t prompt_tokens,
                 const std::vector<bool>* breaks)
    : options_(options),
      prompt_tokens_(prompt_tokens),
      breaks_(breaks),
      random_(options.seed),
      mirostat_mu_(2 * options.mirostat_tau) {}

bool Sampler::Before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

Result<TokenId> Sampler::Next(std::span<float> logits, std::span<const TokenId> history) {
  RAG_RETURN_IF_ERROR(CheckLogits(logits));
  Penalize(logits, history);
  RAG_RETURN_IF_ERROR(CheckLogits(logits));  // a tiny repetition penalty can overflow
  const auto largest = std::max_element(logits.begin(), logits.end());
  if (options_.temperature == 0) return static_cast<TokenId>(largest - logits.begin());

  const bool mirostat = options_.mirostat_tau > 0;
  if (!mirostat && options_.top_n_sigma > 0) KeepTopNSigma(logits, *largest);
  candidates_.clear();
  for (size_t id = 0; id < logits.size(); ++id) {
    // In double: a difference of logits divided by the smallest temperature does not overflow.
    const double exponent =
        (static_cast<double>(logits[id]) - static_cast<double>(*largest)) / options_.temperature;
    candidates_.push_back({static_cast<TokenId>(id), logits[id], std::exp(exponent)});
  }
  if (mirostat) return DrawMirostat();
  if (options_.top_k > 0) KeepTopK();
  if (options_.typical_p < 1) KeepTypical();
  if (options_.top_p < 1) KeepTopP();
  if (options_.min_p > 0) KeepMinP();
  if (options_.xtc_probability > 0) ExcludeTopChoices();
  return candidates_[Draw()].id;
}

double Sampler::TotalWeight() const {
  double total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  return total;
}

void Sampler::KeepTopNSigma(std::span<float> logits, float largest) const {
  double count = 0, sum = 0, squares = 0;
  for (const float logit : logits) {
    if (std::isinf(logit)) continue;
    // Relative to the largest, so that squares lose little.
    const double value = static_cast<double>(logit) - static_cast<double>(largest);
    count += 1;
    sum += value;
    squares += value * value;
  }
  const double mean = sum / count;
  const double deviation = std::sqrt(std::max(squares / count - mean * mean, 0.0));
  const double lowest = static_cast<double>(largest) - options_.top_n_sigma * deviation;
  for (float& logit : logits) {
    if (static_cast<double>(logit) < lowest) logit = -std::numeric_limits<float>::infinity();
  }
}

void Sampler::KeepTopK() {
  if (options_.top_k >= candidates_.size()) return;
  const auto end = candidates_.begin() + static_cast<ptrdiff_t>(options_.top_k);
  std::nth_element(candidates_.begin(), end - 1, candidates_.end(), Before);
  candidates_.erase(end, candidates_.end());
  std::sort(candidates_.begin(), candidates_.end(), Before);
}

// Those whose surprise is nearest to the expected one, until they reach typical_p together.
void Sampler::KeepTypical() {
  std::erase_if(candidates_, [](const Candidate& candidate) { return candidate.weight <= 0; });
  const double total = TotalWeight();
  double entropy = 0;
  for (const Candidate& candidate : candidates_) {
    const double p = candidate.weight / total;
    entropy -= p * std::log(p);
  }
  const auto distance = [&](const Candidate& candidate) {
    return std::fabs(-std::log(candidate.weight / total) - entropy);
  };
  std::sort(candidates_.begin(), candidates_.end(), [&](const Candidate& a, const Candidate& b) {
    const double da = distance(a);
    const double db = distance(b);
    return da != db ? da < db : Before(a, b);
  });
  double sum = 0;
  size_t kept = 0;
  while (kept < candidates_.size() && (kept == 0 || sum < options_.typical_p * total)) {
    sum += candidates_[kept++].weight;
  }
  candidates_.resize(kept);
  std::sort(candidates_.begin(), candidates_.end(), Before);
}

void Sampler::KeepTopP() {
  const double total = TotalWeight();
  // A heap gives the most probable ones one by one; sorting a large vocabulary would cost more than
  // a step of a small model.
  const auto after = [](const Candidate& a, const Candidate& b) { return Before(b, a); };
  std::make_heap(candidates_.begin(), candidates_.end(), after);
  std::vector<Candidate> kept;
  double sum = 0;
  while (!candidates_.empty() && (kept.empty() || sum < options_.top_p * total)) {
    std::pop_heap(candidates_.begin(), candidates_.end(), after);
    sum += candidates_.back().weight;
    kept.push_back(candidates_.back());
    candidates_.pop_back();
  }
  candidates_ = std::move(kept);
}

void Sampler::KeepMinP() {
  double largest = 0;  // typical_p may have dropped the most probable token
  for (const Candidate& candidate : candidates_) largest = std::max(largest, candidate.weight);
  std::erase_if(candidates_, [&](const Candidate& candidate) {
    return candidate.weight < options_.min_p * largest;
  });
}

void Sampler::ExcludeTopChoices() {
  if (random_.NextUniform() >= options_.xtc_probability) return;
  const double least = options_.xtc_threshold * TotalWeight();
  std::sort(candidates_.begin(), candidates_.end(), Before);
  const auto below =
      std::find_if(candidates_.begin(), candidates_.end(),
                   [&](const Candidate& candidate) { return candidate.weight < least; });
  if (below - candidates_.begin() > 1) candidates_.erase(candidates_.begin(), below - 1);
}

TokenId Sampler::DrawMirostat() {
  std::sort(candidates_.begin(), candidates_.end(), Before);
  const double total = TotalWeight();
  size_t kept = 1;
  while (kept < candidates_.size() &&
         -std::log2(candidates_[kept].weight / total) <= mirostat_mu_) {
    ++kept;
  }
  candidates_.resize(kept);
  const Candidate& drawn = candidates_[Draw()];
  const double surprise = -std::log2(drawn.weight / TotalWeight());
  mirostat_mu_ -= options_.mirostat_eta * (surprise - options_.mirostat_tau);
  return drawn.id;
}

size_t Sampler::Draw() {
  double left = random_.NextUniform() * TotalWeight();
  for (size_t i = 0; i < candidates_.size(); ++i) {
    left -= candidates_[i].weight;
    if (left < 0) return i;
  }
  // Rounding left a crumb: the last one that has any weight.
  for (size_t i = candidates_.size(); i-- > 0;) {
    if (candidates_[i].weight > 0) return i;
  }
  return 0;
}

}  // namespace rag
