// The tensors of a Llama-architecture decoder, each checked against the shape that its
// configuration asks for.
#pragma once

#include <string>
#include <vector>

#include "generate/llama_config.h"
#include "lib/base/status.h"
#include "lib/model/model_file.h"
#include "lib/tensor/tensor.h"

namespace rag {

struct LlamaLayer {
  std::vector<float> attention_norm;  // [width]
  TensorView q;                       // [heads * head_dim, width]
  TensorView k;                       // [kv_heads * head_dim, width]
  TensorView v;
  TensorView attention_output;   // [width, heads * head_dim]
  std::vector<float> feed_norm;  // [width]
  TensorView gate;               // [feed_forward, width]
  TensorView up;                 // [feed_forward, width]
  TensorView down;               // [width, feed_forward]
};

// Views into the file, which must outlive this.
struct LlamaWeights {
  TensorView embeddings;            // [vocabulary, width]
  TensorView output;                // [vocabulary, width]; the embeddings where they are tied
  std::vector<float> output_norm;   // [width]
  std::vector<float> rope_factors;  // [rope_dimensions / 2], or empty: divides each frequency
  std::vector<LlamaLayer> layers;

  // Of all tensors in the file.
  size_t parameters = 0;
  size_t bytes = 0;
  std::string commonest_type;  // of the matrices, by elements
};

// Errors name the tensor: invalid_argument when it is missing, or of another shape or type than the
// configuration needs; unimplemented for a tensor that a Llama decoder does not have (biases,
// experts), since leaving it out would give other results.
Result<LlamaWeights> ReadLlamaWeights(const GgufFile& file, const LlamaConfig& config);

}  // namespace rag
