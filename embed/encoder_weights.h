// An encoder's weights: found by their Hugging Face names, their shapes checked, packed for one
// kernel table.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "embed/encoder_config.h"
#include "lib/base/status.h"
#include "lib/model/model_file.h"
#include "lib/nn/linear.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

struct NormWeights {
  std::vector<float> gamma;
  std::vector<float> beta;
};

struct EncoderLayer {
  Linear qkv;  // query, key and value in one product: out = 3 * hidden
  Linear attention_out;
  NormWeights attention_norm;
  Linear up;
  Linear down;
  NormWeights output_norm;
};

// Immutable after Load.
class EncoderWeights {
 public:
  // model.safetensors (or its shards) of config.folder, weights in f32, f16 or bf16, names with or
  // without the model's prefix ("bert."). Errors: not_found; invalid_argument naming the tensor and
  // the shapes or the type.
  static Result<EncoderWeights> Load(const EncoderConfig& config, const Runtime& runtime);

  // Row `id` of the word table, id < vocab, into out [hidden]. Read from the mapped file: a text
  // touches a few hundred rows of a table that is often larger than all else together.
  void ReadWord(size_t id, std::span<float> out) const;

  Matrix positions;  // [positions, hidden]
  Matrix types;      // [type_vocab, hidden], or empty
  NormWeights norm;  // of the embeddings
  std::vector<EncoderLayer> layers;
  size_t bytes = 0;   // of the tensors, as stored
  uint64_t hash = 0;  // of every tensor of the file: names, types, shapes and bytes

 private:
  explicit EncoderWeights(SafetensorsFile file) : file_(std::move(file)) {}

  SafetensorsFile file_;
  const TensorView* words_ = nullptr;  // of file_, [vocab, hidden]
};

}  // namespace rag
