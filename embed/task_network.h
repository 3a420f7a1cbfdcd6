// A network with the head of a task: what classifiers, extractors of answers and rerankers load.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "embed/config_file.h"
#include "embed/modules.h"
#include "embed/text_network.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag {

struct TaskNetwork {
  ConfigFile file;           // config.json
  std::string folder;        // of config.json, tokenizer and weights
  Modules modules;           // of the folder that was asked for
  std::string source_bytes;  // of the files with settings, for fingerprints
  std::unique_ptr<const TextNetwork> network;
};

// The task of decoders that answer in a chat template; texts of others are no messages.
inline constexpr std::string_view kCausalTask = "ForCausalLM";

// The network of `folder`, or of the Transformer that its modules.json names. `task`: what names in
// config.json's 'architectures', where it has any, end with ("ForTokenClassification"), since heads
// of two tasks may have tensors of the same names. Errors: as Encoder::Load's; invalid_argument
// naming the architecture of another task, before weights are read.
Result<TaskNetwork> LoadTaskNetwork(const std::string& folder, Precision precision,
                                    const Runtime& runtime, std::string_view task);

// The names of config.json's 'id2label' in the order of their numbers; "LABEL_0", … for as many as
// 'num_labels' says without them. Errors: invalid_argument naming the key.
Result<std::vector<std::string>> ReadLabels(const ConfigFile& file);

}  // namespace rag
