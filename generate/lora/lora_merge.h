// LoraMerge: what adapters add to the weights themselves.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "generate/lora/lora_adapter.h"
#include "generate/quantize.h"
#include "lib/base/status.h"
#include "lib/kernels/kernels.h"
#include "lib/model/model_file.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Immutable after loading.
class LoraMerge {
 public:
  // For the model in `model`. Errors: those of OpenLora, LoraTargets::Find and ReadFactors;
  // invalid_argument for a scale outside [-100, 100]; unsupported for an adapter of output
  // weights that are the embeddings.
  static Result<LoraMerge> Load(std::span<const MergedAdapter> adapters, const GgufFile& model);

  // Whether AddTo does anything for a tensor of the model's file: [rows, cols], or all experts'
  // [experts, rows, cols].
  bool Changes(const std::string& name, std::span<const size_t> shape) const;
  // Adds what belongs to row `row` (counted through all experts) of the tensor to `values` [cols].
  void AddTo(const std::string& name, std::span<const size_t> shape, size_t row,
             const Kernels& kernels, std::span<float> values) const;

 private:
  const std::vector<LoraFactors>* Find(const std::string& name, std::span<const size_t> shape,
                                       size_t row) const;

  std::map<std::string, std::vector<LoraFactors>> parts_;  // by weight; the scale is in b
};

}  // namespace rag
