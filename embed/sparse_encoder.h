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

namespace rag {

struct SparseVector {
  struct Entry {
    TokenId token = 0;
    float weight = 0;  // > 0
  };
  std::vector<Entry> entries;  // in order of their tokens
};

// The sum of the products of what two vectors share.
float DotProduct(const SparseVector& a, const SparseVector& b);

// Immutable after loading; Encode may be called from several threads.
class SparseEncoder {
 public:
  // `folder` is a masked language model, with sentence-transformers' SpladePooling in its
  // modules.json or without. Errors: as Encoder::Load's; unimplemented for a family without a head
  // that is known, or a pooling of another kind.
  static Result<std::unique_ptr<SparseEncoder>> Load(const std::string& folder,
                                                     const Runtime& runtime,
                                                     Precision precision = Precision::kF32);

  // log(1 + max(0, logit)) of each token of the vocabulary, the largest (or the sum, as the files
  // say) over the text's tokens; special ones count too. A text longer than the network reads is
  // cut. Errors: cancelled.
  Result<std::vector<SparseVector>> Encode(std::span<const std::string_view> texts,
                                           const CancelToken* cancel = nullptr) const;

  const Tokenizer& tokenizer() const { return network_->tokenizer(); }

 private:
  SparseEncoder(std::unique_ptr<const TextNetwork> network, MlmHead head)
      : network_(std::move(network)), head_(std::move(head)) {}
  // states [length, hidden] of one text.
  SparseVector Pool(MatrixView states) const;

  const std::unique_ptr<const TextNetwork> network_;
  const MlmHead head_;
  bool sum_ = false;        // over the tokens, instead of the largest
  bool log_twice_ = false;  // log(1 + log(1 + max(0, logit)))
};

}  // namespace rag
