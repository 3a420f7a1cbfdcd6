// Late interaction (Khattab & Zaharia 2020, "ColBERT"; Santhanam et al. 2022, "ColBERTv2"): a text
// is a vector for each of its tokens.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "embed/dense.h"
#include "embed/late_interaction_config.h"
#include "embed/reranker.h"
#include "embed/text_network.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Token vectors [tokens, dim] in 8-bit codes, each row with a scale of its own: its largest element
// is 127. A row's products with unit vectors are off by sqrt(dim) / 254 of that element at most.
std::string PackTokenVectors(MatrixView vectors);
// False when the bytes are none.
bool UnpackTokenVectors(std::string_view bytes, Matrix& vectors);

struct TokenVectors {
  std::vector<Matrix> texts;        // of each [its tokens, dim] f32, unit rows
  std::vector<uint32_t> truncated;  // [texts] tokens cut from each text; 0: none
  EncodeStats stats;
};

// Immutable after loading; all methods may be called from several threads.
class LateInteraction final : public Reranker {
 public:
  // `folder` is PyLate's (modules.json with a Transformer and Dense layers,
  // config_sentence_transformers.json with the lengths and prefixes) or Stanford's (config.json of
  // HF_ColBERT, artifact.metadata). Errors: as Encoder::Load's.
  static Result<std::unique_ptr<LateInteraction>> Load(const std::string& folder,
                                                       const Runtime& runtime, Precision precision);

  // kQuery: filled up with mask tokens as the files say, which have vectors too. kDocument and
  // kPlain: tokens of the files' skip list (punctuation) have none. Errors: cancelled.
  Result<TokenVectors> Encode(std::span<const std::string_view> texts, TextRole role,
                              const CancelToken* cancel = nullptr) const;

  // Of passages whose token vectors were made before, by a model of the same fingerprint. `read`
  // gives those of a passage, from any of the pool's threads. Errors: the first of `read`;
  // invalid_argument naming the number of a passage of another dimension; cancelled.
  using PassageReader = FunctionRef<Result<Matrix>(size_t passage)>;
  Result<std::vector<float>> ScoreVectors(std::string_view query, size_t passages,
                                          PassageReader read,
                                          const CancelToken* cancel = nullptr) const;

  // MaxSim of the query with each passage, at most the query's number of tokens.
  Result<RerankScores> Score(std::string_view query, std::span<const std::string_view> passages,
                             const CancelToken* cancel = nullptr) const override;
  const RerankerInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const { return network_->tokenizer(); }

 private:
  LateInteraction(LateInteractionConfig config, std::unique_ptr<const TextNetwork> network);
  Status ReadHead();
  Status SetFingerprint();
  Status FindTokens();
  Encoding Tokenize(std::string_view text, TextRole role, size_t& seen) const;
  // Calls consume(index, token vectors [n, dim]) for each text, from any of the pool's threads.
  // `truncated`, where it is not null: tokens cut from each text.
  Status Run(std::span<const std::string_view> texts, TextRole role, SequenceConsumer consume,
             EncodeStats& stats, const CancelToken* cancel,
             std::vector<uint32_t>* truncated = nullptr) const;
  Matrix Project(const Encoding& encoding, TextRole role, MatrixView states) const;

  const LateInteractionConfig config_;
  const std::unique_ptr<const TextNetwork> network_;
  std::optional<Linear> linear_;  // Stanford's head
  std::vector<DenseLayer> dense_;
  std::optional<TokenId> query_prefix_;
  std::optional<TokenId> document_prefix_;
  TokenId mask_ = 0;
  std::vector<TokenId> skipped_;  // in order
  RerankerInfo info_;
};

}  // namespace rag
