#include "embed/modules.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace rag {
namespace {

// More than any published model has; a bound on what a hostile file makes us do.
constexpr size_t kMaxModules = 16;

// A folder named by modules.json: below the model's own.
Result<std::string> ModuleFolder(const std::string& folder, const ConfigFile& module) {
  RAG_ASSIGN_OR_RETURN(const std::string relative, module.String("path", ""));
  const std::filesystem::path path(relative);
  const bool climbs = std::find(path.begin(), path.end(), "..") != path.end();
  if (path.is_absolute() || climbs) {
    return InvalidArgumentError(module.path(), ": path '", relative, "' leaves the model's folder");
  }
  return relative.empty() ? folder : JoinPath(folder, relative);
}

// "torch.nn.modules.activation.ReLU" or "torch.nn.ReLU". Other packages' names are refused: the
// reference does not run them and takes Tanh instead.
Result<EncoderActivation> ParseDenseActivation(const std::string& path, std::string_view name) {
  constexpr std::pair<std::string_view, EncoderActivation> kNames[] = {
      {"ELU", EncoderActivation::kElu},           {"GELU", EncoderActivation::kGelu},
      {"Identity", EncoderActivation::kIdentity}, {"LeakyReLU", EncoderActivation::kLeakyRelu},
      {"Mish", EncoderActivation::kMish},         {"ReLU", EncoderActivation::kRelu},
      {"SiLU", EncoderActivation::kSilu},         {"Sigmoid", EncoderActivation::kSigmoid},
      {"Softplus", EncoderActivation::kSoftplus}, {"Tanh", EncoderActivation::kTanh},
  };
  for (const auto& [known, activation] : kNames) {
    const std::string_view module = known == "Identity" ? "linear" : "activation";
    if (name == StrCat("torch.nn.", known) ||
        name == StrCat("torch.nn.modules.", module, ".", known)) {
      return activation;
    }
  }
  return UnsupportedError(path, ": activation '", name,
                          "' is not known; known are torch.nn's ELU, GELU, Identity, LeakyReLU, "
                          "Mish, ReLU, SiLU, Sigmoid, Softplus and Tanh");
}

Result<DenseConfig> ReadDense(const std::string& folder, std::string& source_bytes) {
  RAG_ASSIGN_OR_RETURN(const ConfigFile file,
                       ReadConfigFile(JoinPath(folder, "config.json"), source_bytes));
  DenseConfig dense;
  dense.folder = folder;
  RAG_ASSIGN_OR_RETURN(dense.in, file.Size("in_features", 1, kMaxHidden));
  RAG_ASSIGN_OR_RETURN(dense.out, file.Size("out_features", 1, kMaxHidden));
  RAG_ASSIGN_OR_RETURN(dense.bias, file.Bool("bias", true));
  RAG_ASSIGN_OR_RETURN(dense.residual, file.Bool("use_residual"));
  RAG_ASSIGN_OR_RETURN(const std::string activation,
                       file.String("activation_function", "torch.nn.modules.activation.Tanh"));
  RAG_ASSIGN_OR_RETURN(dense.activation, ParseDenseActivation(file.path(), activation));
  for (const std::string_view key : {"module_input_name", "module_output_name"}) {
    RAG_ASSIGN_OR_RETURN(const std::string name, file.String(key, "sentence_embedding"));
    if (name != "sentence_embedding") {
      return UnsupportedError(file.path(), ": ", key, " '", name,
                              "' is not known; known is sentence_embedding");
    }
  }
  return dense;
}

constexpr std::pair<std::string_view, Pooling> kLegacyModes[] = {
    // In the order in which they are written one after another.
    {"pooling_mode_cls_token", Pooling::kCls},
    {"pooling_mode_max_tokens", Pooling::kMax},
    {"pooling_mode_mean_tokens", Pooling::kMean},
    {"pooling_mode_mean_sqrt_len_tokens", Pooling::kMeanSqrtLength},
    {"pooling_mode_weightedmean_tokens", Pooling::kWeightedMean},
    {"pooling_mode_lasttoken", Pooling::kLastToken},
};

Status AddMode(const ConfigFile& file, const Value& name, std::vector<Pooling>& modes) {
  const std::string_view text = name.is_string() ? std::string_view(name.as_string()) : "";
  for (const Pooling pooling :
       {Pooling::kCls, Pooling::kMax, Pooling::kMean, Pooling::kMeanSqrtLength,
        Pooling::kWeightedMean, Pooling::kLastToken}) {
    if (text == PoolingName(pooling)) {
      modes.push_back(pooling);
      return OkStatus();
    }
  }
  return UnsupportedError(file.path(), ": pooling_mode ", ToJson(name),
                          " is not known; known are cls, max, mean, mean_sqrt_len_tokens, "
                          "weightedmean and lasttoken");
}

// "sentence_transformers.models.Pooling"; the package in front changed over the versions.
std::string_view LastName(std::string_view type) { return type.substr(type.rfind('.') + 1); }

// The module `type` in `folder`, which `path` names.
Status AddModule(const std::string& path, const std::string& type, const std::string& folder,
                 Modules& modules, std::string& source_bytes) {
  const std::string_view name = LastName(type);
  if (name == "Transformer" || name == "MLMTransformer" || name == "CLIPModel") {
    modules.transformer = folder;
  } else if (name == "Pooling") {
    if (!modules.steps.empty()) {
      return UnsupportedError(path, ": module '", type,
                              "' behind others that change the vector is not known");
    }
    modules.pooling = folder;
  } else if (name == "SpladePooling") {
    modules.splade = folder;
  } else if (name == "LogitScore") {
    modules.logit_score = folder;
  } else if (name == "Normalize") {
    modules.steps.push_back({.kind = VectorStep::Kind::kNormalize, .dense = {}, .folder = ""});
  } else if (name == "LayerNorm") {
    modules.steps.push_back({.kind = VectorStep::Kind::kLayerNorm, .dense = {}, .folder = folder});
  } else if (name == "Dense") {
    RAG_ASSIGN_OR_RETURN(DenseConfig dense, ReadDense(folder, source_bytes));
    modules.steps.push_back(
        {.kind = VectorStep::Kind::kDense, .dense = std::move(dense), .folder = ""});
  } else if (name != "Dropout") {
    return UnsupportedError(path, ": module '", type,
                            "' is not known; known are Transformer, CLIPModel, Pooling, Dense, "
                            "LayerNorm, Dropout, Normalize and Router");
  }
  return OkStatus();
}

// A route of a Router: its modules' names, which are folders below it.
Result<std::vector<std::string>> ReadRoute(const ConfigFile& structure, std::string_view route) {
  const Value* names = structure.value().Find(route);
  if (names == nullptr || !names->is_array() || names->as_array().size() > kMaxModules) {
    return InvalidArgumentError(structure.path(), ": '", route, "' is no array of at most ",
                                kMaxModules, " names of modules");
  }
  std::vector<std::string> route_names;
  for (const Value& name : names->as_array()) {
    if (!name.is_string()) {
      return InvalidArgumentError(structure.path(), ": '", route, "' holds ", ToJson(name),
                                  ", not a module's name");
    }
    route_names.push_back(name.as_string());
  }
  return route_names;
}

Result<ConfigFile> ReadPart(const ConfigFile& file, std::string_view key) {
  const Value* part = file.value().Find(key);
  if (part == nullptr || !part->is_object()) {
    return InvalidArgumentError(file.path(), ": '", key, "' is no object");
  }
  return ConfigFile(StrCat(file.path(), ": ", key), *part);
}

// Routes and rules of a file's own would not be taken.
Status CheckRoutes(const ConfigFile& file, const ConfigFile& structure) {
  for (const auto& [route, names] : structure.value().as_object()) {
    if (route == "query" || route == "document") continue;
    return UnsupportedError(structure.path(), ": a route '", route,
                            "' is not known; known are query and document");
  }
  if (!file.Has("parameters")) return OkStatus();
  RAG_ASSIGN_OR_RETURN(const ConfigFile parameters, ReadPart(file, "parameters"));
  if (!parameters.Has("route_mappings")) return OkStatus();
  RAG_ASSIGN_OR_RETURN(const ConfigFile rules, ReadPart(parameters, "route_mappings"));
  if (rules.value().as_object().size() == 0) return OkStatus();
  return UnsupportedError(rules.path(), ": rules for routes are not known");
}

// Modules for queries and others for documents: the queries' may be a weight for each token.
Status AddRouter(const std::string& folder, Modules& modules, std::string& source_bytes) {
  const std::string own = JoinPath(folder, "router_config.json");
  RAG_ASSIGN_OR_RETURN(
      const ConfigFile file,
      ReadConfigFile(FileExists(own) ? own : JoinPath(folder, "config.json"), source_bytes));
  RAG_ASSIGN_OR_RETURN(const ConfigFile types, ReadPart(file, "types"));
  RAG_ASSIGN_OR_RETURN(const ConfigFile structure, ReadPart(file, "structure"));
  RAG_ASSIGN_OR_RETURN(const std::vector<std::string> documents, ReadRoute(structure, "document"));
  RAG_ASSIGN_OR_RETURN(const std::vector<std::string> queries, ReadRoute(structure, "query"));
  RAG_RETURN_IF_ERROR(CheckRoutes(file, structure));
  const auto folder_of = [&](const std::string& name) {
    return ModuleFolder(folder, ConfigFile(types.path(), Value(Value::Object{{"path", name}})));
  };
  for (const std::string& name : documents) {
    RAG_ASSIGN_OR_RETURN(const std::string type, types.String(name, ""));
    RAG_ASSIGN_OR_RETURN(const std::string its_folder, folder_of(name));
    RAG_RETURN_IF_ERROR(AddModule(types.path(), type, its_folder, modules, source_bytes));
  }
  if (queries == documents) return OkStatus();
  RAG_ASSIGN_OR_RETURN(const std::string type,
                       types.String(queries.empty() ? "" : queries.front(), ""));
  if (queries.size() != 1 || LastName(type) != "SparseStaticEmbedding") {
    return UnsupportedError(structure.path(),
                            ": 'query' takes other modules than 'document', of "
                            "which SparseStaticEmbedding by itself is known");
  }
  if (!modules.splade.has_value()) {
    return UnsupportedError(structure.path(),
                            ": 'query' is a weight for each token, and "
                            "'document' makes no sparse vectors");
  }
  RAG_ASSIGN_OR_RETURN(modules.query_weights, folder_of(queries.front()));
  return OkStatus();
}

}  // namespace

