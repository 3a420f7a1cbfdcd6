// OpenCLIP's own folders (github.com/mlfoundations/open_clip): open_clip_config.json and
// open_clip_model.safetensors or else open_clip_pytorch_model.bin, said in the terms of Hugging
// Face's CLIP. A tokenizer lies beside them as in other folders.
#pragma once

#include <string>

#include "embed/config_file.h"
#include "lib/base/status.h"
#include "lib/model/model_file.h"

namespace rag {

// Whether the folder has OpenCLIP's configuration alone.
bool IsOpenClip(const std::string& folder);

// config.json of the model: two transformers of which the texts' gives its end token's vector and
// the pictures' its class token's. Errors: those of ReadConfigFile; invalid_argument naming the
// key; unsupported naming what is not known (other towers, other poolings).
Result<ConfigFile> ReadOpenClipConfig(const std::string& folder, std::string& source_bytes);

// preprocessor_config.json of its preprocess_cfg, for pictures of image_size x image_size pixels.
// Errors: as above.
Result<ConfigFile> ReadOpenClipPreprocessing(const std::string& folder, size_t image_size);

// The weights of a model's folder, OpenCLIP's under Hugging Face's names. Errors: those of
// TensorFile::Open; invalid_argument naming a tensor that cannot be what its name says.
Result<TensorFile> OpenWeights(const std::string& folder);

}  // namespace rag
