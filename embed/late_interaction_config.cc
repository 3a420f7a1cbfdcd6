#include "embed/late_interaction_config.h"

#include <algorithm>
#include <utility>

#include "embed/encoder_config.h"

namespace rag {
namespace {

constexpr const char* kSettingsFile = "config_sentence_transformers.json";
constexpr size_t kMaxSkipped = 4'096;
// ASCII's punctuation, which both libraries leave out unless told otherwise.
constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

bool IsStanfords(const ConfigFile& file) {
  const Value* names = file.value().Find("architectures");
  return names != nullptr && names->is_array() && !names->as_array().empty() &&
         names->as_array()[0].is_string() && names->as_array()[0].as_string() == "HF_ColBERT";
}

bool IsPyLates(const ConfigFile& file) {
  const Result<std::string> type = file.String("model_type", "");
  return file.Has("query_length") || file.Has("query_prefix") || (type.ok() && *type == "ColBERT");
}

std::vector<std::string> Punctuation() {
  std::vector<std::string> words;
  for (const char c : kPunctuation) words.emplace_back(1, c);
  return words;
}

Status ReadSkipped(const ConfigFile& file, LateInteractionConfig& config) {
  const Value* words = file.value().Find("skiplist_words");
  if (words == nullptr || words->is_null()) return OkStatus();
  if (!words->is_array() || words->as_array().size() > kMaxSkipped) {
    return InvalidArgumentError(file.path(), ": 'skiplist_words' is not an array of at most ",
                                kMaxSkipped, " words");
  }
  config.skipped.clear();
  for (const Value& word : words->as_array()) {
    if (!word.is_string()) {
      return InvalidArgumentError(file.path(), ": 'skiplist_words' has a ", word.type_name(),
                                  " among its words");
    }
    config.skipped.push_back(word.as_string());
  }
  return OkStatus();
}

// PyLate's own settings and defaults.
Status ReadPyLates(const ConfigFile& file, LateInteractionConfig& config) {
  RAG_ASSIGN_OR_RETURN(config.query_prefix, file.String("query_prefix", "[Q] "));
  RAG_ASSIGN_OR_RETURN(config.document_prefix, file.String("document_prefix", "[D] "));
  RAG_ASSIGN_OR_RETURN(config.query_tokens, file.Size("query_length", 3, kMaxPositions, 32));
  RAG_ASSIGN_OR_RETURN(config.document_tokens, file.Size("document_length", 3, kMaxPositions, 180));
  RAG_ASSIGN_OR_RETURN(config.expand_query, file.Bool("do_query_expansion", true));
  RAG_ASSIGN_OR_RETURN(config.see_expansion, file.Bool("attend_to_expansion_tokens", false));
  return ReadSkipped(file, config);
}

// Stanford's, which are those of the training run.
Status ReadStanfords(const ConfigFile& file, LateInteractionConfig& config) {
  RAG_ASSIGN_OR_RETURN(config.query_prefix, file.String("query_token_id", "[unused0]"));
  RAG_ASSIGN_OR_RETURN(config.document_prefix, file.String("doc_token_id", "[unused1]"));
  RAG_ASSIGN_OR_RETURN(config.query_tokens, file.Size("query_maxlen", 3, kMaxPositions, 32));
  RAG_ASSIGN_OR_RETURN(config.document_tokens, file.Size("doc_maxlen", 3, kMaxPositions, 180));
  RAG_ASSIGN_OR_RETURN(config.see_expansion, file.Bool("attend_to_mask_tokens", false));
  RAG_ASSIGN_OR_RETURN(const bool skips, file.Bool("mask_punctuation", true));
  if (!skips) config.skipped.clear();
  return OkStatus();
}

Status TakeDense(const std::vector<VectorStep>& steps, LateInteractionConfig& config) {
  RAG_RETURN_IF_ERROR(DimBehind(steps, config.model.hidden).status());
  for (const VectorStep& step : steps) {
    // PyLate takes the dense modules of a folder and no others.
    if (step.kind == VectorStep::Kind::kDense) config.dense.push_back(step.dense);
  }
  return OkStatus();
}

Status ReadMaskToken(LateInteractionConfig& config) {
  const std::string path = JoinPath(config.folder, "tokenizer_config.json");
  if (!FileExists(path)) return OkStatus();
  std::string unhashed;
  RAG_ASSIGN_OR_RETURN(const ConfigFile file, ReadConfigFile(path, unhashed));
  const Value* token = file.value().Find("mask_token");
  if (token != nullptr && token->is_object()) token = token->Find("content");
  if (token != nullptr && token->is_string()) config.mask_token = token->as_string();
  return OkStatus();
}

}  // namespace

bool IsLateInteraction(const std::string& folder) {
  std::string unhashed;
  const std::string settings = JoinPath(folder, kSettingsFile);
  if (FileExists(settings)) {
    const Result<ConfigFile> file = ReadConfigFile(settings, unhashed);
    if (file.ok() && IsPyLates(*file)) return true;
  }
  const Result<ConfigFile> file = ReadConfigFile(JoinPath(folder, "config.json"), unhashed);
  return file.ok() && IsStanfords(*file);
}

Result<LateInteractionConfig> ReadLateInteractionConfig(const std::string& folder) {
  LateInteractionConfig config;
  RAG_ASSIGN_OR_RETURN(const Modules modules, ReadModules(folder, config.source_bytes));
  config.folder = modules.transformer;
  RAG_ASSIGN_OR_RETURN(const ConfigFile file,
                       ReadConfigFile(JoinPath(config.folder, "config.json"), config.source_bytes));
  RAG_ASSIGN_OR_RETURN(config.model, ReadTransformerConfig(file));
  RAG_ASSIGN_OR_RETURN(
      const TextLimits limits,
      ReadTextLimits(config.folder, config.model.max_sequence, config.source_bytes));
  config.lower_case = limits.lower_case;
  config.skipped = Punctuation();
  const bool stanfords = IsStanfords(file);
  const std::string path = JoinPath(folder, stanfords ? "artifact.metadata" : kSettingsFile);
  ConfigFile settings(path, Value(Value::Object()));
  if (FileExists(path)) {
    RAG_ASSIGN_OR_RETURN(settings, ReadConfigFile(path, config.source_bytes));
  }
  RAG_RETURN_IF_ERROR(stanfords ? ReadStanfords(settings, config) : ReadPyLates(settings, config));
  RAG_RETURN_IF_ERROR(TakeDense(modules.steps, config));
  if (config.dense.empty() && !stanfords) {
    return InvalidArgumentError(JoinPath(folder, "modules.json"),
                                ": no Dense module gives the token vectors");
  }
  if (config.query_tokens > config.model.max_sequence) {
    return InvalidArgumentError(path, ": queries of ", config.query_tokens,
                                " tokens are longer than the network's ",
                                config.model.max_sequence);
  }
  if (!config.model.local.empty() && config.expand_query &&
      config.query_tokens > config.model.window) {
    return UnsupportedError(path, ": queries of ", config.query_tokens,
                            " tokens do not see their beginning through a window of ",
                            config.model.window);
  }
  config.document_tokens = std::min(config.document_tokens, config.model.max_sequence);
  RAG_RETURN_IF_ERROR(ReadMaskToken(config));
  return config;
}

}  // namespace rag
