#include "generate/lora/lora_merge.h"

#include "generate/decoder_weights.h"
#include "generate/expert_names.h"
#include "generate/lora/adapter_table.h"

namespace rag {

Result<LoraMerge> LoraMerge::Load(std::span<const MergedAdapter> adapters, const GgufFile& model) {
  LoraMerge merge;
  if (adapters.empty()) return merge;
  RAG_ASSIGN_OR_RETURN(const DecoderConfig config, ReadDecoderConfig(model));
  RAG_ASSIGN_OR_RETURN(DecoderWeights weights, ReadDecoderWeights(model, config));
  const LoraTargets targets(weights);
  for (const MergedAdapter& adapter : adapters) {
    RAG_RETURN_IF_ERROR(CheckAdapterScale(adapter.path, adapter.scale));
    RAG_ASSIGN_OR_RETURN(const LoraFile file, OpenLora(adapter.path, config));
    for (const LoraTensor& tensor : file.tensors) {
      RAG_RETURN_IF_ERROR(targets.Find(file, tensor).status());
      if (tensor.weight == "output.weight" && model.Find(tensor.weight) == nullptr) {
        return UnsupportedError(adapter.path, ": the adapter of '", tensor.weight,
                                "' cannot be merged, since the model's embeddings are its output "
                                "weights too");
      }
      RAG_ASSIGN_OR_RETURN(LoraFactors factors, ReadFactors(file, tensor));
      const std::span<float> b(factors.b.data(), tensor.b.elements());
      for (float& x : b) x *= static_cast<float>(tensor.scale * adapter.scale);
      merge.parts_[tensor.weight].push_back(std::move(factors));
    }
  }
  return merge;
}

const std::vector<LoraFactors>* LoraMerge::Find(const std::string& name,
                                                std::span<const size_t> shape, size_t row) const {
  const bool stacked = shape.size() == 3 && name.ends_with(kStackedExperts);
  const auto found = parts_.find(stacked ? ExpertName(name, row / shape[1]) : name);
  return found == parts_.end() ? nullptr : &found->second;
}

bool LoraMerge::Changes(const std::string& name, std::span<const size_t> shape) const {
  if (shape.size() != 3) return Find(name, shape, 0) != nullptr;
  for (size_t expert = 0; expert < shape[0]; ++expert) {
    if (Find(name, shape, expert * shape[1]) != nullptr) return true;
  }
  return false;
}

void LoraMerge::AddTo(const std::string& name, std::span<const size_t> shape, size_t row,
                      const Kernels& kernels, std::span<float> values) const {
  if (parts_.empty()) return;
  const std::vector<LoraFactors>* parts = Find(name, shape, row);
  if (parts == nullptr) return;
  const size_t within = shape.size() == 3 ? row % shape[1] : row;
  for (const LoraFactors& part : *parts) {
    const std::span<const float> b = part.b.row(within);
    for (size_t r = 0; r < b.size(); ++r) {
      kernels.axpy(b[r], part.a.row(r).data(), values.data(), values.size());
    }
  }
}

}  // namespace rag
