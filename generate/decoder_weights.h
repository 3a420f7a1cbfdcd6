// The tensors of a decoder under GGUF's names, each checked against the shape that its
// configuration asks for.
#pragma once

#include <string>
#include <vector>

#include "generate/decoder_config.h"
#include "lib/base/pages.h"
#include "lib/base/status.h"
#include "lib/kernels/packed.h"
#include "lib/model/model_file.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

struct NormWeights {
  std::vector<float> gamma;  // empty: there is no norm here
  std::vector<float> beta;   // of layer norms, else empty

  bool exists() const { return !gamma.empty(); }
};

// Of queries or keys.
struct HeadNormWeights {
  std::vector<float> gamma;  // [all elements], or [head_dim] for every head; empty: none
  bool whole = false;        // all heads are normalized together, else each by itself
};

struct Projection {
  TensorView weights;       // [out, in]; no shape: it does not exist
  PackedMatrix packed;      // the same, once packed
  std::vector<float> bias;  // [out] or empty
  // The file's tensor that its rows are of, from first_row on; "blk.0.ffn_up.3.weight" for an
  // expert's, also where one tensor holds all experts, and "output.weight" for tied embeddings.
  std::string tensor;
  size_t first_row = 0;

  bool exists() const { return !weights.shape.empty(); }
};

struct FeedForward {
  Projection gate;  // [feed_forward, width]; does not exist in a plain one
  Projection up;    // [feed_forward, width]
  Projection down;  // [width, feed_forward]
};

struct DecoderLayer {
  NormWeights attention_norm;
  Projection q;  // [heads * head_dim, width]
  Projection k;  // [kv_heads * head_dim, width]
  Projection v;
  HeadNormWeights q_norm;
  HeadNormWeights k_norm;
  Projection attention_output;  // [width, heads * head_dim]
  NormWeights attention_post_norm;
  NormWeights feed_norm;
  NormWeights feed_post_norm;
  Projection router;              // [experts, width]; of a mixture of experts
  std::vector<FeedForward> feed;  // one, or one for each expert
};

// Views into the file, which must outlive this. Not moved once an adapter changes its projections.
struct DecoderWeights {
  TensorView embeddings;       // [vocabulary, width]
  TensorView positions;        // [file_context, width]; learned positions alone
  NormWeights embedding_norm;  // BLOOM's
  NormWeights output_norm;
  Projection output;  // [vocabulary, width]; the embeddings where they are tied
  // [rope dimensions / 2] or empty; each divides a frequency.
  std::vector<float> rope_factors;        // Llama 3's
  std::vector<float> rope_factors_short;  // LongRoPE's for contexts up to the original one
  std::vector<float> rope_factors_long;   // and beyond
  std::vector<DecoderLayer> layers;
  PageBuffer packed;  // what the projections' packed forms stand in

  // Of all tensors in the file.
  size_t parameters = 0;
  size_t bytes = 0;
  size_t token_bytes = 0;      // of the matrices that a pass of one token reads
  std::string commonest_type;  // of the matrices, by elements
};

// Errors name the tensor: invalid_argument when it is missing, or of another shape or type than the
// configuration needs; unsupported for a tensor that the architecture does not have as we know
// it, since leaving it out would give other results.
Result<DecoderWeights> ReadDecoderWeights(const GgufFile& file, const DecoderConfig& config);

// All that exist. The pointers hold until the weights are moved.
std::vector<Projection*> Projections(DecoderWeights& weights);

// Lays the projections out anew where the processor gains by it, all in one piece of memory, and
// lets go of the file's own bytes of them. Errors: resource_exhausted naming the file.
Status PackDecoderWeights(const GgufFile& file, const Runtime& runtime, DecoderWeights& weights);

}  // namespace rag
