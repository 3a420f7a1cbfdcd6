// LoRA adapters (Hu et al. 2022, "LoRA"): what they add to a decoder's matrices, as files have it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "generate/decoder_config.h"
#include "lib/base/status.h"
#include "lib/tensor/tensor.h"

namespace rag {

// W x becomes W x + scale * B (A x).
struct LoraTensor {
  std::string weight;  // W's name in the model's GGUF file; each expert has one of its own, as
                       // "blk.0.ffn_up.3.weight"
  TensorView a;        // [rank, in]
  TensorView b;        // [out, rank]
  double scale = 1;    // alpha / rank, or what the file says instead

  size_t rank() const { return b.shape[1]; }
};

struct LoraFile {
  std::string path;
  std::vector<LoraTensor> tensors;      // by their weights' names
  std::shared_ptr<const void> storage;  // keeps the views' bytes
};

inline constexpr size_t kMaxLoraRank = 1024;
inline constexpr double kMaxLoraAlpha = 1e6;

// A GGUF file as llama.cpp's convert_lora_to_gguf.py writes it, or a folder of PEFT's
// (adapter_config.json, adapter_model.safetensors or .bin), for a model of that configuration.
// Ranks agree within each pair; whether its sizes are those of the model's matrix, LoraAdapter and
// QuantizeModel see. Errors: those of GgufFile::Open and TensorFile::Open; not_found for a
// folder without these files; invalid_argument for an adapter of another architecture, a tensor
// without its other half, or a key that is missing or out of range; unsupported naming what of
// PEFT or of the file is not known (DoRA, modules_to_save, adapters of embeddings, …), since
// leaving it out would give other results.
Result<LoraFile> OpenLora(const std::string& path, const DecoderConfig& model);

}  // namespace rag
