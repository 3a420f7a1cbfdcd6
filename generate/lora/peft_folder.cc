#include "generate/lora/peft_folder.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <filesystem>
#include <optional>

#include "generate/folder/family.h"
#include "generate/folder/folder_tensors.h"
#include "generate/folder/json_keys.h"
#include "generate/lora/lora_pairs.h"
#include "lib/base/file.h"
#include "lib/model/model_file.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxConfigBytes = size_t{4} << 20;

// What of PEFT changes more than W by B A: each must be absent, null, false or empty.
constexpr std::string_view kUnknown[] = {
    "use_dora",          "modules_to_save",   "lora_bias",
    "target_parameters", "layer_replication", "trainable_token_indices",
    "use_qalora",        "use_bdlora",        "alora_invocation_tokens",
    "arrow_config",      "kasa_config",       "velora_config",
    "monteclora_config"};
// Ways to begin training that leave the model's own weights as they were; others (PiSSA, OLoRA,
// CorDA, LoftQ) change them.
constexpr std::string_view kBeginnings[] = {"gaussian", "eva", "orthogonal", "mica"};

bool IsUnset(const Value& value) {
  return value.is_null() || value == Value(false) ||
         (value.is_array() && value.as_array().empty()) ||
         (value.is_object() && value.as_object().empty());
}

// Keeps what the views of a LoraFile point to.
struct Storage {
  explicit Storage(TensorFile opened) : file(std::move(opened)) {}
  TensorFile file;
  std::deque<std::vector<std::byte>> changed;
};

// PEFT's adapter_config.json.
class PeftConfig {
 public:
  // `json` outlives this.
  static Result<PeftConfig> Read(const Value& json, const std::string& where) {
    PeftConfig config(json, where);
    RAG_RETURN_IF_ERROR(config.CheckKnown());
    RAG_ASSIGN_OR_RETURN(config.rank_stabilized_, config.keys_.Flag({"use_rslora"}, false));
    RAG_ASSIGN_OR_RETURN(config.alpha_, config.keys_.Positive({"lora_alpha"}));
    if (config.alpha_ > kMaxLoraAlpha) {
      return config.keys_.Wrong({"lora_alpha"}, StrCat("at most ", kMaxLoraAlpha));
    }
    RAG_ASSIGN_OR_RETURN(config.rank_, config.keys_.Size({"r"}, kMaxLoraRank));
    RAG_RETURN_IF_ERROR(config.ReadPattern("alpha_pattern", kMaxLoraAlpha, config.alphas_));
    RAG_RETURN_IF_ERROR(config.ReadPattern("rank_pattern", kMaxLoraRank, config.ranks_));
    RAG_RETURN_IF_ERROR(config.ReadTargets());
    return config;
  }

  // alpha / rank, or its square root, for a module of the model.
  double Scale(std::string_view module, size_t rank) const {
    const double alpha = Find(alphas_, module).value_or(alpha_);
    const double n = static_cast<double>(rank);
    return alpha / (rank_stabilized_ ? std::sqrt(n) : n);
  }

  Status CheckRank(std::string_view module, size_t rank) const {
    const double expected = Find(ranks_, module).value_or(static_cast<double>(rank_));
    if (static_cast<double>(rank) == expected) return OkStatus();
    return InvalidArgumentError(keys_.where(), ": module '", module, "' should be of rank ",
                                expected, ", and its tensors are of rank ", rank);
  }

  // Every name in target_modules is to be one of the modules.
  Status CheckTargets(const std::vector<std::string>& modules) const {
    for (const std::string& target : targets_) {
      const auto is_it = [&](const std::string& module) { return EndsWith(module, target); };
      if (std::any_of(modules.begin(), modules.end(), is_it)) continue;
      return InvalidArgumentError(keys_.where(), ": key 'target_modules' names '", target,
                                  "', for which there are no tensors");
    }
    return OkStatus();
  }

 private:
  using Pattern = std::vector<std::pair<std::string, double>>;

  PeftConfig(const Value& json, const std::string& where) : json_(json), keys_(json, where) {}

