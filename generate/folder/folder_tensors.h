// Tensors of a Hugging Face folder under GGUF's names.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "generate/folder/folder_config.h"
#include "lib/base/status.h"
#include "lib/model/model_file.h"

namespace rag {

// Keeps what the views in `tensors` point to.
struct FolderTensors {
  explicit FolderTensors(SafetensorsFile opened) : file(std::move(opened)) {}

  SafetensorsFile file;
  std::deque<std::vector<std::byte>> changed;
  std::vector<std::pair<std::string, TensorView>> tensors;
};

// Fills out.tensors from out.file. Errors: unimplemented naming a tensor that the family does not
// have; invalid_argument naming a tensor whose shape its change does not fit.
Status RenameTensors(const FolderConfig& config, const std::string& where, FolderTensors& out);

}  // namespace rag
