// Labels of texts: the model's own, or the caller's by entailment.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "embed/text_classifier.h"
#include "engine/classify.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

// Of the labels, sentences and texts of a request. Errors: invalid_argument naming the one that is
// empty, too long or there twice.
Status CheckLabels(std::span<const std::string> labels, size_t max);

// Errors: invalid_argument naming what the request breaks; failed_precondition when labels are
// given and the model is none for natural language inference; cancelled.
Result<std::vector<Classification>> ClassifyTexts(const TextClassifier& classifier,
                                                  std::span<const std::string_view> texts,
                                                  const ClassifyTextsRequest& request,
                                                  const CancelToken* cancel);

}  // namespace rag
