// The shape of a decoder, and in what its architecture differs from the others, read from a GGUF
// file's metadata.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "lib/base/status.h"
#include "lib/kernels/kernels.h"
#include "lib/model/model_file.h"
#include "lib/nn/rotary.h"

namespace rag {

enum class NormKind { kRms, kLayer };
enum class Gate {
  kNone,      // down(activation(up(x)))
  kSeparate,  // down(activation(gate(x)) * up(x))
  kFused,     // the same; gate's rows stand before up's in one tensor
};
// Where a block's input for the feed-forward part comes from.
enum class Residual {
  kSerial,          // from the residual stream after attention
  kParallel,        // from the residual stream before attention, through a norm of its own
  kParallelShared,  // from the attention's own normalized input
};

struct RopeConfig {
  RopePairs pairs = RopePairs::kNone;
  size_t dimensions = 0;  // even, at most head_dim: the first ones of a head are rotated
  double base = 10000;
  // Of sliding layers, which are not scaled, where they have their own.
  double sliding_base = 10000;
  bool has_sliding_base = false;
  RotaryScaling scaling;
};

struct DecoderConfig {
  std::string architecture;  // general.architecture: "llama", "gemma2"
  size_t layers = 0;
  size_t width = 0;  // of the residual stream
  size_t heads = 0;
  size_t kv_heads = 0;  // divides heads
  size_t head_dim = 0;
  size_t feed_forward = 0;
  size_t vocab_size = 0;
  size_t file_context = 0;  // what the file says it was trained for; tokens

  NormKind norm = NormKind::kRms;
  float norm_epsilon = 0;
  bool norms_before = true;  // attention's and the feed-forward part's inputs are normalized
  bool norms_after = false;  // their outputs are, before they are added to the residual stream
  bool head_norms = false;   // queries and keys are, whatever else a file has
  Residual residual = Residual::kSerial;
  Activation activation = Activation::kSilu;
  Gate gate = Gate::kSeparate;

  RopeConfig rope;
  bool learned_positions = false;  // the tensor position_embd.weight; the context is at most its
                                   // rows
  double alibi_bias = 0;           // 0: none; the largest exponent of a head's slope

  float attention_scale = 0;  // of q . k
  float attention_cap = 0;    // 0: none; scores become cap * tanh(score / cap)
  float qkv_clamp = 0;        // 0: none; q, k and v are cut to [-clamp, clamp]
  float output_cap = 0;       // 0: none; as attention_cap, for logits
  float embedding_scale = 1;  // of a token's embedding
  size_t sliding_window = 0;  // 0: none; tokens that a sliding layer sees, itself included
  std::vector<bool> slides;   // [layers]: whether the layer sees the window alone
  std::vector<bool> rotates;  // [layers]: whether the layer's queries and keys are rotated
  size_t experts = 0;         // 0: a dense feed-forward part
  size_t experts_used = 0;    // of each token

  size_t q_width() const { return heads * head_dim; }
  size_t kv_width() const { return kv_heads * head_dim; }
  bool sliding(size_t layer) const { return sliding_window > 0 && slides[layer]; }
};

// Keys: the GGUF specification and llama.cpp's llama-arch.cpp. Errors: unsupported naming an
// architecture or a rope scaling that is not known; invalid_argument naming the key that is
// missing, of another type, or outside its bounds, and its value.
Result<DecoderConfig> ReadDecoderConfig(const GgufFile& file);

}  // namespace rag