  // Whether the module is `name` or ends with its parts.
  static bool EndsWith(std::string_view module, std::string_view name) {
    if (!module.ends_with(name)) return false;
    return module.size() == name.size() || module[module.size() - name.size() - 1] == '.';
  }

  Status CheckKnown() const {
    RAG_ASSIGN_OR_RETURN(const std::string type, keys_.Text({"peft_type"}, ""));
    if (type != "LORA") {
      return UnsupportedError(keys_.where(), ": key 'peft_type' is '", type, "', not 'LORA'");
    }
    RAG_ASSIGN_OR_RETURN(const std::string task, keys_.Text({"task_type"}, "CAUSAL_LM"));
    if (task != "CAUSAL_LM") {
      return UnsupportedError(keys_.where(), ": key 'task_type' is '", task, "', not 'CAUSAL_LM'");
    }
    RAG_ASSIGN_OR_RETURN(const std::string bias, keys_.Text({"bias"}, "none"));
    if (bias != "none") {
      return UnsupportedError(keys_.where(), ": key 'bias' is '", bias, "', not 'none'");
    }
    for (const std::string_view name : kUnknown) {
      const Value* value = json_.Find(name);
      if (value == nullptr || IsUnset(*value)) continue;
      return UnsupportedError(keys_.where(), ": key '", name, "' is set, which is not known");
    }
    const Value* beginning = keys_.Find({"init_lora_weights"});
    if (beginning == nullptr || beginning->is_bool()) return OkStatus();
    RAG_ASSIGN_OR_RETURN(const std::string name, keys_.Text({"init_lora_weights"}, ""));
    if (std::find(std::begin(kBeginnings), std::end(kBeginnings), name) == std::end(kBeginnings)) {
      return UnsupportedError(keys_.where(), ": key 'init_lora_weights' is '", name,
                              "', which may have changed the model's own weights");
    }
    return OkStatus();
  }

  // Names of modules or their last parts, with a number each.
  Status ReadPattern(std::string_view key, double max, Pattern& out) {
    const Value* value = keys_.Find({key});
    if (value == nullptr) return OkStatus();
    if (!value->is_object()) return keys_.Wrong({key}, "an object");
    const JsonKeys numbers(*value, StrCat(keys_.where(), ": ", key));
    for (const auto& [name, number] : value->as_object()) {
      const std::string_view plain = std::string_view(name).substr(name.starts_with('^') ? 1 : 0);
      constexpr std::string_view kLetters =
          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
      if (plain.empty() || plain.find_first_not_of(kLetters) != std::string_view::npos) {
        return UnsupportedError(numbers.where(), ": key '", name,
                                "' is a regular expression, not a module's name");
      }
      RAG_ASSIGN_OR_RETURN(const double found, numbers.Positive({name}));
      if (found > max) return numbers.Wrong({name}, StrCat("at most ", max));
      out.emplace_back(plain, found);
    }
    return OkStatus();
  }

  // A text is a regular expression, or "all-linear": nothing can be missing then.
  Status ReadTargets() {
    const Value* value = keys_.Find({"target_modules"});
    if (value == nullptr || value->is_string()) return OkStatus();
    if (!value->is_array()) return keys_.Wrong({"target_modules"}, "a list of names");
    for (const Value& item : value->as_array()) {
      if (!item.is_string()) return keys_.Wrong({"target_modules"}, "a list of names");
      targets_.push_back(item.as_string());
    }
    return OkStatus();
  }

  static std::optional<double> Find(const Pattern& pattern, std::string_view module) {
    for (const auto& [name, number] : pattern) {
      if (EndsWith(module, name)) return number;
    }
    return std::nullopt;
  }

  const Value& json_;
  const JsonKeys keys_;
  bool rank_stabilized_ = false;
  double alpha_ = 0;
  int64_t rank_ = 0;
  Pattern alphas_;
  Pattern ranks_;
  std::vector<std::string> targets_;
};

