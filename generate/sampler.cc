#include "generate/sampler.h"

#include <algorithm>
#include <cmath>

namespace rag {
namespace {

constexpr double kMaxTemperature = 100;

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

void Penalize(std::span<float> logits, std::span<const TokenId> history, double penalty) {
  const size_t count = std::min(history.size(), Sampler::kPenaltyWindow);
  const auto window = history.last(count);
  for (size_t i = 0; i < count; ++i) {
    // Once for each different token.
    if (std::find(window.begin(), window.begin() + static_cast<ptrdiff_t>(i), window[i]) !=
        window.begin() + static_cast<ptrdiff_t>(i)) {
      continue;
    }
    float& logit = logits[static_cast<size_t>(window[i])];
    logit = static_cast<float>(logit > 0 ? logit / penalty : logit * penalty);
  }
}

}  // namespace

Status ValidateSampling(const SamplingOptions& options) {
  // Written so that NaN fails.
  if (!(options.temperature >= 0 && options.temperature <= kMaxTemperature)) {
    return InvalidArgumentError("temperature ", options.temperature, " is not between 0 and ",
                                kMaxTemperature);
  }
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    return InvalidArgumentError("top_p ", options.top_p, " is not above 0 and at most 1");
  }
  if (!(options.min_p >= 0 && options.min_p < 1)) {
    return InvalidArgumentError("min_p ", options.min_p, " is not at least 0 and below 1");
  }
  if (!(options.repetition_penalty > 0 && std::isfinite(options.repetition_penalty))) {
    return InvalidArgumentError("repetition_penalty ", options.repetition_penalty,
                                " is no number above 0");
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

Sampler::Sampler(const SamplingOptions& options) : options_(options), random_(options.seed) {}

bool Sampler::Before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

Result<TokenId> Sampler::Next(std::span<float> logits, std::span<const TokenId> history) {
  RAG_RETURN_IF_ERROR(CheckLogits(logits));
  if (options_.repetition_penalty != 1.0) {
    Penalize(logits, history, options_.repetition_penalty);
    RAG_RETURN_IF_ERROR(CheckLogits(logits));  // a tiny penalty can overflow
  }
  const auto largest = std::max_element(logits.begin(), logits.end());
  if (options_.temperature == 0) return static_cast<TokenId>(largest - logits.begin());

  candidates_.clear();
  for (size_t id = 0; id < logits.size(); ++id) {
    // In double: a difference of logits divided by the smallest temperature does not overflow.
    const double exponent =
        (static_cast<double>(logits[id]) - static_cast<double>(*largest)) / options_.temperature;
    candidates_.push_back({static_cast<TokenId>(id), logits[id], std::exp(exponent)});
  }
  if (options_.top_k > 0) KeepTopK();
  if (options_.top_p < 1) KeepTopP();
  if (options_.min_p > 0) KeepMinP();
  return Draw();
}

void Sampler::KeepTopK() {
  if (options_.top_k >= candidates_.size()) return;
  const auto end = candidates_.begin() + static_cast<ptrdiff_t>(options_.top_k);
  std::nth_element(candidates_.begin(), end - 1, candidates_.end(), Before);
  candidates_.erase(end, candidates_.end());
  std::sort(candidates_.begin(), candidates_.end(), Before);
}

void Sampler::KeepTopP() {
  double total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
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
  // The most probable token has weight 1.
  std::erase_if(candidates_,
                [&](const Candidate& candidate) { return candidate.weight < options_.min_p; });
}

TokenId Sampler::Draw() {
  double total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  double left = random_.NextUniform() * total;
  for (const Candidate& candidate : candidates_) {
    left -= candidate.weight;
    if (left < 0) return candidate.id;
  }
  // Rounding left a crumb: the last one that has any weight.
  for (size_t i = candidates_.size(); i-- > 0;) {
    if (candidates_[i].weight > 0) return candidates_[i].id;
  }
  return candidates_.front().id;
}

}  // namespace rag
