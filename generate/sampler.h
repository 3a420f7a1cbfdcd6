// Sampler: logits -> the next token.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "generate/generator.h"
#include "lib/base/status.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// Errors: invalid_argument naming the option and its range.
Status ValidateSampling(const SamplingOptions& options);

// xoshiro256** 1.0 (Blackman and Vigna 2018), seeded by splitmix64: the same numbers on every
// platform and compiler, which the standard library's distributions are not.
class RandomSource {
 public:
  explicit RandomSource(uint64_t seed);
  uint64_t Next();
  // Uniform in [0, 1), a multiple of 2^-53.
  double NextUniform();

 private:
  std::array<uint64_t, 4> state_;
};

// What DRY takes off each token, given what was written: of all repetitions that it would go on
// with, the longest counts. `breaks` says which ids end a repetition; empty: none.
std::unordered_map<TokenId, double> DryPenalties(const SamplingOptions& options,
                                                 std::span<const TokenId> history,
                                                 const std::vector<bool>& breaks);

// In the order that SamplingOptions documents. Ties go to the smaller id.
class Sampler {
 public:
  static constexpr size_t kPenaltyWindow = 64;
  static constexpr size_t kDryWindow = 1024;

  // `options` passed ValidateSampling. `prompt_tokens` of the history were not generated. `breaks`:
  // as DryPenalties'; it outlives the sampler.
  explicit Sampler(const SamplingOptions& options, size_t prompt_tokens = 0,
                   const std::vector<bool>* breaks = nullptr);

  // `logits` [vocabulary] is used up; -infinity takes a token out. `history` is the prompt and the
  // tokens generated so far, ids within the vocabulary. Errors: data_loss when a logit is NaN or
  // +infinity, or all are -infinity.
  Result<TokenId> Next(std::span<float> logits, std::span<const TokenId> history);

 private:
  struct Candidate {
    TokenId id;
    float logit;
    double weight;  // not yet divided by the sum of the weights
  };
  static bool Before(const Candidate& a, const Candidate& b);
  void Penalize(std::span<float> logits, std::span<const TokenId> history) const;
  void KeepTopNSigma(std::span<float> logits, float largest) const;
  void KeepTopK();
  void KeepTypical();
  void KeepTopP();
  void KeepMinP();
  void ExcludeTopChoices();
  TokenId DrawMirostat();
  double TotalWeight() const;
  size_t Draw();

  const SamplingOptions options_;
  const size_t prompt_tokens_;
  const std::vector<bool>* breaks_;
  RandomSource random_;
  double mirostat_mu_;  // bits: candidates that surprise more are dropped
  std::vector<Candidate> candidates_;
};

}  // namespace rag
