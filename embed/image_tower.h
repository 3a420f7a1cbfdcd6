// Pictures -> vectors: the second network of CLIP and SigLIP.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "embed/attention_pooling.h"
#include "embed/encoder_config.h"
#include "embed/transformer.h"
#include "embed/transformer_weights.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/image/image.h"
#include "lib/nn/linear.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Immutable after Load; Encode may be called from several threads.
class ImageTower {
 public:
  // config.images has a value, and config outlives this. Errors: as TransformerWeights::Load's.
  static Result<std::unique_ptr<ImageTower>> Load(const EncoderConfig& config, Precision precision,
                                                  const Runtime& runtime);

  // vectors [images, config.dim] f32, unit rows. Errors: invalid_argument naming the number of a
  // picture without pixels; cancelled.
  Status Encode(std::span<const Image> images, Matrix& vectors, const CancelToken* cancel) const;

  // What a product of unit vectors is multiplied by, and what is added then, before the softmax
  // (CLIP) or the sigmoid (SigLIP).
  float logit_scale() const { return logit_scale_; }
  float logit_bias() const { return logit_bias_; }
  size_t bytes() const { return weights_.bytes; }  // of the transformer's weights

 private:
  ImageTower(const EncoderConfig& config, TransformerWeights weights, const Runtime& runtime)
      : config_(config),
        weights_(std::move(weights)),
        runtime_(runtime),
        transformer_(config.images->model, weights_, config.images->model.max_sequence, runtime) {}

  Status ReadHead();
  Status ReadLogits();
  // The patches of one picture, and the class token before them -> rows [positions, hidden].
  void EmbedPatches(const Image& image, Matrix& rows) const;
  void Pool(MatrixView states, std::span<float> out) const;

  const EncoderConfig& config_;
  const TransformerWeights weights_;
  const Runtime& runtime_;
  const Transformer transformer_;
  Linear patches_;                  // 3 * patch * patch -> hidden
  std::vector<float> class_token_;  // [hidden], or empty
  std::optional<Linear> projection_;
  std::optional<AttentionPooling> pooling_;
  float logit_scale_ = 1;
  float logit_bias_ = 0;
};

}  // namespace rag
