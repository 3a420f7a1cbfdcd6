// config.json's rope_theta, rope_scaling and rope_parameters -> GGUF's rope.* keys and tensors.
#pragma once

#include "generate/folder/folder_config.h"
#include "generate/folder/json_keys.h"

namespace rag {

// `dimensions` are rotated in each head. Formulas: transformers' modeling_rope_utils.py. Errors: as
// OpenModelFolder.
Status TranslateRope(const Value& config, const JsonKeys& keys, int64_t dimensions,
                     FolderConfig& out);

}  // namespace rag