Result<Modules> ReadModules(const std::string& folder, std::string& source_bytes) {
  Modules modules;
  modules.transformer = folder;
  const std::string path = JoinPath(folder, "modules.json");
  if (!FileExists(path)) return modules;
  RAG_ASSIGN_OR_RETURN(const Value value, ReadJsonFile(path, source_bytes));
  if (!value.is_array()) {
    return InvalidArgumentError(path, ": a JSON ", value.type_name(), ", not an array of modules");
  }
  if (value.as_array().size() > kMaxModules) {
    return InvalidArgumentError(path, ": ", value.as_array().size(), " modules, more than ",
                                kMaxModules);
  }
  for (const Value& entry : value.as_array()) {
    const ConfigFile module(path, entry);
    RAG_ASSIGN_OR_RETURN(const std::string type, module.String("type", ""));
    RAG_ASSIGN_OR_RETURN(const std::string its_folder, ModuleFolder(folder, module));
    if (LastName(type) == "Router" || LastName(type) == "Asym") {
      RAG_RETURN_IF_ERROR(AddRouter(its_folder, modules, source_bytes));
    } else {
      RAG_RETURN_IF_ERROR(AddModule(path, type, its_folder, modules, source_bytes));
    }
  }
  return modules;
}

Result<size_t> DimBehind(std::span<const VectorStep> steps, size_t dim) {
  for (const VectorStep& step : steps) {
    if (step.kind != VectorStep::Kind::kDense) continue;
    if (step.dense.in != dim) {
      return InvalidArgumentError(JoinPath(step.dense.folder, "config.json"), ": 'in_features' ",
                                  step.dense.in, " differs from the ", dim,
                                  " elements that come in");
    }
    dim = step.dense.out;
  }
  return dim;
}

