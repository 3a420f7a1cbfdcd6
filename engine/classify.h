// Zero-shot classification: which of some labels a picture shows, without training.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace rag {

inline constexpr size_t kMaxClassifyLabels = 10'000;
inline constexpr size_t kMaxClassifyTemplates = 1'000;
// Of one of either, and of the places for the label in a template.
inline constexpr size_t kMaxClassifyTextBytes = 1'000;
inline constexpr size_t kMaxClassifyPlaces = 8;

struct ClassifyRequest {
  std::vector<std::string> labels;  // 1 to 10,000, none empty, each once
  // Sentences that a label is put into, for each "{}"; at least one, at most 1,000. A label's
  // vector is the mean of its sentences' (Radford et al. 2021, section 3.1.4, "prompt ensembling").
  std::vector<std::string> templates = {"a photo of a {}"};
};

struct LabelScore {
  std::string label;
  double logit = 0;  // the product of the vectors, scaled and shifted as the model was trained
  // By softmax over the labels (CLIP), or of each label by itself (SigLIP).
  double probability = 0;
};

// Of one picture: every label, the best first; equal ones in the request's order.
using Classification = std::vector<LabelScore>;

}  // namespace rag
