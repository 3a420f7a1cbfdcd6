#include "embed/encoder_config.h"

#include <algorithm>
#include <utility>

#include "embed/open_clip.h"
#include "embed/two_towers.h"

namespace rag {
namespace {

Status ReadPrompts(const ConfigFile& file, EncoderConfig& config) {
  const std::string& path = file.path();
  const Value* prompts = file.value().Find("prompts");
  if (prompts != nullptr && !prompts->is_null() && !prompts->is_object()) {
    return InvalidArgumentError(path, ": 'prompts' is a ", prompts->type_name(), ", not an object");
  }
  // Null when there is none of this name.
  const auto find = [&](std::string_view name) -> Result<const std::string*> {
    static const std::string kEmpty;
    const Value* found =
        prompts == nullptr || !prompts->is_object() ? nullptr : prompts->Find(name);
    if (found == nullptr) return static_cast<const std::string*>(nullptr);
    if (found->is_null()) return &kEmpty;
    if (!found->is_string()) {
      return InvalidArgumentError(path, ": prompt '", name, "' is a ", found->type_name(),
                                  ", not a string");
    }
    return &found->as_string();
  };
  const std::string* plain = nullptr;
  const Value* name = file.value().Find("default_prompt_name");
  if (name != nullptr && !name->is_null()) {
    RAG_ASSIGN_OR_RETURN(const std::string default_name, file.String("default_prompt_name", ""));
    RAG_ASSIGN_OR_RETURN(plain, find(default_name));
    // These two are always there, and empty unless the file says otherwise.
    if (plain == nullptr && default_name != "query" && default_name != "document") {
      return InvalidArgumentError(path, ": 'default_prompt_name' '", default_name,
                                  "' is none of the 'prompts'");
    }
  }
  RAG_ASSIGN_OR_RETURN(const std::string* query, find("query"));
  const std::string* document = nullptr;
  for (const std::string_view candidate : {"document", "passage", "corpus"}) {
    if (document != nullptr) break;
    RAG_ASSIGN_OR_RETURN(document, find(candidate));
  }
  const std::pair<TextRole, const std::string*> roles[] = {
      {TextRole::kPlain, plain}, {TextRole::kQuery, query}, {TextRole::kDocument, document}};
  for (const auto& [role, prompt] : roles) {
    if (prompt != nullptr) config.prompts[static_cast<size_t>(role)] = *prompt;
  }
  return OkStatus();
}

// The caller's prompts over the files', and all of them into the fingerprint's bytes.
void FinishPrompts(const EncoderOptions& options, EncoderConfig& config) {
  for (size_t role = 0; role < kTextRoles; ++role) {
    std::string& prompt = config.prompts[role];
    if (!options.prompts[role].empty()) prompt = options.prompts[role];
    if (prompt.empty()) continue;
    config.source_bytes += StrCat("prompt ", TextRoleName(static_cast<TextRole>(role)), '\n',
                                  prompt.size(), '\n', prompt);
  }
}

// What config_sentence_transformers.json says. It also holds versions: what counts is added to
// source_bytes piece by piece.
Status ReadSettings(const std::string& folder, EncoderConfig& config) {
  const std::string path = JoinPath(folder, "config_sentence_transformers.json");
  if (!FileExists(path)) return OkStatus();
  std::string unhashed;
  RAG_ASSIGN_OR_RETURN(const ConfigFile file, ReadConfigFile(path, unhashed));
  RAG_RETURN_IF_ERROR(ReadPrompts(file, config));
  RAG_ASSIGN_OR_RETURN(const std::string similarity, file.String("similarity_fn_name", "cosine"));
  Result<Similarity> parsed = ParseSimilarity(similarity);
  if (!parsed.ok()) return parsed.status().WithContext(path);
  config.similarity = *parsed;
  RAG_ASSIGN_OR_RETURN(config.dim, file.Size("truncate_dim", 1, kMaxHidden * 8, 0));
  return OkStatus();
}

// The vectors' elements behind the steps.
Status SetDim(const std::string& folder, const EncoderOptions& options, EncoderConfig& config) {
  RAG_ASSIGN_OR_RETURN(const size_t dim,
                       DimBehind(config.steps, config.model.hidden * config.pooling.modes.size()));
  config.full_dim = dim;
  if (options.truncate_dim > dim) {
    return InvalidArgumentError("truncate_dim ", options.truncate_dim, " is more than the ", dim,
                                " elements of the vectors of ", folder);
  }
  if (options.truncate_dim != 0) config.dim = options.truncate_dim;
  config.dim = config.dim == 0 ? dim : std::min(config.dim, dim);
  return OkStatus();
}

// Arguments of the reference's classes in sentence_bert_config.json: those that change what a text
// gives are refused.
Status CheckArguments(const ConfigFile& file, bool in_chat) {
  const auto only = [&](std::string_view key, auto harmless) -> Status {
    const Value* settings = file.value().Find(key);
    if (settings == nullptr || settings->is_null()) return OkStatus();
    bool known = settings->is_object();
    if (known) {
      for (const auto& [name, value] : settings->as_object()) known &= harmless(name, value);
    }
    if (known) return OkStatus();
    return UnsupportedError(file.path(), ": '", key, "' ", ToJson(*settings), " is not known");
  };
  // Arguments of other inputs, and of chat templates, which plain texts are not put into.
  RAG_RETURN_IF_ERROR(only("processing_kwargs", [&](std::string_view name, const Value& value) {
    if (!value.is_object()) return false;
    const bool other = (name == "chat_template" && !in_chat) || name == "audio" ||
                       name == "image" || name == "video";
    return other || value.as_object().empty();
  }));
  // The texts of a network that takes messages are put into its chat template.
  RAG_RETURN_IF_ERROR(only("modality_config", [&](std::string_view name, const Value&) {
    return in_chat || name != "message";
  }));
  // The reference drops this one, which says whose code may run.
  for (const std::string_view key : {"config_kwargs", "config_args"}) {
    RAG_RETURN_IF_ERROR(
        only(key, [](std::string_view name, const Value&) { return name == "trust_remote_code"; }));
  }
  return OkStatus();
}

}  // namespace

Result<TextLimits> ReadTextLimits(const std::string& folder, size_t max_sequence,
                                  std::string& source_bytes, bool in_chat) {
  TextLimits limits{.max_tokens = max_sequence};
  for (const std::string_view name :
       {"sentence_bert_config.json", "sentence_roberta_config.json",
        "sentence_distilbert_config.json", "sentence_camembert_config.json",
        "sentence_albert_config.json", "sentence_xlm-roberta_config.json",
        "sentence_xlnet_config.json"}) {
    const std::string path = JoinPath(folder, name);
    if (!FileExists(path)) continue;
    RAG_ASSIGN_OR_RETURN(const ConfigFile file, ReadConfigFile(path, source_bytes));
    RAG_ASSIGN_OR_RETURN(limits.lower_case, file.Bool("do_lower_case"));
    RAG_RETURN_IF_ERROR(CheckArguments(file, in_chat));
    RAG_ASSIGN_OR_RETURN(const size_t wanted, file.Size("max_seq_length", 1, kMaxPositions, 0));
    if (wanted != 0) {
      limits.max_tokens = std::min(wanted, max_sequence);
      return limits;
    }
    break;
  }
  const std::string path = JoinPath(folder, "tokenizer_config.json");
  if (!FileExists(path)) return limits;
  RAG_ASSIGN_OR_RETURN(const ConfigFile file, ReadConfigFile(path, source_bytes));
  // "max_len" is its old name, which the reference still takes where the new one is not there.
  const std::string_view key =
      file.value().Find("model_max_length") == nullptr ? "max_len" : "model_max_length";
  // Writers put 1e30 for "no limit".
  Result<double> length = file.value().GetDouble(key, 1e30);
  if (!length.ok()) return length.status().WithContext(path);
  if (*length < 1.0) {
    return InvalidArgumentError(path, ": '", key, "' ", *length, " is less than 1");
  }
  if (*length < static_cast<double>(max_sequence)) {
    limits.max_tokens = static_cast<size_t>(*length);
  }
  return limits;
}

Result<EncoderConfig> ReadEncoderConfig(const std::string& folder, const EncoderOptions& options) {
  EncoderConfig config;
  RAG_ASSIGN_OR_RETURN(Modules modules, ReadModules(folder, config.source_bytes));
  if (modules.splade.has_value()) {
    return UnsupportedError(JoinPath(folder, "modules.json"),
                            ": SpladePooling makes sparse vectors, which this encoder does not");
  }
  if (modules.logit_score.has_value()) {
    return UnsupportedError(JoinPath(folder, "modules.json"),
                            ": LogitScore scores pairs, which this encoder does not");
  }
  config.folder = modules.transformer;
  RAG_ASSIGN_OR_RETURN(
      const ConfigFile file,
      IsOpenClip(config.folder)
          ? ReadOpenClipConfig(config.folder, config.source_bytes)
          : ReadConfigFile(JoinPath(config.folder, "config.json"), config.source_bytes));
  config.steps = std::move(modules.steps);
  if (IsTwoTowers(file)) {
    if (modules.pooling.has_value()) {
      return UnsupportedError(*modules.pooling,
                              ": a pooling of its own for a model of texts and pictures");
    }
    RAG_RETURN_IF_ERROR(ReadTwoTowers(file, config));
  } else {
    RAG_ASSIGN_OR_RETURN(config.model, ReadTransformerConfig(file));
  }
  if (config.model.vocab == 0 || config.model.model_type.ends_with("_text_model")) {
    return UnsupportedError(file.path(), ": model_type '", config.model.model_type,
                            "' is a part of a model; known are the whole ones, clip and siglip");
  }
  RAG_ASSIGN_OR_RETURN(
      const TextLimits limits,
      ReadTextLimits(config.folder, config.model.max_sequence, config.source_bytes));
  config.limits.max_tokens = limits.max_tokens;
  config.limits.lower_case = limits.lower_case;
  if (modules.pooling.has_value()) {
    RAG_ASSIGN_OR_RETURN(config.pooling,
                         ReadPooling(*modules.pooling, config.model.hidden, config.source_bytes));
  }
  RAG_RETURN_IF_ERROR(ReadSettings(folder, config));
  FinishPrompts(options, config);
  RAG_RETURN_IF_ERROR(SetDim(folder, options, config));
  return config;
}

}  // namespace rag
