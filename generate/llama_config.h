// The shape of a Llama-architecture decoder, read from a GGUF file's metadata.
#pragma once

#include <cstddef>

#include "lib/base/status.h"
#include "lib/model/model_file.h"

namespace rag {

struct LlamaConfig {
  size_t layers = 0;
  size_t width = 0;  // of the residual stream
  size_t heads = 0;
  size_t kv_heads = 0;  // divides heads
  size_t head_dim = 0;
  size_t feed_forward = 0;
  size_t vocab_size = 0;
  size_t file_context = 0;  // what the file says it was trained for; tokens
  float norm_epsilon = 0;
  size_t rope_dimensions = 0;  // even, at most head_dim
  double rope_base = 10000;
  double rope_scale = 1;  // positions are divided by it

  size_t q_width() const { return heads * head_dim; }
  size_t kv_width() const { return kv_heads * head_dim; }
};

// Keys: the GGUF specification, "LLaMA". Errors: unimplemented naming an architecture, rope scaling
// or mixture of experts that is not known; invalid_argument naming the key that is missing, of
// another type, or outside its bounds.
Result<LlamaConfig> ReadLlamaConfig(const GgufFile& file);

}  // namespace rag
