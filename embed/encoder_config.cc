#include "embed/encoder_config.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "lib/base/file.h"
#include "lib/base/value.h"

namespace rag {
namespace {

constexpr size_t kMaxConfigBytes = size_t{4} << 20;
// Far above any published model of these families, and low enough that no product of two overflows.
constexpr int64_t kMaxHidden = 1 << 16;
constexpr int64_t kMaxLayers = 1 << 10;
constexpr int64_t kMaxVocab = 1 << 24;
constexpr int64_t kMaxPositions = 1 << 20;

// One JSON object of the folder, with errors that name it.
class ConfigFile {
 public:
  ConfigFile(std::string path, Value value) : path_(std::move(path)), value_(std::move(value)) {}

  const Value& value() const { return value_; }
  const std::string& path() const { return path_; }

  // The integer `key`, or `fallback` when it is absent; without a fallback it must be there.
  Result<size_t> Size(std::string_view key, int64_t low, int64_t high,
                      std::optional<int64_t> fallback = std::nullopt) const {
    const Value* found = value_.Find(key);
    if (found == nullptr || found->is_null()) {
      if (fallback.has_value()) return static_cast<size_t>(*fallback);
      return InvalidArgumentError(path_, ": '", key, "' is missing");
    }
    if (!found->is_int()) {
      return InvalidArgumentError(path_, ": '", key, "' is a ", found->type_name(),
                                  ", not an integer");
    }
    if (found->as_int() < low || found->as_int() > high) {
      return InvalidArgumentError(path_, ": '", key, "' ", found->as_int(), " is not between ", low,
                                  " and ", high);
    }
    return static_cast<size_t>(found->as_int());
  }

  Result<bool> Bool(std::string_view key) const {
    Result<bool> found = value_.GetBool(key, false);
    if (!found.ok()) return found.status().WithContext(path_);
    return found;
  }

  Result<std::string> String(std::string_view key, std::string_view fallback) const {
    Result<std::string> found = value_.GetString(key, fallback);
    if (!found.ok()) return found.status().WithContext(path_);
    return found;
  }

 private:
  std::string path_;
  Value value_;
};

// Reads a JSON file and adds its bytes to `source_bytes`.
Result<Value> ReadJson(const std::string& path, std::string& source_bytes) {
  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxConfigBytes));
  source_bytes += StrCat(std::filesystem::path(path).filename().string(), '\n', text.size(), '\n');
  source_bytes += text;
  Result<Value> value = ParseJson(text);
  if (!value.ok()) return value.status().WithContext(path);
  return value;
}

Result<ConfigFile> ReadObject(const std::string& path, std::string& source_bytes) {
  RAG_ASSIGN_OR_RETURN(Value value, ReadJson(path, source_bytes));
  if (!value.is_object()) {
    return InvalidArgumentError(path, ": a JSON ", value.type_name(), ", not an object");
  }
  return ConfigFile(path, std::move(value));
}

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

std::string Join(const std::string& folder, std::string_view name) {
  return (std::filesystem::path(folder) / name).string();
}

// A folder named by modules.json: below the model's own.
Result<std::string> ModuleFolder(const std::string& folder, const ConfigFile& module) {
  RAG_ASSIGN_OR_RETURN(const std::string relative, module.String("path", ""));
  const std::filesystem::path path(relative);
  const bool climbs = std::find(path.begin(), path.end(), "..") != path.end();
  if (path.is_absolute() || climbs) {
    return InvalidArgumentError(module.path(), ": path '", relative, "' leaves the model's folder");
  }
  return relative.empty() ? folder : Join(folder, relative);
}

struct Modules {
  std::string transformer;             // folder
  std::optional<std::string> pooling;  // folder
  bool normalize = false;
};

Result<Modules> ReadModules(const std::string& folder, std::string& source_bytes) {
  Modules modules{.transformer = folder, .pooling = std::nullopt};
  const std::string path = Join(folder, "modules.json");
  if (!Exists(path)) {
    if (Exists(Join(folder, "1_Pooling/config.json"))) modules.pooling = Join(folder, "1_Pooling");
    return modules;
  }
  RAG_ASSIGN_OR_RETURN(Value value, ReadJson(path, source_bytes));
  if (!value.is_array()) {
    return InvalidArgumentError(path, ": a JSON ", value.type_name(), ", not an array of modules");
  }
  for (const Value& entry : value.as_array()) {
    const ConfigFile module(path, entry);
    RAG_ASSIGN_OR_RETURN(const std::string type, module.String("type", ""));
    // "sentence_transformers.models.Pooling"; the package in front changed over the versions.
    const std::string name = type.substr(type.rfind('.') + 1);
    if (name == "Transformer") {
      RAG_ASSIGN_OR_RETURN(modules.transformer, ModuleFolder(folder, module));
    } else if (name == "Pooling") {
      RAG_ASSIGN_OR_RETURN(modules.pooling, ModuleFolder(folder, module));
    } else if (name == "Normalize") {
      modules.normalize = true;
    } else {
      return UnimplementedError(path, ": module '", type,
                                "' is not known; known are Transformer, Pooling and Normalize");
    }
  }
  return modules;
}

