#include "apps/common/config.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <variant>

#include "apps/common/settings_table.h"
#include "lib/base/file.h"
#include "lib/base/user_folders.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace rag {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxConfigBytes = size_t{1} << 20;

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string Expand(const std::string& path, const fs::path& base) {
  if (path.empty()) return path;
  if (path.starts_with("~/")) return (HomeFolder() / path.substr(2)).string();
  if (fs::path(path).is_relative() && !base.empty()) {
    return (base / path).lexically_normal().string();
  }
  return path;
}

std::string ChoiceList(std::string_view choices) {
  std::string list;
  for (const std::string& choice : SplitChoices(choices)) {
    if (!choice.empty()) list += StrCat(list.empty() ? "" : ", ", choice);
  }
  return list;
}

// The path of "NAME=PATH".
std::string ExpandNamed(const std::string& value, const fs::path& base) {
  const size_t equals = value.find('=');
  const size_t begin = equals == std::string::npos ? 0 : equals + 1;
  return value.substr(0, begin) + Expand(value.substr(begin), base);
}

Status StoreText(const Setting::Slot& slot, const std::string& value, const fs::path& base) {
  if (value.find('\0') != std::string::npos) return InvalidArgumentError("has a NUL byte");
  if (const auto* text = std::get_if<Setting::Text>(&slot)) {
    *text->field = value;
  } else if (const auto* path = std::get_if<Setting::Path>(&slot)) {
    *path->field = Expand(value, base);
  } else if (const auto* model = std::get_if<Setting::Model>(&slot)) {
    *model->field = value.find('/') == std::string::npos ? value : Expand(value, base);
  } else if (const auto* named = std::get_if<Setting::NamedPaths>(&slot)) {
    named->field->clear();
    for (const std::string& item : SplitChoices(value, ',')) {
      named->field->push_back(ExpandNamed(item, base));
    }
  } else if (const auto* choice = std::get_if<Setting::Choice>(&slot)) {
    const std::vector<std::string> choices = SplitChoices(choice->choices);
    if (std::find(choices.begin(), choices.end(), value) == choices.end()) {
      return InvalidArgumentError("'", value, "' is not one of ", ChoiceList(choice->choices));
    }
    *choice->field = value;
  }
  return OkStatus();
}

Status StoreCount(const Setting::Count& count, int64_t value) {
  if (value < 0 || static_cast<uint64_t>(value) < count.min ||
      static_cast<uint64_t>(value) > count.max) {
    return InvalidArgumentError(value, " is not between ", count.min, " and ", count.max);
  }
  *count.field = static_cast<uint64_t>(value);
  return OkStatus();
}

Status StoreNumber(const Setting::Number& number, double value) {
  if (!(value >= number.min && value <= number.max)) {
    return InvalidArgumentError(value, " is not between ", number.min, " and ", number.max);
  }
  *number.field = value;
  return OkStatus();
}

std::string_view TypeName(const Setting::Slot& slot) {
  if (std::holds_alternative<Setting::Count>(slot)) return "an integer";
  if (std::holds_alternative<Setting::Number>(slot)) return "a number";
  if (std::holds_alternative<Setting::Flag>(slot)) return "true or false";
  if (std::holds_alternative<Setting::NamedPaths>(slot)) return "an array of strings";
  return "a string";
}

Status StoreVariable(const Setting& setting, const std::string& value) {
  const auto parse = [&](auto& out) {
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
    return error == std::errc() && end == value.data() + value.size();
  };
  if (const auto* count = std::get_if<Setting::Count>(&setting.slot)) {
    int64_t parsed = 0;
    if (parse(parsed)) return StoreCount(*count, parsed);
  } else if (const auto* number = std::get_if<Setting::Number>(&setting.slot)) {
    double parsed = 0;
    if (parse(parsed)) return StoreNumber(*number, parsed);
  } else if (const auto* flag = std::get_if<Setting::Flag>(&setting.slot)) {
    if (value == "1" || value == "true" || value == "0" || value == "false") {
      *flag->field = value == "1" || value == "true";
      return OkStatus();
    }
  } else {
    return StoreText(setting.slot, value, {});
  }
  return InvalidArgumentError("'", value, "' is not ", TypeName(setting.slot));
}

Status StoreNode(const Setting& setting, const toml::node& node, const fs::path& base) {
  if (const auto* count = std::get_if<Setting::Count>(&setting.slot)) {
    if (node.is_integer()) return StoreCount(*count, node.as_integer()->get());
  } else if (const auto* number = std::get_if<Setting::Number>(&setting.slot)) {
    if (node.is_integer()) {
      return StoreNumber(*number, static_cast<double>(node.as_integer()->get()));
    }
    if (node.is_floating_point()) return StoreNumber(*number, node.as_floating_point()->get());
  } else if (const auto* flag = std::get_if<Setting::Flag>(&setting.slot)) {
    if (node.is_boolean()) {
      *flag->field = node.as_boolean()->get();
      return OkStatus();
    }
  } else if (const auto* named = std::get_if<Setting::NamedPaths>(&setting.slot)) {
    std::vector<std::string> items;
    const toml::array* array = node.as_array();
    for (size_t i = 0; array != nullptr && i < array->size(); ++i) {
      const auto* item = array->get(i)->as_string();
      if (item == nullptr) return InvalidArgumentError("must be ", TypeName(setting.slot));
      items.push_back(ExpandNamed(item->get(), base));
    }
    if (array != nullptr) {
      *named->field = std::move(items);
      return OkStatus();
    }
  } else if (node.is_string()) {
    return StoreText(setting.slot, node.as_string()->get(), base);
  }
  return InvalidArgumentError("must be ", TypeName(setting.slot));
}

