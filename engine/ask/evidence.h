// Evidence: the sentences of the sources, and how well each one supports a text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "embed/encoder.h"
#include "engine/search.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Of two vectors of one length, unit or not; 0 when one is zero.
float Cosine(std::span<const float> a, std::span<const float> b);

struct Sentence {
  size_t source = 0;   // position in the sources
  size_t ordinal = 0;  // among the sentences of that source
  uint32_t begin = 0;  // bytes in the source's text
  uint32_t end = 0;
  std::vector<std::string> terms;  // sorted, each once (AnalyzeText)
};

// Sorted, each once.
std::vector<std::string> TermsOf(std::string_view text);

class Evidence {
 public:
  // The sentences of `sources`, which outlive the Evidence.
  explicit Evidence(std::span<const Hit> sources);

  const std::vector<Sentence>& sentences() const { return sentences_; }
  std::string_view text(const Sentence& sentence) const;
  // The indexes of one source's sentences: [first, last).
  std::pair<size_t, size_t> OfSource(size_t source) const { return ranges_[source]; }

  // The part of the weight of `terms` (inverse sentence frequency, as BM25's) that the sentence
  // has: 0 .. 1. Terms that no sentence has weigh most. 0 when there are no terms.
  double Coverage(std::span<const std::string> terms, const Sentence& sentence) const;

  // Encodes the sentences of `wanted` that have no vector yet. Errors: cancelled.
  Status Encode(std::span<const size_t> wanted, const Encoder& encoder, const CancelToken* cancel);
  // Empty until encoded.
  std::span<const float> vector(size_t sentence) const { return vectors_[sentence]; }

 private:
  double Weight(const std::string& term) const;

  std::span<const Hit> sources_;
  std::vector<Sentence> sentences_;
  std::vector<std::pair<size_t, size_t>> ranges_;
  std::unordered_map<std::string, uint32_t> frequency_;  // sentences that have the term
  std::vector<std::vector<float>> vectors_;
};

}  // namespace rag
