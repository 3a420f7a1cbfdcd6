// From token vectors to a text's vector: pooling and the steps behind it.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "embed/dense.h"
#include "embed/encoder_config.h"
#include "embed/tensor_finder.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Immutable after Load; Apply may be called from any thread.
class VectorHead {
 public:
  // Reads the dense layers' and norms' weights from the folders that `config` names; it outlives
  // this. Errors: as TensorFinder's.
  static Result<VectorHead> Load(const EncoderConfig& config, const Runtime& runtime);

  // states [length, hidden] of one text -> out [config.dim]. Tokens before pool_begin are left out,
  // which is less than length unless both are 0. A text without tokens gives zeros.
  void Apply(MatrixView states, size_t pool_begin, std::span<float> out) const;

  size_t bytes() const { return bytes_; }
  uint64_t hash() const { return hash_; }  // of the dense layers' and norms' files; 0: none

 private:
  struct Step {
    VectorStep config;
    std::optional<DenseLayer> dense;
    EncoderNorm norm;
  };

  VectorHead(const EncoderConfig& config, const Runtime& runtime)
      : config_(&config), runtime_(&runtime) {}
  void ApplyStep(const Step& step, std::vector<float>& vector) const;

  const EncoderConfig* config_;
  const Runtime* runtime_;
  std::vector<Step> steps_;
  size_t bytes_ = 0;
  uint64_t hash_ = 0;
};

// x / |x|.
void NormalizeLength(const Kernels& kernels, std::span<float> x);

// The rows of `states` from pool_begin on as one, in `mode` -> out [hidden].
void PoolRows(const Kernels& kernels, Pooling mode, MatrixView states, size_t pool_begin,
              float* out);

}  // namespace rag
