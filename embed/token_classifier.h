// Token classification: text -> the places in it that have a label (names, amounts, …).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "embed/task_network.h"
#include "embed/token_head.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag {

struct LabelledRange {
  size_t begin = 0;  // bytes of the text
  size_t end = 0;
  std::string label;  // without "B-" and "I-"
  float score = 0;    // the mean of its tokens' probabilities
};

// Immutable after loading; Find may be called from several threads.
class TokenClassifier {
 public:
  // `folder` is a Hugging Face model for token classification. Errors: as Encoder::Load's;
  // invalid_argument for a model without such a head, or of another task by its architecture.
  static Result<std::unique_ptr<TokenClassifier>> Load(const std::string& folder,
                                                       const Runtime& runtime,
                                                       Precision precision = Precision::kF32);

  const std::vector<std::string>& labels() const { return labels_; }

  // Of each text its ranges in order: neighbouring tokens of one label, of which "B-" begins
  // another; tokens of label "O" are left out. A text longer than the network reads is read in
  // pieces of whole tokens that overlap by a quarter; where two cover a token, the one whose nearer
  // end is further away counts. Errors: cancelled.
  Result<std::vector<std::vector<LabelledRange>>> Find(std::span<const std::string_view> texts,
                                                       const CancelToken* cancel = nullptr) const;

 private:
  TokenClassifier(std::unique_ptr<const TextNetwork> network, TokenHead head,
                  std::vector<std::string> labels)
      : network_(std::move(network)), head_(std::move(head)), labels_(std::move(labels)) {}

  const std::unique_ptr<const TextNetwork> network_;
  const TokenHead head_;
  const std::vector<std::string> labels_;
};

}  // namespace rag
