#include "embed/mlm_head.h"

#include <string>
#include <string_view>
#include <vector>

#include "embed/transformer.h"
#include "lib/kernels/kernels.h"

namespace rag {
namespace {

struct HeadNames {
  std::string_view dense;
  std::string_view norm;
  std::string_view words;  // the matrix, where it is not the word table
  std::string_view bias;
};

Result<HeadNames> FamilyHead(const ConfigFile& file, const TransformerConfig& config) {
  switch (config.family) {
    case EncoderFamily::kBert:
      return HeadNames{"cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm",
                       "cls.predictions.decoder.weight", "cls.predictions.bias"};
    case EncoderFamily::kDistilBert:
      return HeadNames{"vocab_transform", "vocab_layer_norm", "vocab_projector.weight",
                       "vocab_projector.bias"};
    case EncoderFamily::kRoberta:
      return HeadNames{"lm_head.dense", "lm_head.layer_norm", "lm_head.decoder.weight",
                       "lm_head.bias"};
    default:
      return UnsupportedError(file.path(), ": a masked language model's head of model_type '",
                              config.model_type,
                              "' is not known; known are those of BERT, DistilBERT and RoBERTa");
  }
}

}  // namespace

Result<MlmHead> MlmHead::Load(const ConfigFile& file, const TransformerConfig& config,
                              const TransformerWeights& weights, Precision precision,
                              const Runtime& runtime) {
  RAG_ASSIGN_OR_RETURN(const HeadNames names, FamilyHead(file, config));
  MlmHead head(runtime);
  const TensorFinder finder = weights.finder();
  const size_t hidden = config.hidden;
  const std::string dense[] = {std::string(names.dense)};
  RAG_ASSIGN_OR_RETURN(head.dense_,
                       finder.ReadLinear(runtime.kernels(), dense, {.out = hidden, .in = hidden}));
  RAG_ASSIGN_OR_RETURN(head.norm_, finder.ReadNorm(names.norm, hidden));
  head.activation_ =
      config.family == EncoderFamily::kRoberta ? EncoderActivation::kGelu : config.activation;
  head.norm_epsilon_ = config.norm_epsilon;
  const std::string own(names.words);
  const std::string table =
      finder.Has(own) ? own : weights.prefix() + std::string(FamilyTensorNames(config).words);
  RAG_ASSIGN_OR_RETURN(const Matrix words, finder.ReadMatrix(table, config.vocab, hidden));
  std::vector<float> bias;
  RAG_RETURN_IF_ERROR(finder.ReadVector(names.bias, config.vocab, bias));
  head.words_ = Linear(runtime.kernels(), words.view(), bias, precision);
  return head;
}

Matrix MlmHead::Apply(MatrixView states) const {
  const Kernels& kernels = runtime_->kernels();
  LinearScratch scratch;
  Matrix dense(states.rows, states.cols);
  dense_.Apply(kernels, states.rows, states.data, states.stride, dense.data(), states.cols,
               scratch);
  Activate(kernels, activation_, dense.data(), states.rows * states.cols);
  for (size_t i = 0; i < states.rows; ++i) {
    float* row = dense.row(i).data();
    kernels.layer_norm(row, norm_.gamma.data(), norm_.beta.data(), norm_epsilon_, row, states.cols);
  }
  Matrix logits(states.rows, vocab());
  words_.Apply(kernels, states.rows, dense.data(), states.cols, logits.data(), vocab(), scratch);
  return logits;
}

}  // namespace rag
