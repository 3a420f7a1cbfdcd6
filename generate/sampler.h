// Sampler: logits -> the next token.
#pragma once

#include <array>
#include <cstdint>
#include <span>
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

// In the order of SamplingOptions: repetition penalty over the last 64 tokens (a logit is divided
// by it when positive, else multiplied), temperature, top_k, top_p (the fewest most probable tokens
// that together reach it), min_p (of the most probable one's), draw. Ties go to the smaller id.
class Sampler {
 public:
  static constexpr size_t kPenaltyWindow = 64;

  // `options` passed ValidateSampling.
  explicit Sampler(const SamplingOptions& options);

  // `logits` [vocabulary] is used up; `history` is the prompt and the tokens generated so far, ids
  // within the vocabulary. Errors: data_loss when a logit is NaN or +infinity, or all are
  // -infinity.
  Result<TokenId> Next(std::span<float> logits, std::span<const TokenId> history);

 private:
  struct Candidate {
    TokenId id;
    float logit;
    double weight;  // not yet divided by the sum of the weights
  };
  static bool Before(const Candidate& a, const Candidate& b);
  void KeepTopK();
  void KeepTopP();
  void KeepMinP();
  TokenId Draw();

  const SamplingOptions options_;
  RandomSource random_;
  std::vector<Candidate> candidates_;
};

}  // namespace rag