Status ReadPooling(const std::string& folder, EncoderConfig& config) {
  RAG_ASSIGN_OR_RETURN(const ConfigFile file,
                       ReadObject(Join(folder, "config.json"), config.source_bytes));
  constexpr std::pair<std::string_view, Pooling> kModes[] = {
      {"pooling_mode_mean_tokens", Pooling::kMean},
      {"pooling_mode_cls_token", Pooling::kCls},
      {"pooling_mode_max_tokens", Pooling::kMax},
  };
  constexpr std::string_view kUnknownModes[] = {
      "pooling_mode_mean_sqrt_len_tokens",
      "pooling_mode_weightedmean_tokens",
      "pooling_mode_lasttoken",
  };
  for (const std::string_view mode : kUnknownModes) {
    RAG_ASSIGN_OR_RETURN(const bool wanted, file.Bool(mode));
    if (wanted) return UnimplementedError(file.path(), ": '", mode, "' is not known");
  }
  int chosen = 0;
  for (const auto& [key, pooling] : kModes) {
    RAG_ASSIGN_OR_RETURN(const bool wanted, file.Bool(key));
    if (!wanted) continue;
    config.pooling = pooling;
    ++chosen;
  }
  if (chosen == 0) {
    RAG_ASSIGN_OR_RETURN(const std::string mode, file.String("pooling_mode", ""));
    if (mode == "mean" || mode == "cls" || mode == "max") {
      config.pooling = mode == "mean"  ? Pooling::kMean
                       : mode == "cls" ? Pooling::kCls
                                       : Pooling::kMax;
      chosen = 1;
    } else if (!mode.empty()) {
      return UnimplementedError(file.path(), ": pooling_mode '", mode,
                                "' is not known; known are mean, cls and max");
    }
  }
  if (file.value().Find("include_prompt") != nullptr) {
    RAG_ASSIGN_OR_RETURN(config.pool_prompt, file.Bool("include_prompt"));
  }
  if (chosen != 1) {
    return UnimplementedError(
        file.path(), ": ", chosen,
        " of the mean, cls and max pooling modes are on; exactly one must be");
  }
  RAG_ASSIGN_OR_RETURN(const size_t dim, file.Size("word_embedding_dimension", 1, kMaxHidden,
                                                   static_cast<int64_t>(config.hidden)));
  if (dim != config.hidden) {
    return InvalidArgumentError(file.path(), ": 'word_embedding_dimension' ", dim,
                                " differs from the model's hidden size ", config.hidden);
  }
  return OkStatus();
}

Result<Activation> ParseActivation(const std::string& path, const std::string& name) {
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") {
    return Activation::kGeluTanh;
  }
  if (name == "relu") return Activation::kRelu;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  return UnimplementedError(path, ": activation '", name,
                            "' is not known; known are gelu, gelu_new, relu and silu");
}

Status ReadModel(const ConfigFile& file, EncoderConfig& config) {
  RAG_ASSIGN_OR_RETURN(config.model_type, file.String("model_type", ""));
  const std::string& type = config.model_type;
  if (type == "bert") {
    config.family = EncoderFamily::kBert;
  } else if (type == "distilbert") {
    config.family = EncoderFamily::kDistilBert;
  } else if (type == "roberta" || type == "xlm-roberta" || type == "camembert") {
    config.family = EncoderFamily::kRoberta;
  } else {
    return UnimplementedError(
        file.path(), ": model_type '", type,
        "' is not known; known are bert, distilbert, roberta, xlm-roberta and camembert");
  }
  RAG_ASSIGN_OR_RETURN(const std::string position_type,
                       file.String("position_embedding_type", "absolute"));
  if (position_type != "absolute") {
    return UnimplementedError(file.path(), ": position_embedding_type '", position_type,
                              "' is not known; known is absolute");
  }
  const bool distil = config.family == EncoderFamily::kDistilBert;
  RAG_ASSIGN_OR_RETURN(config.hidden, file.Size(distil ? "dim" : "hidden_size", 1, kMaxHidden));
  RAG_ASSIGN_OR_RETURN(config.layers,
                       file.Size(distil ? "n_layers" : "num_hidden_layers", 1, kMaxLayers));
  RAG_ASSIGN_OR_RETURN(config.heads,
                       file.Size(distil ? "n_heads" : "num_attention_heads", 1, kMaxHidden));
  if (config.hidden % config.heads != 0) {
    return InvalidArgumentError(file.path(), ": hidden size ", config.hidden,
                                " is no multiple of the ", config.heads, " heads");
  }
  RAG_ASSIGN_OR_RETURN(config.intermediate,
                       file.Size(distil ? "hidden_dim" : "intermediate_size", 1, kMaxHidden * 4));
  RAG_ASSIGN_OR_RETURN(config.vocab, file.Size("vocab_size", 1, kMaxVocab));
  RAG_ASSIGN_OR_RETURN(config.positions,
                       file.Size("max_position_embeddings", 1, kMaxPositions, 512));
  if (!distil) {
    RAG_ASSIGN_OR_RETURN(config.type_vocab, file.Size("type_vocab_size", 0, kMaxHidden, 2));
    Result<double> epsilon = file.value().GetDouble("layer_norm_eps", 1e-12);
    if (!epsilon.ok()) return epsilon.status().WithContext(file.path());
    if (!(*epsilon >= 0.0 && *epsilon <= 1.0)) {
      return InvalidArgumentError(file.path(), ": 'layer_norm_eps' ", *epsilon,
                                  " is not between 0 and 1");
    }
    config.layer_norm_epsilon = static_cast<float>(*epsilon);
  }
  if (config.family == EncoderFamily::kRoberta) {
    RAG_ASSIGN_OR_RETURN(const size_t padding_id, file.Size("pad_token_id", 0, kMaxPositions, 1));
    config.first_position = padding_id + 1;
    if (config.first_position >= config.positions) {
      return InvalidArgumentError(file.path(), ": 'pad_token_id' ", padding_id,
                                  " leaves no position of 'max_position_embeddings' ",
                                  config.positions);
    }
  }
  RAG_ASSIGN_OR_RETURN(const std::string activation,
                       file.String(distil ? "activation" : "hidden_act", "gelu"));
  RAG_ASSIGN_OR_RETURN(config.activation, ParseActivation(file.path(), activation));
  return OkStatus();
}

