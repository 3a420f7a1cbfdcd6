// The heads of sequence classification: a text's last hidden states -> a logit for each label.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "embed/config_file.h"
#include "embed/encoder.h"
#include "embed/transformer_config.h"
#include "embed/transformer_weights.h"
#include "lib/base/status.h"
#include "lib/nn/linear.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Immutable after Load; Apply may be called from any thread.
class Classifier {
 public:
  // The family's head. `file` is config.json. Errors: invalid_argument naming the tensor that is
  // missing or of another shape; unsupported naming the key.
  static Result<Classifier> Load(const ConfigFile& file, const TransformerConfig& config,
                                 const TransformerWeights& weights, size_t labels,
                                 const Runtime& runtime);

  // states [length, hidden], length > 0 -> logits [labels].
  void Apply(MatrixView states, std::span<float> logits) const;

 private:
  explicit Classifier(const Runtime& runtime) : runtime_(&runtime) {}

  const Runtime* runtime_;
  Pooling pooling_ = Pooling::kCls;
  std::optional<Linear> dense_;  // none of a MobileBERT that says so
  EncoderActivation activation_ = EncoderActivation::kTanh;
  std::optional<EncoderNorm> norm_;  // ModernBERT's
  float norm_epsilon_ = 0;
  Linear out_;
};

}  // namespace rag