bool IsTable(const std::vector<Setting>& settings, std::string_view prefix) {
  for (const Setting& setting : settings) {
    if (setting.key.size() > prefix.size() && setting.key.starts_with(prefix) &&
        setting.key[prefix.size()] == '.') {
      return true;
    }
  }
  return false;
}

// "a, b, c": the keys that may stand in the table `prefix` ("" for the root).
std::string KnownKeys(const std::vector<Setting>& settings, std::string_view prefix) {
  std::string known;
  for (const Setting& setting : settings) {
    std::string_view key = setting.key;
    if (key.empty()) continue;
    if (!prefix.empty()) {
      if (!key.starts_with(prefix) || key.size() <= prefix.size() || key[prefix.size()] != '.') {
        continue;
      }
      key.remove_prefix(prefix.size() + 1);
    } else if (key.find('.') != std::string_view::npos) {
      continue;
    }
    if (!known.empty()) known += ", ";
    known += key;
  }
  return known;
}

// Tables nest two levels: the root's own tables hold settings only.
Status StoreTable(const std::vector<Setting>& settings, const toml::table& table,
                  std::string_view prefix, const std::string& file, const fs::path& base) {
  for (const auto& [key, node] : table) {
    const std::string name =
        prefix.empty() ? std::string(key.str()) : StrCat(prefix, ".", key.str());
    const std::string place = StrCat(file, ":", key.source().begin.line, ": '", name, "'");
    if (prefix.empty() && IsTable(settings, name)) {
      if (!node.is_table()) return InvalidArgumentError(place, " must be a table");
      RAG_RETURN_IF_ERROR(StoreTable(settings, *node.as_table(), name, file, base));
      continue;
    }
    const Setting* found = nullptr;
    for (const Setting& setting : settings) {
      if (!setting.key.empty() && setting.key == name) found = &setting;
    }
    // A quoted key may have a dot of its own, which names no table.
    if (found == nullptr || key.str().find('.') != std::string_view::npos) {
      return InvalidArgumentError(place,
                                  " is not a setting; known here: ", KnownKeys(settings, prefix));
    }
    if (Status stored = StoreNode(*found, node, base); !stored.ok()) {
      return InvalidArgumentError(place, " ", stored.message());
    }
  }
  return OkStatus();
}

Status StoreFile(const std::vector<Setting>& settings, const std::string& path) {
  RAG_ASSIGN_OR_RETURN(const std::string content, ReadFile(path, kMaxConfigBytes));
  const toml::parse_result parsed = toml::parse(content, path);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return InvalidArgumentError(path, ":", error.source().begin.line, ": ", error.description());
  }
  std::error_code ignored;
  const fs::path base = fs::absolute(path, ignored).parent_path();
  return StoreTable(settings, parsed.table(), "", path, base);
}

}  // namespace

Settings DefaultSettings() {
  Settings settings;
  settings.db = (UserFolder("XDG_DATA_HOME", ".local/share") / "rag" / "default.db").string();
  return settings;
}

std::string DefaultConfigPath() {
  return (UserFolder("XDG_CONFIG_HOME", ".config") / "rag" / "config.toml").string();
}

std::string ConfigFlag(int argc, const char* const* argv) {
  std::string path = Variable("RAG_CONFIG");
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--") break;
    if (argument == "--config" && i + 1 < argc) {
      path = argv[++i];
    } else if (argument.starts_with("--config=")) {
      path = argument.substr(std::string_view("--config=").size());
    }
  }
  return path;
}

Status LoadSettings(const std::string& config_path, Settings& settings) {
  Settings loaded = settings;
  const std::vector<Setting> bound = BindSettings(loaded);
  const std::string path = config_path.empty() ? DefaultConfigPath() : config_path;
  std::error_code error;
  if (!config_path.empty() || fs::exists(path, error)) RAG_RETURN_IF_ERROR(StoreFile(bound, path));
  for (const Setting& setting : bound) {
    const char* value = std::getenv(setting.variable);
    // An empty variable counts as one that is not set, as users expect of `RAG_LLM= rag …`.
    if (value == nullptr || *value == '\0') continue;
    RAG_RETURN_IF_ERROR(StoreVariable(setting, value).WithContext(setting.variable));
  }
  settings = std::move(loaded);
  return OkStatus();
}

