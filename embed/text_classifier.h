// Sequence classification: text -> how likely each of the model's labels is, or each of the
// caller's.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "embed/classifier.h"
#include "embed/task_network.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

struct ZeroShotOptions {
  std::string hypothesis = "This example is {}.";  // "{}" becomes the label
  bool several = false;  // each label is right or wrong by itself; else one of them is right
};

// Immutable after loading; all methods may be called from several threads.
class TextClassifier {
 public:
  // `folder` is a Hugging Face model for sequence classification. Errors: as Encoder::Load's;
  // invalid_argument for a model without such a head, or whose architecture is another task's.
  static Result<std::unique_ptr<TextClassifier>> Load(const std::string& folder,
                                                      const Runtime& runtime,
                                                      Precision precision = Precision::kF32);

  const std::vector<std::string>& labels() const { return labels_; }
  // Its scores are numbers, not probabilities.
  bool regression() const { return scores_ == Scores::kPlain; }

  // [texts, labels] probabilities: softmax over the labels, or the sigmoid of each when the model's
  // problem_type is multi_label_classification or it has one label; the numbers themselves for
  // "regression". Texts longer than the network reads are cut. Errors: cancelled.
  Result<Matrix> Classify(std::span<const std::string_view> texts,
                          const CancelToken* cancel = nullptr) const;

  // The same for labels that the model was not trained for, by whether a text entails "this example
  // is <label>" (Yin et al. 2019, "Benchmarking Zero-shot Text Classification"): [texts, labels].
  // The model is one for natural language inference. Errors: failed_precondition when none of its
  // labels begins with "entail"; invalid_argument for no label, more than 1,000, or a hypothesis
  // without "{}"; cancelled.
  Result<Matrix> ZeroShot(std::span<const std::string_view> texts,
                          std::span<const std::string_view> labels,
                          const ZeroShotOptions& options = {},
                          const CancelToken* cancel = nullptr) const;

 private:
  TextClassifier(std::unique_ptr<const TextNetwork> network, Classifier head,
                 std::vector<std::string> labels)
      : network_(std::move(network)), head_(std::move(head)), labels_(std::move(labels)) {}
  // encode(i) for i < count -> logits [count, labels].
  Result<Matrix> Logits(size_t count, FunctionRef<Encoding(size_t)> encode,
                        const CancelToken* cancel) const;

  enum class Scores { kSoftmax, kSigmoid, kPlain };

  const std::unique_ptr<const TextNetwork> network_;
  const Classifier head_;
  const std::vector<std::string> labels_;
  Scores scores_ = Scores::kSoftmax;
  std::optional<size_t> entailment_;  // label of natural language inference
  size_t contradiction_ = 0;          // the one it is weighed against
};

}  // namespace rag
