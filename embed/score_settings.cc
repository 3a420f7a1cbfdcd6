#include "embed/score_settings.h"

#include <string_view>

namespace rag {
namespace {

// torch's name of a class, or nothing.
Status ReadActivation(const ConfigFile& file, std::string_view key, bool& sigmoid) {
  RAG_ASSIGN_OR_RETURN(const std::string name, file.String(key, ""));
  if (name.empty()) return OkStatus();
  if (name == "torch.nn.modules.activation.Sigmoid") {
    sigmoid = true;
  } else if (name == "torch.nn.modules.linear.Identity") {
    sigmoid = false;
  } else {
    return UnsupportedError(file.path(), ": ", key, " '", name,
                            "' is not known; known are torch.nn.modules.activation.Sigmoid and "
                            "torch.nn.modules.linear.Identity");
  }
  return OkStatus();
}

Result<std::string> ReadDefaultPrompt(const ConfigFile& file) {
  RAG_ASSIGN_OR_RETURN(const std::string name, file.String("default_prompt_name", ""));
  if (name.empty()) return name;
  const Value* prompts = file.value().Find("prompts");
  const Value* prompt = prompts != nullptr && prompts->is_object() ? prompts->Find(name) : nullptr;
  if (prompt != nullptr && prompt->is_string()) return prompt->as_string();
  return InvalidArgumentError(file.path(), ": 'default_prompt_name' is '", name,
                              "', and 'prompts' has no text of that name");
}

}  // namespace

Result<ScoreSettings> ReadScoreSettings(const std::string& folder, const ConfigFile& file) {
  ScoreSettings settings;
  RAG_RETURN_IF_ERROR(
      ReadActivation(file, "sbert_ce_default_activation_function", settings.sigmoid));
  const Value* nested = file.value().Find("sentence_transformers");
  if (nested != nullptr && !nested->is_null()) {
    RAG_RETURN_IF_ERROR(
        ReadActivation(ConfigFile(StrCat(file.path(), ": sentence_transformers"), *nested),
                       "activation_fn", settings.sigmoid));
  }
  // Later files of sentence-transformers have both in a file of its own.
  const std::string path = JoinPath(folder, "config_sentence_transformers.json");
  if (!FileExists(path)) return settings;
  std::string unhashed;
  RAG_ASSIGN_OR_RETURN(const ConfigFile own, ReadConfigFile(path, unhashed));
  RAG_RETURN_IF_ERROR(ReadActivation(own, "activation_fn", settings.sigmoid));
  RAG_ASSIGN_OR_RETURN(settings.prompt, ReadDefaultPrompt(own));
  return settings;
}

}  // namespace rag
