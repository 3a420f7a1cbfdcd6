#include "embed/task_network.h"

#include <charconv>
#include <utility>

#include "embed/encoder_config.h"
#include "embed/transformer_config.h"

namespace rag {
namespace {

// As transformers has it for a config.json that says nothing.
constexpr int64_t kDefaultLabels = 2;

// Heads of two tasks may have tensors of the same names. `task` is the end of the name in
// 'architectures', where there is one.
Status CheckTask(const ConfigFile& file, std::string_view task) {
  const Value* names = file.value().Find("architectures");
  if (names == nullptr || !names->is_array()) return OkStatus();
  for (const Value& name : names->as_array()) {
    if (name.is_string() && !name.as_string().ends_with(task)) {
      return InvalidArgumentError(file.path(), ": the architecture is '", name.as_string(),
                                  "'; a model ", task, " is wanted");
    }
  }
  return OkStatus();
}

}  // namespace

Result<TaskNetwork> LoadTaskNetwork(const std::string& folder, Precision precision,
                                    const Runtime& runtime, std::string_view task) {
  std::string bytes;
  RAG_ASSIGN_OR_RETURN(Modules modules, ReadModules(folder, bytes));
  const std::string own = modules.transformer;
  RAG_ASSIGN_OR_RETURN(ConfigFile file, ReadConfigFile(JoinPath(own, "config.json"), bytes));
  RAG_RETURN_IF_ERROR(CheckTask(file, task));
  RAG_ASSIGN_OR_RETURN(const TransformerConfig config, ReadTransformerConfig(file));
  RAG_ASSIGN_OR_RETURN(const TextLimits limits,
                       ReadTextLimits(own, config.max_sequence, bytes, task == kCausalTask));
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<const TextNetwork> network,
                       TextNetwork::Load(own, config, limits, precision, runtime));
  return TaskNetwork{.file = std::move(file),
                     .folder = own,
                     .modules = std::move(modules),
                     .source_bytes = std::move(bytes),
                     .network = std::move(network)};
}

Result<std::vector<std::string>> ReadLabels(const ConfigFile& file) {
  const Value* names = file.value().Find("id2label");
  std::vector<std::string> labels;
  if (names == nullptr || !names->is_object()) {
    RAG_ASSIGN_OR_RETURN(const size_t count,
                         file.Size("num_labels", 1, kMaxHidden, kDefaultLabels));
    for (size_t i = 0; i < count; ++i) labels.push_back(StrCat("LABEL_", i));
    return labels;
  }
  const Value::Object& object = names->as_object();
  if (object.size() == 0 || object.size() > kMaxHidden) {
    return InvalidArgumentError(file.path(), ": 'id2label' has ", object.size(),
                                " labels, not 1 to ", kMaxHidden);
  }
  labels.resize(object.size());
  std::vector<bool> seen(object.size());
  for (const auto& [key, name] : object) {
    size_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    const bool number = error == std::errc() && end == key.data() + key.size();
    if (!number || id >= labels.size() || seen[id] || !name.is_string()) {
      return InvalidArgumentError(file.path(), ": 'id2label' entry '", key,
                                  "' is not a number below ", labels.size(), " with a name");
    }
    seen[id] = true;
    labels[id] = name.as_string();
  }
  return labels;
}

}  // namespace rag
