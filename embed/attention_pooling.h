// SigLIP's pooling: a learned query attends to the patches.
#pragma once

#include <span>
#include <vector>

#include "embed/tensor_finder.h"
#include "embed/transformer_config.h"
#include "lib/base/status.h"
#include "lib/nn/linear.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Lee et al. 2019's pooling by multi-head attention with one seed, and a feed-forward network with
// its residual behind it (Zhai et al. 2022, "Scaling vision transformers"). Immutable after Load.
class AttentionPooling {
 public:
  // The tensors below "vision_model.head.". Errors: as TensorFinder's.
  static Result<AttentionPooling> Load(const TensorFinder& finder, const TransformerConfig& config,
                                       const Runtime& runtime);

  // states [length, hidden], length at least 1 -> out [hidden]. Any thread.
  void Apply(MatrixView states, std::span<float> out) const;

 private:
  AttentionPooling(const TransformerConfig& config, const Runtime& runtime)
      : config_(&config), runtime_(&runtime) {}

  const TransformerConfig* config_;
  const Runtime* runtime_;
  std::vector<float> query_;  // [hidden], the seed's
  Linear keys_and_values_;    // out = 2 * hidden
  Linear attention_out_;
  EncoderNorm norm_;
  Linear up_;
  Linear down_;
};

}  // namespace rag
