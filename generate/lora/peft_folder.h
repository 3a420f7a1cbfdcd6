// PEFT's adapter folders (adapter_config.json, adapter_model.safetensors or else
// adapter_model.bin).
#pragma once

#include <string>

#include "generate/lora/lora_file.h"

namespace rag {

// Tensors under GGUF's names and with rows in GGUF's order, as OpenModelFolder gives the model's.
// Errors: as OpenLora.
Result<LoraFile> OpenPeftFolder(const std::string& folder, const DecoderConfig& model);

}  // namespace rag
