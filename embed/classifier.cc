#include "embed/classifier.h"

#include <vector>

#include "embed/pooling.h"
#include "embed/transformer.h"
#include "lib/kernels/kernels.h"

namespace rag {
namespace {

struct HeadNames {
  std::string_view dense;
  bool dense_of_network;  // below the network's prefix ("bert.")
  EncoderActivation activation;
  std::string_view out;
};

Result<HeadNames> FamilyHead(const ConfigFile& file, EncoderFamily family) {
  switch (family) {
    case EncoderFamily::kBert:
    case EncoderFamily::kJinaBert:
    case EncoderFamily::kMobileBert:
    case EncoderFamily::kGte:
      return HeadNames{"pooler.dense", true, EncoderActivation::kTanh, "classifier"};
    case EncoderFamily::kAlbert:
      return HeadNames{"pooler", true, EncoderActivation::kTanh, "classifier"};
    case EncoderFamily::kRoberta:
    case EncoderFamily::kMpNet:
      return HeadNames{"classifier.dense", false, EncoderActivation::kTanh, "classifier.out_proj"};
    case EncoderFamily::kElectra:
      return HeadNames{"classifier.dense", false, EncoderActivation::kGelu, "classifier.out_proj"};
    case EncoderFamily::kDistilBert:
      return HeadNames{"pre_classifier", false, EncoderActivation::kRelu, "classifier"};
    case EncoderFamily::kModernBert:
      return HeadNames{"head.dense", false, EncoderActivation::kGelu, "classifier"};
    case EncoderFamily::kDecoder:
    case EncoderFamily::kGemma:
    case EncoderFamily::kT5:
    case EncoderFamily::kNomic:
    case EncoderFamily::kClipText:
    case EncoderFamily::kClipVision:
    case EncoderFamily::kSiglipText:
    case EncoderFamily::kSiglipVision:
      break;
  }
  return UnsupportedError(file.path(), ": a classification head of model_type '",
                          file.String("model_type", "").value(), "' is not known");
}

}  // namespace

Result<Classifier> Classifier::Load(const ConfigFile& file, const TransformerConfig& config,
                                    const TransformerWeights& weights, size_t labels,
                                    const Runtime& runtime) {
  RAG_ASSIGN_OR_RETURN(const HeadNames names, FamilyHead(file, config.family));
  Classifier head(runtime);
  head.activation_ = names.activation;
  const std::string prefix = names.dense_of_network ? weights.prefix() : "";
  const TensorFinder finder = weights.finder();
  const std::string dense[] = {prefix + std::string(names.dense)};
  const std::string out[] = {std::string(names.out)};
  const size_t hidden = config.hidden;
  bool has_dense = true;
  if (config.family == EncoderFamily::kMobileBert) {
    RAG_ASSIGN_OR_RETURN(has_dense, file.Bool("classifier_activation", true));
  }
  if (has_dense) {
    RAG_ASSIGN_OR_RETURN(
        head.dense_, finder.ReadLinear(runtime.kernels(), dense,
                                       {.out = hidden, .in = hidden, .bias = BiasRule::kOptional}));
  }
  RAG_ASSIGN_OR_RETURN(head.out_,
                       finder.ReadLinear(runtime.kernels(), out, {.out = labels, .in = hidden}));
  if (config.family == EncoderFamily::kModernBert) {
    RAG_ASSIGN_OR_RETURN(const std::string pooling, file.String("classifier_pooling", "cls"));
    if (pooling != "cls" && pooling != "mean") {
      return UnsupportedError(file.path(), ": classifier_pooling '", pooling,
                              "' is not known; known are cls and mean");
    }
    if (pooling == "mean") head.pooling_ = Pooling::kMean;
    RAG_ASSIGN_OR_RETURN(const std::string activation,
                         file.String("classifier_activation", "gelu"));
    RAG_ASSIGN_OR_RETURN(head.activation_, ParseActivation(file.path(), activation));
    RAG_ASSIGN_OR_RETURN(head.norm_, finder.ReadNorm("head.norm", hidden, BiasRule::kOptional));
    head.norm_epsilon_ = config.norm_epsilon;
  }
  return head;
}

void Classifier::Apply(MatrixView states, std::span<float> logits) const {
  const Kernels& kernels = runtime_->kernels();
  const size_t hidden = states.cols;
  std::vector<float> pooled(hidden);
  std::vector<float> dense(hidden);
  LinearScratch scratch;
  PoolRows(kernels, pooling_, states, 0, pooled.data());
  if (!dense_.has_value()) {
    return out_.Apply(kernels, 1, pooled.data(), hidden, logits.data(), logits.size(), scratch);
  }
  dense_->Apply(kernels, 1, pooled.data(), hidden, dense.data(), hidden, scratch);
  Activate(kernels, activation_, dense.data(), hidden);
  if (norm_.has_value()) {
    kernels.layer_norm(dense.data(), norm_->gamma.data(), norm_->beta.data(), norm_epsilon_,
                       dense.data(), hidden);
  }
  out_.Apply(kernels, 1, dense.data(), hidden, logits.data(), logits.size(), scratch);
}

}  // namespace rag
