// The head of a masked language model: a token's last hidden state -> a logit for each token of the
// vocabulary.
#pragma once

#include <cstddef>

#include "embed/config_file.h"
#include "embed/transformer_config.h"
#include "embed/transformer_weights.h"
#include "lib/base/status.h"
#include "lib/nn/linear.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Immutable after Load; Apply may be called from any thread.
class MlmHead {
 public:
  // Of BERT, DistilBERT and RoBERTa. The matrix behind the head's own layer is the word table,
  // unless the file has one of its own. Errors: as TensorFinder's; unsupported for another
  // family.
  static Result<MlmHead> Load(const ConfigFile& file, const TransformerConfig& config,
                              const TransformerWeights& weights, Precision precision,
                              const Runtime& runtime);

  size_t vocab() const { return words_.out(); }
  // states [rows, hidden] -> logits [rows, vocab].
  Matrix Apply(MatrixView states) const;

 private:
  explicit MlmHead(const Runtime& runtime) : runtime_(&runtime) {}

  const Runtime* runtime_;
  Linear dense_;
  EncoderActivation activation_ = EncoderActivation::kGelu;
  EncoderNorm norm_;
  float norm_epsilon_ = 0;
  Linear words_;
};

}  // namespace rag