std::string DescribeSettings() {
  Settings settings;
  std::string out;
  for (const Setting& setting : BindSettings(settings)) {
    out += StrCat(setting.key.empty() ? "(no key)" : setting.key, "  ", setting.variable, "  ",
                  TypeName(setting.slot));
    if (const auto* count = std::get_if<Setting::Count>(&setting.slot)) {
      out += StrCat(" ", count->min, "..", count->max);
    } else if (const auto* choice = std::get_if<Setting::Choice>(&setting.slot)) {
      out += StrCat(": ", ChoiceList(choice->choices));
    }
    out += StrCat("  ", setting.meaning, "\n");
  }
  return out;
}

RuntimeOptions ToRuntimeOptions(const Settings& settings, LogSink* log) {
  RuntimeOptions options;
  options.threads = static_cast<int>(settings.threads);
  options.isa = settings.isa;
  options.device = settings.device;
  options.log = log;
  return options;
}

Result<std::vector<AdapterOptions>> ParseAdapters(const std::vector<std::string>& lora) {
  std::vector<AdapterOptions> adapters;
  for (const std::string& text : lora) {
    AdapterOptions& adapter = adapters.emplace_back();
    const size_t equals = text.find('=');
    adapter.path = equals == std::string::npos ? text : text.substr(equals + 1);
    if (const size_t colon = adapter.path.rfind(':'); colon != std::string::npos) {
      const char* const begin = adapter.path.data() + colon + 1;
      const char* const end = adapter.path.data() + adapter.path.size();
      const auto [rest, error] = std::from_chars(begin, end, adapter.scale);
      if (error == std::errc() && rest == end) {
        adapter.path.resize(colon);
      } else {
        adapter.scale = 1;  // the colon is of the path
      }
    }
    fs::path path(adapter.path);
    if (!path.has_filename()) path = path.parent_path();
    if (path.extension() == ".gguf") path.replace_extension();
    adapter.name = equals == std::string::npos ? path.filename().string() : text.substr(0, equals);
    if (adapter.path.empty() || adapter.name.empty()) {
      return InvalidArgumentError("lora: '", text, "' is not NAME=PATH or NAME=PATH:SCALE");
    }
  }
  return adapters;
}

Result<EngineOptions> ToEngineOptions(const Settings& settings) {
  EngineOptions options;
  options.db_path = settings.db;
  options.models_folder = settings.models;
  options.encoder = settings.encoder;
  options.encoding.truncate_dim = settings.truncate_dim;
  std::string& query = options.encoding.prompts[static_cast<size_t>(TextRole::kQuery)];
  query = settings.query_prompt;
  std::string& document = options.encoding.prompts[static_cast<size_t>(TextRole::kDocument)];
  document = settings.document_prompt;
  RAG_ASSIGN_OR_RETURN(options.encoding.precision, ParsePrecision(settings.precision));
  options.sparse = settings.sparse;
  options.store.sparse_cache_bytes = settings.sparse_cache_bytes;
  options.reranker = settings.reranker;
  options.classifier = settings.classifier;
  options.reader = settings.reader;
  options.llm = settings.llm;
  RAG_ASSIGN_OR_RETURN(options.decoder.adapters, ParseAdapters(settings.lora));
  options.decoder.context_tokens = settings.context_tokens;
  options.decoder.max_sequences = settings.parallel;
  options.decoder.draft_tokens = settings.draft_tokens;
  options.decoder.draft_model = settings.draft_model;
  options.decoder.draft_min_probability = settings.draft_min_probability;
  RAG_ASSIGN_OR_RETURN(options.decoder.cache_type, ParseKvType(settings.kv_type));
  options.decoder.cache_bytes = settings.kv_bytes;
  options.decoder.cache_path = settings.kv_cache;
  options.decoder.mapped_weights = settings.mapped_weights;
  return options;
}

Result<CollectionOptions> ToCollectionOptions(const Settings& settings) {
  CollectionOptions options;
  RAG_ASSIGN_OR_RETURN(options.chunk.strategy, ParseChunkStrategy(settings.chunk.strategy));
  options.chunk.chunk_tokens = settings.chunk.tokens;
  options.chunk.overlap_tokens = settings.chunk.overlap;
  if (settings.chunk.overlap * 2 >= settings.chunk.tokens) {
    return InvalidArgumentError("chunk.overlap ", settings.chunk.overlap,
                                " is not less than half of chunk.tokens ", settings.chunk.tokens);
  }
  options.token_vectors = settings.index.token_vectors;
  VectorIndexOptions& vectors = options.vectors;
  vectors.hnsw.m = settings.index.m;
  vectors.hnsw.ef_construction = settings.index.ef_construction;
  vectors.hnsw.ef_search = settings.index.ef_search;
  const Result<std::optional<TuneGoal>> goal = ParseTuneGoal(settings.index.kind);
  if (!goal.ok()) return InvalidArgumentError("index.kind: ", goal.status().message());
  options.goal = *goal;
  if (options.goal.has_value()) return options;
  vectors.hnsw.codes = CodeKind::kNone;  // kind names them
  const Result<VectorIndexOptions> parsed = ParseIndexSpec(settings.index.kind, vectors);
  if (!parsed.ok()) {
    return InvalidArgumentError("index.kind: ", parsed.status().message());
  }
  vectors = *parsed;
  return options;
}

}  // namespace rag
