// What changes logits before a token is drawn.
#include <algorithm>
#include <cmath>

#include "generate/sampler.h"

namespace rag {

std::unordered_map<TokenId, double> DryPenalties(const SamplingOptions& options,
                                                 std::span<const TokenId> history,
                                                 const std::vector<bool>& breaks) {
  // Longer repetitions are punished as this one: base^length would overflow.
  constexpr size_t kLongest = 50;
  std::unordered_map<TokenId, double> penalties;
  const auto text = history.last(std::min(history.size(), Sampler::kDryWindow));
  const auto is_break = [&](TokenId id) {
    return !breaks.empty() && breaks[static_cast<size_t>(id)];
  };
  const size_t n = text.size();
  if (n < 2 || is_break(text[n - 1])) return penalties;
  for (size_t end = 0; end + 1 < n; ++end) {
    // What ends at `end` repeats what the text ends with.
    size_t length = 0;
    while (length <= end && length < kLongest && text[end - length] == text[n - 1 - length] &&
           !is_break(text[end - length])) {
      ++length;
    }
    if (length < std::max<size_t>(options.dry_allowed_length, 1) || is_break(text[end + 1])) {
      continue;
    }
    const double penalty =
        options.dry_multiplier *
        std::pow(options.dry_base, static_cast<double>(length - options.dry_allowed_length));
    double& largest = penalties[text[end + 1]];
    largest = std::max(largest, penalty);
  }
  return penalties;
}

void Sampler::Penalize(std::span<float> logits, std::span<const TokenId> history) const {
  const auto at = [&](TokenId id) -> float& { return logits[static_cast<size_t>(id)]; };
  const auto take = [&](TokenId id, double amount) {
    at(id) = static_cast<float>(static_cast<double>(at(id)) - amount);
  };
  for (const auto& [id, bias] : options_.logit_bias) {
    if (id >= 0 && static_cast<size_t>(id) < logits.size()) take(id, -bias);
  }
  if (options_.repetition_penalty != 1.0) {
    const auto window = history.last(std::min(history.size(), kPenaltyWindow));
    for (size_t i = 0; i < window.size(); ++i) {
      // Once for each different token.
      const auto end = window.begin() + static_cast<ptrdiff_t>(i);
      if (std::find(window.begin(), end, window[i]) != end) continue;
      float& logit = at(window[i]);
      const double penalty = options_.repetition_penalty;
      logit = static_cast<float>(logit > 0 ? logit / penalty : logit * penalty);
    }
  }
  if (options_.presence_penalty != 0 || options_.frequency_penalty != 0) {
    std::unordered_map<TokenId, size_t> counts;
    for (const TokenId id : history.subspan(std::min(prompt_tokens_, history.size()))) ++counts[id];
    for (const auto& [id, count] : counts) {
      take(id, options_.presence_penalty + options_.frequency_penalty * static_cast<double>(count));
    }
  }
  if (options_.dry_multiplier > 0) {
    static const std::vector<bool> kNoBreaks;
    const auto penalties =
        DryPenalties(options_, history, breaks_ == nullptr ? kNoBreaks : *breaks_);
    for (const auto& [id, penalty] : penalties) take(id, penalty);
  }
}

}  // namespace rag