// "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight": the module and which half it is.
struct PeftName {
  std::string module;
  LoraPairs::Half half;
};
std::optional<PeftName> ParseName(std::string_view name) {
  constexpr std::string_view kPrefix = "base_model.model.";
  constexpr std::string_view kSuffixes[] = {".lora_A.weight", ".lora_B.weight"};
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  const bool is_a = name.ends_with(kSuffixes[0]);
  if (!is_a && !name.ends_with(kSuffixes[1])) return std::nullopt;
  name.remove_suffix(kSuffixes[0].size());
  return PeftName{std::string(name), is_a ? LoraPairs::Half::kA : LoraPairs::Half::kB};
}

// Of GPT-2's transposed matrices A and B are not: they are those of W as GGUF has it.
TensorChange ChangeOfRows(TensorChange change) {
  return change == TensorChange::kTranspose ? TensorChange::kNone : change;
}

Result<TensorFile> OpenTensors(const fs::path& folder) {
  const fs::path path = folder / "adapter_model.safetensors";
  const fs::path pickled = folder / "adapter_model.bin";
  std::error_code ignored;
  const bool is_pickled = !fs::exists(path, ignored) && fs::exists(pickled, ignored);
  return TensorFile::Open((is_pickled ? pickled : path).string());
}

}  // namespace

Result<LoraFile> OpenPeftFolder(const std::string& folder, const DecoderConfig& model) {
  const Family* family = FindFamilyOfArchitecture(model.architecture);
  if (family == nullptr) {
    return UnsupportedError(folder, ": adapters in this form are not known for architecture '",
                            model.architecture, "'");
  }
  const std::string config_path = (fs::path(folder) / "adapter_config.json").string();
  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(config_path, kMaxConfigBytes));
  auto json = ParseJson(text, {.max_bytes = kMaxConfigBytes, .max_depth = 32});
  if (!json.ok()) return std::move(json).status().WithContext(config_path);
  if (!json->is_object()) return InvalidArgumentError(config_path, ": is no object");
  RAG_ASSIGN_OR_RETURN(const PeftConfig config, PeftConfig::Read(*json, config_path));
  RAG_ASSIGN_OR_RETURN(TensorFile file, OpenTensors(folder));
  const auto storage = std::make_shared<Storage>(std::move(file));
  TensorChanger changer(model.heads, model.kv_heads, storage->changed);
  LoraPairs pairs(folder, model.experts);
  std::vector<std::string> modules;
  std::map<std::string, std::string> module_of;  // by the weight's name in GGUF
  for (const std::string& name : storage->file.TensorNames()) {
    // Of an adapted output matrix PEFT saves a copy of the model's own too.
    if (name.ends_with(".base_layer.weight")) continue;
    const auto parsed = ParseName(name);
    if (!parsed) {
      return UnsupportedError(folder, ": tensor '", name,
                              "' is not part of a LoRA adapter of linear modules");
    }
    const auto to = TranslateName(*family, parsed->module + ".weight");
    if (!to) {
      return InvalidArgumentError(folder, ": tensor '", name, "' is for a module that a model of ",
                                  "architecture '", model.architecture, "' does not have");
    }
    TensorView tensor = *storage->file.Find(name);
    if (parsed->half == LoraPairs::Half::kB) {
      auto changed = changer.Change(ChangeOfRows(to->change), tensor);
      if (!changed.ok()) {
        return std::move(changed).status().WithContext(StrCat(folder, ": tensor '", name, "'"));
      }
      tensor = std::move(changed).value();
    }
    RAG_RETURN_IF_ERROR(pairs.Add(to->gguf, parsed->half, name, tensor));
    module_of[to->gguf] = parsed->module;
    modules.push_back(parsed->module);
  }
  LoraFile out = {.path = folder, .tensors = {}, .storage = storage};
  RAG_ASSIGN_OR_RETURN(out.tensors, pairs.Take());
  for (LoraTensor& tensor : out.tensors) {
    const std::string& module = module_of[tensor.weight];
    RAG_RETURN_IF_ERROR(config.CheckRank(module, tensor.rank()));
    tensor.scale = config.Scale(module, tensor.rank());
  }
  RAG_RETURN_IF_ERROR(config.CheckTargets(modules));
  return out;
}

}  // namespace rag