// The longest text: what sentence-transformers says, else the tokenizer's and the model's limits.
Status ReadMaxTokens(EncoderConfig& config) {
  const size_t limit = config.positions - config.first_position;
  config.max_tokens = limit;
  for (const std::string_view name :
       {"sentence_bert_config.json", "sentence_roberta_config.json",
        "sentence_distilbert_config.json", "sentence_camembert_config.json",
        "sentence_xlm-roberta_config.json"}) {
    const std::string path = Join(config.folder, name);
    if (!Exists(path)) continue;
    RAG_ASSIGN_OR_RETURN(const ConfigFile file, ReadObject(path, config.source_bytes));
    RAG_ASSIGN_OR_RETURN(config.lower_case, file.Bool("do_lower_case"));
    RAG_ASSIGN_OR_RETURN(const size_t wanted, file.Size("max_seq_length", 1, kMaxPositions, 0));
    if (wanted != 0) {
      config.max_tokens = std::min(wanted, limit);
      return OkStatus();
    }
    break;
  }
  const std::string path = Join(config.folder, "tokenizer_config.json");
  if (!Exists(path)) return OkStatus();
  RAG_ASSIGN_OR_RETURN(const ConfigFile file, ReadObject(path, config.source_bytes));
  // Writers put 1e30 for "no limit".
  Result<double> length = file.value().GetDouble("model_max_length", 1e30);
  if (!length.ok()) return length.status().WithContext(path);
  if (*length < 1.0) {
    return InvalidArgumentError(path, ": 'model_max_length' ", *length, " is less than 1");
  }
  if (*length < static_cast<double>(limit)) config.max_tokens = static_cast<size_t>(*length);
  return OkStatus();
}

Status ReadPrompts(const std::string& folder, EncoderConfig& config) {
  const std::string path = Join(folder, "config_sentence_transformers.json");
  if (!Exists(path)) return OkStatus();
  std::string unhashed;
  RAG_ASSIGN_OR_RETURN(const ConfigFile file, ReadObject(path, unhashed));
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
    if (prompt == nullptr || prompt->empty()) continue;
    config.prompts[static_cast<size_t>(role)] = *prompt;
    config.source_bytes +=
        StrCat("prompt ", TextRoleName(role), '\n', prompt->size(), '\n', *prompt);
  }
  return OkStatus();
}

}  // namespace

Result<EncoderConfig> ReadEncoderConfig(const std::string& folder) {
  EncoderConfig config;
  RAG_ASSIGN_OR_RETURN(const Modules modules, ReadModules(folder, config.source_bytes));
  config.folder = modules.transformer;
  config.normalize = modules.normalize;
  RAG_ASSIGN_OR_RETURN(const ConfigFile file,
                       ReadObject(Join(config.folder, "config.json"), config.source_bytes));
  RAG_RETURN_IF_ERROR(ReadModel(file, config));
  RAG_RETURN_IF_ERROR(ReadMaxTokens(config));
  if (modules.pooling.has_value()) RAG_RETURN_IF_ERROR(ReadPooling(*modules.pooling, config));
  RAG_RETURN_IF_ERROR(ReadPrompts(folder, config));
  return config;
}

}  // namespace rag
