#include "embed/pooling.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "embed/open_clip.h"
#include "embed/transformer.h"
#include "lib/base/hash.h"
#include "lib/kernels/kernels.h"
#include "lib/model/model_file.h"

namespace rag {
namespace {

// torch.nn.LayerNorm's, which the module does not change.
constexpr float kLayerNormEpsilon = 1e-5f;

}  // namespace

void NormalizeLength(const Kernels& kernels, std::span<float> x) {
  // torch.nn.functional.normalize's smallest divisor.
  const float norm = std::max(std::sqrt(kernels.dot(x.data(), x.data(), x.size())), 1e-12f);
  for (float& value : x) value /= norm;
}

void PoolRows(const Kernels& kernels, Pooling mode, MatrixView states, size_t pool_begin,
              float* out) {
  const size_t dim = states.cols;
  const size_t last = states.rows - 1;
  const size_t count = states.rows - pool_begin;
  const float* first = states.row(pool_begin).data();
  switch (mode) {
    case Pooling::kCls:
      std::copy_n(first, dim, out);
      return;
    case Pooling::kLastToken:
      std::copy_n(states.row(last).data(), dim, out);
      return;
    case Pooling::kMax:
      std::copy_n(first, dim, out);
      for (size_t i = pool_begin + 1; i <= last; ++i) {
        const float* other = states.row(i).data();
        for (size_t d = 0; d < dim; ++d) out[d] = std::max(out[d], other[d]);
      }
      return;
    case Pooling::kMean:
    case Pooling::kMeanSqrtLength: {
      std::copy_n(first, dim, out);
      for (size_t i = pool_begin + 1; i <= last; ++i) {
        kernels.add(out, states.row(i).data(), dim);
      }
      const float length = static_cast<float>(count);
      const float divisor = mode == Pooling::kMean ? length : std::sqrt(length);
      for (size_t d = 0; d < dim; ++d) out[d] /= divisor;
      return;
    }
    case Pooling::kWeightedMean: {
      std::fill_n(out, dim, 0.0f);
      float weights = 0;
      for (size_t i = pool_begin; i <= last; ++i) {
        // A place keeps its weight when those before it are left out.
        const float weight = static_cast<float>(i + 1);
        kernels.axpy(weight, states.row(i).data(), out, dim);
        weights += weight;
      }
      for (size_t d = 0; d < dim; ++d) out[d] /= weights;
      return;
    }
  }
}

Result<VectorHead> VectorHead::Load(const EncoderConfig& config, const Runtime& runtime) {
  VectorHead head(config, runtime);
  size_t dim = config.model.hidden * config.pooling.modes.size();
  for (const VectorStep& step : config.steps) {
    Step loaded{.config = step, .dense = std::nullopt, .norm = {}};
    if (step.kind != VectorStep::Kind::kNormalize) {
      const bool is_dense = step.kind == VectorStep::Kind::kDense;
      const std::string& folder = is_dense ? step.dense.folder : step.folder;
      RAG_ASSIGN_OR_RETURN(const TensorFile file, OpenWeights(folder));
      const TensorFinder finder(file, folder, "");
      if (is_dense) {
        RAG_ASSIGN_OR_RETURN(loaded.dense, DenseLayer::Load(step.dense, finder, runtime.kernels()));
        dim = step.dense.out;
      } else {
        RAG_ASSIGN_OR_RETURN(loaded.norm, finder.ReadNorm("norm", dim));
      }
      // The network's own file is hashed with it.
      if (folder == config.folder) {
        head.steps_.push_back(std::move(loaded));
        continue;
      }
      for (const std::string& name : file.TensorNames()) {
        const TensorView& tensor = *file.Find(name);
        head.hash_ = Hash64(tensor.bytes, head.hash_);
        head.bytes_ += tensor.bytes.size();
      }
    }
    head.steps_.push_back(std::move(loaded));
  }
  return head;
}

void VectorHead::ApplyStep(const Step& step, std::vector<float>& vector) const {
  const Kernels& kernels = runtime_->kernels();
  switch (step.config.kind) {
    case VectorStep::Kind::kNormalize:
      return NormalizeLength(kernels, vector);
    case VectorStep::Kind::kLayerNorm:
      return kernels.layer_norm(vector.data(), step.norm.gamma.data(), step.norm.beta.data(),
                                kLayerNormEpsilon, vector.data(), vector.size());
    case VectorStep::Kind::kDense: {
      const Matrix out = step.dense->Apply(kernels, MatrixView(vector.data(), 1, vector.size()));
      vector.assign(out.data(), out.data() + out.cols());
      return;
    }
  }
}

void VectorHead::Apply(MatrixView states, size_t pool_begin, std::span<float> out) const {
  const size_t hidden = states.cols;
  const std::vector<Pooling>& modes = config_->pooling.modes;
  std::vector<float> vector(hidden * modes.size());
  if (states.rows > 0) {
    for (size_t i = 0; i < modes.size(); ++i) {
      PoolRows(runtime_->kernels(), modes[i], states, pool_begin, vector.data() + i * hidden);
    }
  }
  for (const Step& step : steps_) ApplyStep(step, vector);
  std::copy_n(vector.data(), out.size(), out.data());
  if (out.size() < vector.size() && config_->normalizes()) {
    NormalizeLength(runtime_->kernels(), out);
  }
}

}  // namespace rag
