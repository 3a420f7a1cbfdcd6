// A transformer's weights: found by their Hugging Face names, their shapes checked, packed for one
// kernel table.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "embed/tensor_finder.h"
#include "embed/tensor_names.h"
#include "embed/transformer_config.h"
#include "lib/base/status.h"
#include "lib/model/model_file.h"
#include "lib/nn/linear.h"
#include "lib/nn/rotary.h"
#include "lib/nn/score_bias.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

struct EncoderFeedForward {
  Linear up;  // gated: out = 2 * intermediate, what is activated first
  Linear down;
  EncoderNorm norm;
  EncoderNorm result_norm;  // empty: none
};

// MobileBERT's way into a layer and out of it: hidden -> inner -> hidden.
struct Bottleneck {
  Linear input;  // of the residual stream inside
  EncoderNorm input_norm;
  Linear attention;  // of queries and keys
  EncoderNorm attention_norm;
  Linear value;  // values come from the hidden state itself
  Linear output;
  EncoderNorm output_norm;
};

struct TransformerLayer {
  Linear qkv;  // query, key and value in one product: out = qkv_width; 2 * inner in a bottleneck
  EncoderNorm head_norms[2];  // of each head's queries and keys; empty: none
  Linear attention_out;
  EncoderNorm attention_norm;
  EncoderNorm attention_result_norm;  // empty: none
  std::vector<EncoderFeedForward> feed_forwards;
  std::optional<Bottleneck> bottleneck;
};

struct TransformerOptions {
  size_t max_tokens = 0;  // of the longest sequence that will be run
  // Of the layers' products; embeddings and norms stay f32, and attention keeps at least what
  // kBf16x3 does.
  Precision precision = Precision::kF32;
};

// Immutable after Load.
class TransformerWeights {
 public:
  // The weights of `folder` (see OpenWeights) in f32, f16 or bf16, names with or without the
  // model's prefix ("bert."). Errors: OpenWeights'; invalid_argument naming the tensor and the
  // shapes or the type.
  static Result<TransformerWeights> Load(const std::string& folder, const TransformerConfig& config,
                                         const TransformerOptions& options, const Runtime& runtime);
  // The whole names of what the products of these weights' layers would round, in no order. All is
  // found and checked as by Load, but nothing is packed. Errors: Load's.
  static Result<std::vector<std::string>> FindRounded(const std::string& folder,
                                                      const TransformerConfig& config,
                                                      const TransformerOptions& options,
                                                      const Runtime& runtime);

  // Row `id` of the word table, where there is one, id < vocab, into out [embedding]. Read from the
  // mapped file: a text touches a few hundred rows of a table that is often larger than all else
  // together.
  void ReadWord(size_t id, std::span<float> out) const;
  const TensorFile& file() const { return file_; }
  // The file's tensors by their whole names, as heads need them, and the prefix of the network's.
  TensorFinder finder() const { return TensorFinder(file_, folder_, ""); }
  const std::string& prefix() const { return prefix_; }

  Matrix positions;                  // [positions, …], or empty
  Matrix types;                      // [type_vocab, …], or empty
  EncoderNorm norm;                  // of the embeddings; empty: none
  std::optional<Linear> projection;  // of the embeddings, to the hidden size
  EncoderNorm final_norm;            // empty: none
  Rotary rotary;
  Rotary local_rotary;  // of the layers that see a window
  ScoreBias score_bias;
  std::vector<TransformerLayer> layers;  // stored_layers() of them
  size_t bytes = 0;                      // of the tensors, as stored
  // Of the layers' products: what was asked for, or kInt8 where the file has them in 8 bits.
  Precision precision = Precision::kF32;

 private:
  // Makes a layer of the tensors that TensorFinder::ReadLinear would read; called by many threads.
  using MakeLinear = FunctionRef<Result<Linear>(
      const TensorFinder& finder, std::span<const std::string> names, const LinearShape& shape)>;

  TransformerWeights(TensorFile file, std::string folder)
      : file_(std::move(file)), folder_(std::move(folder)) {}

  static Result<TransformerWeights> Read(const std::string& folder, const TransformerConfig& config,
                                         const TransformerOptions& options, const Runtime& runtime,
                                         MakeLinear make_linear);
  class LayerReader;
  Status ReadEmbeddings(const TensorFinder& finder, const TensorNames& names,
                        const TransformerConfig& config, MakeLinear make_linear);
  Status ReadPositions(const TensorFinder& finder, const TensorNames& names,
                       const TransformerConfig& config, size_t max_tokens);

  TensorFile file_;
  std::string folder_;
  std::string prefix_;
  const TensorView* words_ = nullptr;  // of file_, [vocab, embedding]
};

}  // namespace rag
