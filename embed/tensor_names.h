// Where each family keeps its tensors.
#pragma once

#include <span>
#include <string_view>

#include "embed/tensor_finder.h"
#include "embed/transformer_config.h"

namespace rag {

// Names below a layer. Parts that stand apart in the file are stacked into one product; an empty
// name means that there is none.
struct LayerNames {
  std::string_view layer;  // before the layer's number
  std::string_view qkv[3];
  std::string_view attention_out;
  std::string_view attention_norm;
  std::string_view head_norms[2];  // of queries and keys
  // Gated: what is activated comes first. swap_up: the file has it second.
  std::string_view up[2];
  std::string_view down;
  std::string_view output_norm;
  std::string_view result_norms[2];  // of attention and of the feed-forward network
  BiasRule attention_bias = BiasRule::kRequired;
  BiasRule up_bias = BiasRule::kRequired;
  BiasRule down_bias = BiasRule::kRequired;
  BiasRule norm_bias = BiasRule::kRequired;
  bool swap_up = false;
  float norm_offset = 0;  // of the norms' factors: the file has what is left of them
};

struct TensorNames {
  std::string_view words = "embeddings.word_embeddings.weight";
  std::string_view types = "embeddings.token_type_embeddings.weight";
  std::string_view positions = "embeddings.position_embeddings.weight";
  std::string_view embedding_norm = "embeddings.LayerNorm";  // "": none
  std::string_view projection;  // from the word vectors' size to the hidden size
  std::string_view final_norm;
  std::string_view score_bias;  // by relative position
  LayerNames layers;
};

const TensorNames& FamilyTensorNames(const TransformerConfig& config);

// What may stand before every name.
std::span<const std::string_view> TensorPrefixes();

}  // namespace rag
