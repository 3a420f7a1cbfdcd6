// Reranker: (query, passage) -> score, by a cross-encoder or by late interaction, from a Hugging
// Face folder.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "embed/encoder.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag {

struct RerankerInfo {
  std::string model_type;  // as in config.json
  size_t layers = 0;
  size_t heads = 0;
  size_t max_tokens = 0;  // of query and passage together, special tokens included
  bool sigmoid = false;   // scores are in (0, 1); else they are the model's logits
  // Scores are sums of cosines, one for each of the query's tokens (LateInteraction); max_tokens is
  // the passage's alone.
  bool late_interaction = false;
  std::string fingerprint;  // of late interaction: equal ones give equal token vectors; else ""
  size_t weight_bytes = 0;
};

struct RerankScores {
  std::vector<float> scores;  // [passages], larger is better
  EncodeStats stats;
};

// Immutable after loading; Score may be called from several threads (they share the pool).
class Reranker {
 public:
  // `folder` holds what Encoder::Load reads, with the weights of a sequence classification head of
  // one label (Nogueira & Cho 2019, "Passage Re-ranking with BERT"). Scores are what
  // sentence-transformers' CrossEncoder gives: the activation that its files name, else the
  // sigmoid. A folder of a late interaction model (see LateInteraction::Load) is one too. Errors:
  // as Encoder::Load's; invalid_argument for a model without such a head; unsupported naming the
  // key for one of several labels or another activation.
  static Result<std::unique_ptr<Reranker>> Load(const std::string& folder, const Runtime& runtime,
                                                Precision precision = Precision::kF32);
  virtual ~Reranker() = default;

  // Query and passage are joined as the tokenizer says; when they are too long, tokens are taken
  // from the longer one. Errors: cancelled.
  virtual Result<RerankScores> Score(std::string_view query,
                                     std::span<const std::string_view> passages,
                                     const CancelToken* cancel = nullptr) const = 0;

  virtual const RerankerInfo& info() const = 0;
};

}  // namespace rag
