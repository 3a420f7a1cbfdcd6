// Heads over every token: last hidden states -> logits of each token.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "embed/config_file.h"
#include "embed/passage_windows.h"
#include "embed/text_network.h"
#include "embed/transformer_config.h"
#include "embed/transformer_weights.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/nn/linear.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Immutable after Load; Apply may be called from any thread.
class TokenHead {
 public:
  // The layer `name` ("classifier", "qa_outputs") with `out` logits, behind ModernBERT's own dense
  // layer and norm where the family has them. Errors: as TensorFinder's; unsupported for a family
  // whose heads are not known.
  static Result<TokenHead> Load(const ConfigFile& file, const TransformerConfig& config,
                                const TransformerWeights& weights, std::string_view name,
                                size_t out, const Runtime& runtime);

  // states [length, hidden] -> [length, out].
  Matrix Apply(MatrixView states) const;
  // Of each window, whose sequences the network runs together. Errors: cancelled.
  Result<std::vector<Matrix>> Run(const TextNetwork& network,
                                  std::span<const PassageWindow> windows,
                                  const CancelToken* cancel) const;

 private:
  explicit TokenHead(const Runtime& runtime) : runtime_(&runtime) {}

  const Runtime* runtime_;
  std::optional<Linear> dense_;
  EncoderActivation activation_ = EncoderActivation::kGelu;
  EncoderNorm norm_;
  float norm_epsilon_ = 0;
  Linear out_;
};

}  // namespace rag
