// sentence-transformers' modules.json: what follows the network, from token vectors to a text's
// vector.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "embed/config_file.h"
#include "embed/encoder.h"
#include "embed/transformer_config.h"
#include "lib/base/status.h"

namespace rag {

struct PoolingConfig {
  // Several are written one after another.
  std::vector<Pooling> modes = {Pooling::kMean};
  bool pool_prompt = true;  // off: the prompt's tokens are not pooled
};

// A dense layer behind the pooling: activation(x W^T + bias), and x beside it when residual.
struct DenseConfig {
  std::string folder;             // of its config.json and weights
  std::string tensor = "linear";  // before ".weight" and ".bias"
  size_t in = 0;
  size_t out = 0;
  bool bias = true;
  bool residual = false;
  EncoderActivation activation = EncoderActivation::kTanh;
};

// A step behind the pooling: a dense layer, a layer norm or the division by the length.
struct VectorStep {
  enum class Kind { kDense, kLayerNorm, kNormalize };
  Kind kind = Kind::kNormalize;
  DenseConfig dense;   // of kDense
  std::string folder;  // of kLayerNorm's weights
};

struct Modules {
  std::string transformer;             // folder
  std::optional<std::string> pooling;  // folder
  std::optional<std::string> splade;   // folder of a learned sparse encoder's pooling
  // Folder of a weight for each token, which queries are made of instead (SparseStaticEmbedding).
  std::optional<std::string> query_weights;
  std::optional<std::string> logit_score;  // folder of what a decoder's answers are scored by
  std::vector<VectorStep> steps;
};

// modules.json below `folder`, and of a Router what documents take; without one the network is the
// folder itself, and no other folder is looked for. Adds what was read to
// `source_bytes`. Errors: invalid_argument naming file and key; unsupported naming the module and
// those that are known.
Result<Modules> ReadModules(const std::string& folder, std::string& source_bytes);

// The elements of a vector of `dim` behind the dense layers among the steps, each of which must fit
// what comes in. Errors: invalid_argument naming file and key.
Result<size_t> DimBehind(std::span<const VectorStep> steps, size_t dim);

// The pooling folder's config.json, for token vectors of `hidden` elements. Errors as above.
Result<PoolingConfig> ReadPooling(const std::string& folder, size_t hidden,
                                  std::string& source_bytes);

}  // namespace rag