Result<PoolingConfig> ReadPooling(const std::string& folder, size_t hidden,
                                  std::string& source_bytes) {
  RAG_ASSIGN_OR_RETURN(const ConfigFile file,
                       ReadConfigFile(JoinPath(folder, "config.json"), source_bytes));
  PoolingConfig config;
  config.modes.clear();
  if (const Value* mode = file.value().Find("pooling_mode"); mode != nullptr && !mode->is_null()) {
    if (mode->is_array()) {
      for (const Value& name : mode->as_array()) {
        RAG_RETURN_IF_ERROR(AddMode(file, name, config.modes));
      }
    } else {
      RAG_RETURN_IF_ERROR(AddMode(file, *mode, config.modes));
    }
  } else {
    for (const auto& [key, pooling] : kLegacyModes) {
      RAG_ASSIGN_OR_RETURN(const bool wanted, file.Bool(key));
      if (wanted) config.modes.push_back(pooling);
    }
    if (config.modes.empty()) config.modes.push_back(Pooling::kMean);
  }
  if (config.modes.empty() || config.modes.size() > std::size(kLegacyModes)) {
    return InvalidArgumentError(file.path(), ": 'pooling_mode' names ", config.modes.size(),
                                " modes, not 1 to ", std::size(kLegacyModes));
  }
  RAG_ASSIGN_OR_RETURN(config.pool_prompt, file.Bool("include_prompt", true));
  for (const std::string_view key : {"word_embedding_dimension", "embedding_dimension"}) {
    RAG_ASSIGN_OR_RETURN(const size_t dim,
                         file.Size(key, 1, kMaxHidden, static_cast<int64_t>(hidden)));
    if (dim != hidden) {
      return InvalidArgumentError(file.path(), ": '", key, "' ", dim,
                                  " differs from the model's hidden size ", hidden);
    }
  }
  return config;
}

}  // namespace rag
