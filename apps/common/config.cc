#include "apps/common/config.h"

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <variant>

#include "lib/base/file.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace rag {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxConfigBytes = size_t{1} << 20;

struct Text {
  std::string* field;
};
struct Path {
  std::string* field;
};
// A name of the models folder, or a path, which has a slash in it.
struct Model {
  std::string* field;
};
struct Choice {
  std::string* field;
  std::string_view choices;  // "a|b|c"
};
struct Count {
  uint64_t* field;
  uint64_t min;
  uint64_t max;
};
struct Number {
  double* field;
  double min;
  double max;
};
struct Flag {
  bool* field;
};
using Slot = std::variant<Text, Path, Model, Choice, Count, Number, Flag>;

struct Setting {
  std::string_view key;  // "chunk.tokens"; "" for one that only the environment may give
  const char* variable;
  Slot slot;
  std::string_view meaning;
};

std::vector<Setting> Bind(Settings& s) {
  constexpr uint64_t kBig = uint64_t{1} << 40;
  constexpr double kDay = 86'400;
  return {
      {"db", "RAG_DB", Path{&s.db}, "folder of the store"},
      {"models", "RAG_MODELS", Path{&s.models}, "folder of the models"},
      {"encoder", "RAG_ENCODER", Model{&s.encoder}, "encoder: a name, a folder, or none"},
      {"truncate_dim", "RAG_TRUNCATE_DIM", Count{&s.truncate_dim, 0, 1 << 16},
       "first elements kept of each vector, of a Matryoshka model; 0: all"},
      {"query_prompt", "RAG_QUERY_PROMPT", Text{&s.query_prompt},
       "written before a query instead of the encoder's own prompt"},
      {"document_prompt", "RAG_DOCUMENT_PROMPT", Text{&s.document_prompt},
       "written before a document's passages"},
      {"precision", "RAG_PRECISION", Choice{&s.precision, "f32|bf16|int8"},
       "of the encoder's and the reranker's products"},
      {"reranker", "RAG_RERANKER", Model{&s.reranker},
       "cross-encoder that reranks passages: a name or a folder"},
      {"llm", "RAG_LLM", Model{&s.llm}, "decoder: a name or a GGUF file"},
      {"context_tokens", "RAG_CONTEXT_TOKENS", Count{&s.context_tokens, 0, 1 << 24},
       "context of the decoder; 0: its own"},
      {"threads", "RAG_THREADS", Count{&s.threads, 0, 4096}, "0: every processor"},
      {"isa", "RAG_ISA", Choice{&s.isa, "scalar|avx2|avx512|"}, "instruction set"},
      {"device", "RAG_DEVICE", Choice{&s.device, "auto|cpu|cuda|"}, "device"},
      {"collection", "RAG_COLLECTION", Text{&s.collection}, "collection when none is named"},
      {"log_level", "RAG_LOG_LEVEL", Choice{&s.log_level, "debug|info|warning|error"}, "log level"},
      {"log_format", "RAG_LOG_FORMAT", Choice{&s.log_format, "text|json"}, "log format"},
      {"chunk.strategy", "RAG_CHUNK_STRATEGY",
       Choice{&s.chunk.strategy, "fixed|sentence|recursive|structure"}, "how documents are cut"},
      {"chunk.tokens", "RAG_CHUNK_TOKENS", Count{&s.chunk.tokens, 8, 8192}, "tokens of a chunk"},
      {"chunk.overlap", "RAG_CHUNK_OVERLAP", Count{&s.chunk.overlap, 0, 4095},
       "tokens that a chunk shares with the one before"},
      {"index.kind", "RAG_INDEX_KIND", Text{&s.index.kind},
       "vector index, as hnsw, flat, hnsw:pca8 or auto:recall=0.95,memory=512mb"},
      {"index.m", "RAG_INDEX_M", Count{&s.index.m, 2, 128}, "HNSW links a node"},
      {"index.ef_construction", "RAG_INDEX_EF_CONSTRUCTION",
       Count{&s.index.ef_construction, 1, 65'535}, "HNSW width while building"},
      {"index.ef_search", "RAG_INDEX_EF_SEARCH", Count{&s.index.ef_search, 1, 65'535},
       "HNSW width while searching"},
      {"search.mode", "RAG_SEARCH_MODE", Choice{&s.search.mode, "dense|lexical|hybrid"},
       "how passages are found"},
      {"search.k", "RAG_SEARCH_K", Count{&s.search.k, 1, 10'000}, "passages of a search"},
      {"search.rerank_top", "RAG_SEARCH_RERANK_TOP", Count{&s.search.rerank_top, 1, 1'000},
       "passages that are reranked when there is a reranker"},
      {"ask.strategy", "RAG_ASK_STRATEGY", Choice{&s.ask.strategy, "plain|few-shot|cot"},
       "how the prompt is made"},
      {"ask.k", "RAG_ASK_K", Count{&s.ask.k, 1, 10'000}, "sources of an answer"},
      {"ask.max_tokens", "RAG_ASK_MAX_TOKENS", Count{&s.ask.max_tokens, 1, 1 << 24},
       "tokens of an answer"},
      {"ask.temperature", "RAG_ASK_TEMPERATURE", Number{&s.ask.temperature, 0, 100},
       "0: always the likeliest token"},
      {"ask.template", "RAG_ASK_TEMPLATE", Path{&s.ask.template_path}, "prompt template (Jinja)"},
      {"ask.examples", "RAG_ASK_EXAMPLES", Path{&s.ask.examples_path}, "examples (JSONL)"},
      {"ask.system", "RAG_ASK_SYSTEM", Text{&s.ask.system}, "system message"},
      {"server.listen", "RAG_LISTEN", Text{&s.server.listen}, "HOST:PORT, or none"},
      {"server.socket", "RAG_SOCKET", Path{&s.server.socket}, "Unix domain socket"},
      {"", "RAG_API_KEY", Text{&s.server.api_key}, "API key"},
      {"server.api_key_file", "RAG_API_KEY_FILE", Path{&s.server.api_key_file},
       "file with the API key"},
      {"server.insecure_no_auth", "RAG_INSECURE_NO_AUTH", Flag{&s.server.insecure_no_auth},
       "listen on any address without a key"},
      {"server.backups", "RAG_BACKUPS", Path{&s.server.backups}, "folder for backups"},
      {"server.max_body_bytes", "RAG_MAX_BODY_BYTES", Count{&s.server.max_body_bytes, 1024, kBig},
       "of a request"},
      {"server.max_connections", "RAG_MAX_CONNECTIONS",
       Count{&s.server.max_connections, 1, 1'000'000}, "open at one time"},
      {"server.workers", "RAG_WORKERS", Count{&s.server.workers, 1, 1024},
       "requests worked on at one time"},
      {"server.queue", "RAG_QUEUE", Count{&s.server.queue, 0, 1'000'000},
       "requests that may wait for a worker"},
      {"server.read_timeout_seconds", "RAG_READ_TIMEOUT_SECONDS",
       Number{&s.server.read_timeout_seconds, 0.1, kDay}, "of one whole request"},
      {"server.write_timeout_seconds", "RAG_WRITE_TIMEOUT_SECONDS",
       Number{&s.server.write_timeout_seconds, 0.1, kDay}, "of one write"},
      {"server.idle_timeout_seconds", "RAG_IDLE_TIMEOUT_SECONDS",
       Number{&s.server.idle_timeout_seconds, 0.1, kDay}, "between two requests"},
      {"server.drain_seconds", "RAG_DRAIN_SECONDS", Number{&s.server.drain_seconds, 0, kDay},
       "for requests in flight when stopping"},
  };
}

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// $variable/rag/file, else ~/fallback/rag/file; the XDG specification wants relative values
// ignored.
std::string XdgPath(const char* variable, const char* fallback, const char* file) {
  fs::path base = Variable(variable);
  if (!base.is_absolute()) base = fs::path(Variable("HOME")) / fallback;
  return (base / "rag" / file).string();
}

std::string Expand(const std::string& path, const fs::path& base) {
  if (path.empty()) return path;
  if (path.starts_with("~/")) return (fs::path(Variable("HOME")) / path.substr(2)).string();
  if (fs::path(path).is_relative() && !base.empty()) {
    return (base / path).lexically_normal().string();
  }
  return path;
}

bool IsChoice(std::string_view choices, std::string_view value) {
  for (size_t begin = 0;;) {
    const size_t end = choices.find('|', begin);
    if (choices.substr(begin, end - begin) == value) return true;
    if (end == std::string_view::npos) return false;
    begin = end + 1;
  }
}

std::string ChoiceList(std::string_view choices) {
  std::string list;
  for (char c : choices.substr(0, choices.ends_with('|') ? choices.size() - 1 : choices.size())) {
    if (c == '|') {
      list += ", ";
    } else {
      list += c;
    }
  }
  return list;
}

Status StoreText(const Slot& slot, const std::string& value, const fs::path& base) {
  if (value.find('\0') != std::string::npos) return InvalidArgumentError("has a NUL byte");
  if (const Text* text = std::get_if<Text>(&slot)) {
    *text->field = value;
  } else if (const Path* path = std::get_if<Path>(&slot)) {
    *path->field = Expand(value, base);
  } else if (const Model* model = std::get_if<Model>(&slot)) {
    *model->field = value.find('/') == std::string::npos ? value : Expand(value, base);
  } else if (const Choice* choice = std::get_if<Choice>(&slot)) {
    if (!IsChoice(choice->choices, value)) {
      return InvalidArgumentError("'", value, "' is not one of ", ChoiceList(choice->choices));
    }
    *choice->field = value;
  }
  return OkStatus();
}

Status StoreCount(const Count& count, int64_t value) {
  if (value < 0 || static_cast<uint64_t>(value) < count.min ||
      static_cast<uint64_t>(value) > count.max) {
    return InvalidArgumentError(value, " is not between ", count.min, " and ", count.max);
  }
  *count.field = static_cast<uint64_t>(value);
  return OkStatus();
}

Status StoreNumber(const Number& number, double value) {
  if (!(value >= number.min && value <= number.max)) {
    return InvalidArgumentError(value, " is not between ", number.min, " and ", number.max);
  }
  *number.field = value;
  return OkStatus();
}

std::string_view TypeName(const Slot& slot) {
  if (std::holds_alternative<Count>(slot)) return "an integer";
  if (std::holds_alternative<Number>(slot)) return "a number";
  if (std::holds_alternative<Flag>(slot)) return "true or false";
  return "a string";
}

Status StoreVariable(const Setting& setting, const std::string& value) {
  const auto parse = [&](auto& out) {
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
    return error == std::errc() && end == value.data() + value.size();
  };
  if (const Count* count = std::get_if<Count>(&setting.slot)) {
    int64_t parsed = 0;
    if (parse(parsed)) return StoreCount(*count, parsed);
  } else if (const Number* number = std::get_if<Number>(&setting.slot)) {
    double parsed = 0;
    if (parse(parsed)) return StoreNumber(*number, parsed);
  } else if (const Flag* flag = std::get_if<Flag>(&setting.slot)) {
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
  if (const Count* count = std::get_if<Count>(&setting.slot)) {
    if (node.is_integer()) return StoreCount(*count, node.as_integer()->get());
  } else if (const Number* number = std::get_if<Number>(&setting.slot)) {
    if (node.is_integer()) {
      return StoreNumber(*number, static_cast<double>(node.as_integer()->get()));
    }
    if (node.is_floating_point()) return StoreNumber(*number, node.as_floating_point()->get());
  } else if (const Flag* flag = std::get_if<Flag>(&setting.slot)) {
    if (node.is_boolean()) {
      *flag->field = node.as_boolean()->get();
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
  settings.db = XdgPath("XDG_DATA_HOME", ".local/share", "default.db");
  return settings;
}

std::string DefaultConfigPath() { return XdgPath("XDG_CONFIG_HOME", ".config", "config.toml"); }

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
  const std::vector<Setting> bound = Bind(loaded);
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
  for (const Setting& setting : Bind(settings)) {
    out += StrCat(setting.key.empty() ? "(no key)" : setting.key, "  ", setting.variable, "  ",
                  TypeName(setting.slot));
    if (const Count* count = std::get_if<Count>(&setting.slot)) {
      out += StrCat(" ", count->min, "..", count->max);
    } else if (const Choice* choice = std::get_if<Choice>(&setting.slot)) {
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
  options.reranker = settings.reranker;
  options.llm = settings.llm;
  options.context_tokens = settings.context_tokens;
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
