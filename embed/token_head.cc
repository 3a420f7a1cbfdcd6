#include "embed/token_head.h"

#include <string>

#include "embed/transformer.h"
#include "lib/kernels/kernels.h"

namespace rag {

Result<TokenHead> TokenHead::Load(const ConfigFile& file, const TransformerConfig& config,
                                  const TransformerWeights& weights, std::string_view name,
                                  size_t out, const Runtime& runtime) {
  TokenHead head(runtime);
  const TensorFinder finder = weights.finder();
  const size_t hidden = config.hidden;
  if (config.family == EncoderFamily::kModernBert) {
    const std::string dense[] = {"head.dense"};
    RAG_ASSIGN_OR_RETURN(
        head.dense_, finder.ReadLinear(runtime.kernels(), dense,
                                       {.out = hidden, .in = hidden, .bias = BiasRule::kOptional}));
    RAG_ASSIGN_OR_RETURN(head.norm_, finder.ReadNorm("head.norm", hidden, BiasRule::kOptional));
    RAG_ASSIGN_OR_RETURN(const std::string activation,
                         file.String("classifier_activation", "gelu"));
    RAG_ASSIGN_OR_RETURN(head.activation_, ParseActivation(file.path(), activation));
    head.norm_epsilon_ = config.norm_epsilon;
    name = "classifier";
  }
  const std::string last[] = {std::string(name)};
  RAG_ASSIGN_OR_RETURN(head.out_,
                       finder.ReadLinear(runtime.kernels(), last, {.out = out, .in = hidden}));
  return head;
}

Matrix TokenHead::Apply(MatrixView states) const {
  const Kernels& kernels = runtime_->kernels();
  LinearScratch scratch;
  Matrix dense;
  if (dense_.has_value()) {
    dense = Matrix(states.rows, states.cols);
    dense_->Apply(kernels, states.rows, states.data, states.stride, dense.data(), states.cols,
                  scratch);
    Activate(kernels, activation_, dense.data(), states.rows * states.cols);
    for (size_t i = 0; i < states.rows; ++i) {
      float* row = dense.row(i).data();
      kernels.layer_norm(row, norm_.gamma.data(), norm_.beta.data(), norm_epsilon_, row,
                         states.cols);
    }
    states = dense.view();
  }
  Matrix logits(states.rows, out_.out());
  out_.Apply(kernels, states.rows, states.data, states.stride, logits.data(), out_.out(), scratch);
  return logits;
}

Result<std::vector<Matrix>> TokenHead::Run(const TextNetwork& network,
                                           std::span<const PassageWindow> windows,
                                           const CancelToken* cancel) const {
  std::vector<Encoding> encodings;
  for (const PassageWindow& window : windows) encodings.push_back(window.encoding);
  std::vector<Matrix> logits(encodings.size());
  EncodeStats stats;
  RAG_RETURN_IF_ERROR(network.Run(
      encodings, [&](size_t i, MatrixView states) { logits[i] = Apply(states); }, stats, cancel));
  return logits;
}

}  // namespace rag
