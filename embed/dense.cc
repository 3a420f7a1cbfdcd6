#include "embed/dense.h"

#include "embed/transformer.h"
#include "lib/base/hash.h"
#include "lib/model/model_file.h"

namespace rag {

Result<DenseLayer> DenseLayer::Load(const DenseConfig& config, const Kernels& kernels) {
  RAG_ASSIGN_OR_RETURN(const TensorFile file, TensorFile::Open(config.folder));
  RAG_ASSIGN_OR_RETURN(DenseLayer layer,
                       Load(config, TensorFinder(file, config.folder, ""), kernels));
  for (const std::string& name : file.TensorNames()) {
    const TensorView& tensor = *file.Find(name);
    layer.bytes_ += tensor.bytes.size();
    layer.hash_ = Hash64(tensor.bytes, layer.hash_);
  }
  return layer;
}

Result<DenseLayer> DenseLayer::Load(const DenseConfig& config, const TensorFinder& finder,
                                    const Kernels& kernels) {
  DenseLayer layer(config);
  const LinearShape shape{.out = config.out,
                          .in = config.in,
                          .bias = config.bias ? BiasRule::kRequired : BiasRule::kNone};
  const std::string linear[] = {config.tensor};
  RAG_ASSIGN_OR_RETURN(layer.linear_, finder.ReadLinear(kernels, linear, shape));
  if (config.residual && config.in != config.out) {
    const std::string residual[] = {"residual"};
    LinearShape plain = shape;
    plain.bias = BiasRule::kNone;
    RAG_ASSIGN_OR_RETURN(layer.residual_, finder.ReadLinear(kernels, residual, plain));
  }
  return layer;
}

Matrix DenseLayer::Apply(const Kernels& kernels, MatrixView x) const {
  LinearScratch scratch;
  Matrix out(x.rows, config_.out);
  linear_.Apply(kernels, x.rows, x.data, x.stride, out.data(), config_.out, scratch);
  Activate(kernels, config_.activation, out.data(), x.rows * config_.out);
  if (!config_.residual) return out;
  if (residual_.has_value()) {
    Matrix added(x.rows, config_.out);
    residual_->Apply(kernels, x.rows, x.data, x.stride, added.data(), config_.out, scratch);
    kernels.add(out.data(), added.data(), x.rows * config_.out);
  } else {
    for (size_t i = 0; i < x.rows; ++i) {
      kernels.add(out.row(i).data(), x.row(i).data(), config_.out);
    }
  }
  return out;
}

}  // namespace rag
