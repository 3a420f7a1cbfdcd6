#include "engine/classify/texts.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_set>
#include <utility>

namespace rag {
namespace {

// Texts whose logits, one row for each label of the caller's, are held at one time.
constexpr size_t kPairsAtOnce = 4'096;

}  // namespace

Status CheckLabels(std::span<const std::string> labels, size_t max) {
  if (labels.empty() || labels.size() > max) {
    return InvalidArgumentError(labels.size(), " labels are not between 1 and ", max);
  }
  std::unordered_set<std::string_view> seen;
  for (size_t i = 0; i < labels.size(); ++i) {
    const std::string& label = labels[i];
    if (label.empty()) return InvalidArgumentError("label ", i, " is empty");
    if (label.size() > kMaxClassifyTextBytes) {
      return InvalidArgumentError("label ", i, " has ", label.size(), " bytes, more than ",
                                  kMaxClassifyTextBytes);
    }
    if (!seen.insert(label).second) {
      return InvalidArgumentError("label '", label, "' is there twice");
    }
  }
  return OkStatus();
}

Result<std::vector<Classification>> ClassifyTexts(const TextClassifier& classifier,
                                                  std::span<const std::string_view> texts,
                                                  const ClassifyTextsRequest& request,
                                                  const CancelToken* cancel) {
  const bool own = request.labels.empty();
  if (!own) RAG_RETURN_IF_ERROR(CheckLabels(request.labels, kMaxClassifyTextLabels));
  if (request.hypothesis.size() > kMaxClassifyTextBytes) {
    return InvalidArgumentError("the hypothesis has ", request.hypothesis.size(),
                                " bytes, more than ", kMaxClassifyTextBytes);
  }
  const std::vector<std::string>& names = own ? classifier.labels() : request.labels;
  const std::vector<std::string_view> labels(names.begin(), names.end());
  const ZeroShotOptions options{.hypothesis = request.hypothesis, .several = request.several};
  const size_t together = std::max<size_t>(1, kPairsAtOnce / (own ? 1 : labels.size()));
  std::vector<Classification> results;
  for (size_t first = 0; first < texts.size(); first += together) {
    const auto part = texts.subspan(first, std::min(together, texts.size() - first));
    RAG_ASSIGN_OR_RETURN(const Matrix scores,
                         own ? classifier.Classify(part, cancel)
                             : classifier.ZeroShot(part, labels, options, cancel));
    for (size_t i = 0; i < part.size(); ++i) {
      Classification found;
      for (size_t j = 0; j < labels.size(); ++j) {
        const double score = scores.row(i)[j];
        found.push_back(
            {.label = names[j],
             .logit = classifier.regression() ? score : std::log(std::max(score, 1e-300)),
             .probability = score});
      }
      std::stable_sort(found.begin(), found.end(), [](const LabelScore& a, const LabelScore& b) {
        return a.probability > b.probability;
      });
      results.push_back(std::move(found));
    }
  }
  return results;
}

}  // namespace rag
