// Classification: which of some labels a picture shows, without training; which labels a text has.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace rag {

inline constexpr size_t kMaxClassifyLabels = 10'000;
inline constexpr size_t kMaxClassifyTextLabels = 1'000;  // of texts
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

struct ClassifyTextsRequest {
  // At most 1,000, none empty, each once: found by whether the text entails `hypothesis` with the
  // label for its {}. None: the labels that the model was trained for.
  std::vector<std::string> labels;
  std::string hypothesis = "This example is {}.";
  bool several = false;  // each label is right or wrong by itself; else one of them is right
};

struct LabelScore {
  std::string label;
  // The product of the vectors, scaled and shifted as the model was trained; of a text the
  // logarithm of the probability.
  double logit = 0;
  // By softmax over the labels (CLIP), or of each label by itself (SigLIP); of a text as the model
  // or the request says. Of a regression's model both are its number.
  double probability = 0;
};

// Of one picture or text: every label, the best first; equal ones in the request's order.
using Classification = std::vector<LabelScore>;

// What a model that labels texts says of itself.
struct ClassifierInfo {
  bool of_tokens = false;           // it labels places in texts
  std::vector<std::string> labels;  // that it was trained for
};

}  // namespace rag
