// config.json -> the metadata that a GGUF file of the same model has.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "generate/folder/family.h"
#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

struct FolderConfig {
  const Family* family = nullptr;
  Value::Object metadata;  // general.architecture and "<architecture>.*"
  size_t heads = 0;
  size_t kv_heads = 0;
  bool tied = false;  // lm_head is the embeddings
  // Factors of rotary frequencies: GGUF keeps them as tensors, by name.
  std::vector<std::pair<std::string, std::vector<float>>> rope_tensors;
};

// `config` is the parsed config.json, `where` its path for errors. Errors: as OpenModelFolder.
Result<FolderConfig> TranslateConfig(const Value& config, const std::string& where);

}  // namespace rag
