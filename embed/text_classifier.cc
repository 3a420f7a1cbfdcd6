#include "embed/text_classifier.h"

#include <cmath>
#include <utility>

#include "lib/kernels/kernels.h"
#include "lib/text/unicode.h"

namespace rag {
namespace {

constexpr size_t kMaxLabels = 1'000;
constexpr std::string_view kPlace = "{}";

}  // namespace

Result<std::unique_ptr<TextClassifier>> TextClassifier::Load(const std::string& folder,
                                                             const Runtime& runtime,
                                                             Precision precision) {
  RAG_ASSIGN_OR_RETURN(TaskNetwork task,
                       LoadTaskNetwork(folder, precision, runtime, "ForSequenceClassification"));
  RAG_ASSIGN_OR_RETURN(std::vector<std::string> labels, ReadLabels(task.file));
  RAG_ASSIGN_OR_RETURN(const std::string problem, task.file.String("problem_type", ""));
  const TextNetwork& network = *task.network;
  RAG_ASSIGN_OR_RETURN(
      Classifier head,
      Classifier::Load(task.file, network.config(), network.weights(), labels.size(), runtime));
  auto classifier = std::unique_ptr<TextClassifier>(
      new TextClassifier(std::move(task.network), std::move(head), std::move(labels)));
  const std::vector<std::string>& names = classifier->labels_;
  if (problem == "regression") {
    classifier->scores_ = Scores::kPlain;
  } else if (problem == "multi_label_classification" || names.size() == 1) {
    classifier->scores_ = Scores::kSigmoid;
  }
  for (size_t i = 0; i < names.size(); ++i) {
    const bool entails = ToLower(names[i]).starts_with("entail");
    if (entails && !classifier->entailment_.has_value()) classifier->entailment_ = i;
  }
  // As transformers' pipeline: the first label, or the last when entailment is the first.
  if (classifier->entailment_ == 0) classifier->contradiction_ = names.size() - 1;
  return classifier;
}

Result<Matrix> TextClassifier::Logits(size_t count, FunctionRef<Encoding(size_t)> encode,
                                      const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(const std::vector<Encoding> encodings,
                       network_->TokenizeAll(count, encode, cancel));
  for (const Encoding& encoding : encodings) {
    if (encoding.ids.empty()) return InternalError("the tokenizer gave a text no token");
  }
  Matrix logits(count, labels_.size());
  EncodeStats stats;
  RAG_RETURN_IF_ERROR(network_->Run(
      encodings, [&](size_t i, MatrixView states) { head_.Apply(states, logits.row(i)); }, stats,
      cancel));
  return logits;
}

Result<Matrix> TextClassifier::Classify(std::span<const std::string_view> texts,
                                        const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(
      Matrix scores,
      Logits(
          texts.size(), [&](size_t i) { return network_->Tokenize(texts[i]); }, cancel));
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::span<float> row = scores.row(i);
    if (scores_ == Scores::kSoftmax) network_->runtime().kernels().softmax(row.data(), row.size());
    if (scores_ != Scores::kSigmoid) continue;
    for (float& value : row) value = 1.0f / (1.0f + std::exp(-value));
  }
  return scores;
}

Result<Matrix> TextClassifier::ZeroShot(std::span<const std::string_view> texts,
                                        std::span<const std::string_view> labels,
                                        const ZeroShotOptions& options,
                                        const CancelToken* cancel) const {
  if (!entailment_.has_value()) {
    std::string names;
    for (const std::string& label : labels_) names += StrCat(names.empty() ? "" : ", ", label);
    return FailedPreconditionError("none of the model's labels (", names,
                                   ") says that one text entails another");
  }
  if (labels.empty() || labels.size() > kMaxLabels) {
    return InvalidArgumentError(labels.size(), " labels are given, not 1 to ", kMaxLabels);
  }
  const size_t place = options.hypothesis.find(kPlace);
  if (place == std::string::npos) {
    return InvalidArgumentError("the hypothesis '", options.hypothesis, "' has no ", kPlace);
  }
  std::vector<std::string> hypotheses;
  for (const std::string_view label : labels) {
    hypotheses.push_back(std::string(options.hypothesis).replace(place, kPlace.size(), label));
  }
  const size_t count = labels.size();
  RAG_ASSIGN_OR_RETURN(
      const Matrix logits,
      Logits(
          texts.size() * count,
          [&](size_t i) { return network_->TokenizePair(texts[i / count], hypotheses[i % count]); },
          cancel));
  Matrix scores(texts.size(), count);
  for (size_t i = 0; i < texts.size() * count; ++i) {
    const float entails = logits.row(i)[*entailment_];
    float& score = scores.row(i / count)[i % count];
    score = entails;
    if (options.several || count == 1) {
      score = 1.0f / (1.0f + std::exp(logits.row(i)[contradiction_] - entails));
    }
  }
  if (options.several || count == 1) return scores;
  for (size_t i = 0; i < texts.size(); ++i) {
    network_->runtime().kernels().softmax(scores.row(i).data(), count);
  }
  return scores;
}

}  // namespace rag
