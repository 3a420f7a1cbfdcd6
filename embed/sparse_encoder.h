// Learned sparse vectors (Formal et al. 2021, "SPLADE"; 2021, "SPLADE v2"): a text is a weight for
// some of the vocabulary's tokens.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "embed/mlm_head.h"
#include "embed/task_network.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/sparse_vector.h"

namespace rag {

struct SparseEncoderInfo {
  std::string model_type;  // as in config.json: "bert", "distilbert"
  size_t vocab = 0;        // tokens of the vectors are below
  size_t layers = 0;
  size_t heads = 0;
  size_t max_tokens = 0;  // a text's tokens past this are cut, special tokens included
  Precision precision = Precision::kF32;
  bool looks_up_queries = false;  // their tokens' weights are fixed: no network runs
  std::string fingerprint;        // equal ones give equal vectors
};

struct SparseEmbeddings {
  std::vector<SparseVector> vectors;  // [texts]
  std::vector<uint32_t> truncated;    // [texts] tokens cut from each text; 0: none
  EncodeStats stats;
};

// Immutable after loading; Encode may be called from several threads.
class SparseEncoder {
 public:
  // `folder` is a masked language model, with sentence-transformers' SpladePooling in its
  // modules.json or without; or a Router whose documents take these and whose queries a
  // SparseStaticEmbedding (a weight for each token, Geng et al. 2024, "Towards Competitive Search
  // Relevance For Inference-Free Learned Sparse Retrievers"). Errors: as Encoder::Load's;
  // unsupported for a family without a head that is known, or a pooling of another kind.
  static Result<std::unique_ptr<SparseEncoder>> Load(const std::string& folder,
                                                     const Runtime& runtime,
                                                     Precision precision = Precision::kF32);

  // Of queries where there are weights for them: those of the tokens that the text has. Otherwise
  // log(1 + max(0, logit)) of each token of the vocabulary, the largest (or the sum, as the files
  // say) over the text's tokens; special ones count too. A text longer than the network reads is
  // cut. Errors: cancelled.
  Result<SparseEmbeddings> Encode(std::span<const std::string_view> texts, TextRole role,
                                  const CancelToken* cancel = nullptr) const;

  const SparseEncoderInfo& info() const { return info_; }
  const Tokenizer& tokenizer() const { return network_->tokenizer(); }

 private:
  SparseEncoder(std::unique_ptr<const TextNetwork> network, MlmHead head)
      : network_(std::move(network)), head_(std::move(head)) {}
  // Adds what it reads to `source_bytes`.
  Status ReadPooling(const Modules& modules, std::string& source_bytes);
  Status ReadQueryWeights(const std::string& folder, std::string& source_bytes);
  // From the JSON file `name`: pieces of the vocabulary and their weights.
  Status ReadWeightsByPiece(const std::string& folder, const ConfigFile& file,
                            const std::string& name);
  Result<SparseEmbeddings> LookUp(std::span<const std::string_view> texts,
                                  const CancelToken* cancel) const;
  // states [length, hidden] of one text.
  SparseVector Pool(MatrixView states) const;

  const std::unique_ptr<const TextNetwork> network_;
  const MlmHead head_;
  SparseEncoderInfo info_;
  bool sum_ = false;  // over the tokens, instead of the largest
  // For queries, and what tells their tokens; none where the network runs for them too.
  std::vector<float> query_weights_;  // [vocab]
  std::unique_ptr<const Tokenizer> query_tokenizer_;
  size_t max_query_tokens_ = 0;
  bool log_twice_ = false;  // log(1 + log(1 + max(0, logit)))
};

}  // namespace rag
