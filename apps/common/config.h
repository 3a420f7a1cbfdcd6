// Settings of the programs: flags over RAG_* variables over a TOML file over defaults.
//
//   Settings settings = DefaultSettings();
//   Status loaded = LoadSettings(ConfigFlag(argc, argv), settings);  // file, then environment
//   …bind the flags to the fields of `settings` and parse them (only given flags write)…
//   if (!loaded.ok()) …                        // after parsing, so that --help always works
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag {

// Each field is a key of the file and a variable; DescribeSettings lists them. A key of the file is
// written in the table named by its struct: `tokens` of [chunk].
struct Settings {
  std::string db;                         // RAG_DB
  std::string models;                     // RAG_MODELS; "": DefaultModelsFolder()
  std::string encoder = kDefaultEncoder;  // RAG_ENCODER; a name, a folder, or "none"
  uint64_t truncate_dim = 0;              // RAG_TRUNCATE_DIM; elements kept of a vector; 0: all
  std::string query_prompt;               // RAG_QUERY_PROMPT; before a query; "": the model's own
  std::string document_prompt;            // RAG_DOCUMENT_PROMPT
  std::string precision = "f32";          // RAG_PRECISION; of encoder and reranker
  std::string sparse;                     // RAG_SPARSE; a name or a folder; "": none
  std::string reranker;                   // RAG_RERANKER; a name or a folder; "": none
  std::string classifier;                 // RAG_CLASSIFIER; a name or a folder; "": none
  std::string reader;                     // RAG_READER; likewise; of answers without a decoder
  std::string llm;                        // RAG_LLM; a name or a GGUF file; "": none
  std::vector<std::string> lora;          // RAG_LORA; NAME=PATH[:SCALE], of the decoder's adapters
  uint64_t context_tokens = 0;            // RAG_CONTEXT_TOKENS; 0: the decoder's own
  uint64_t parallel = 8;                  // RAG_PARALLEL; generations in one batch
  std::string kv_type = "f32";            // RAG_KV_TYPE; how keys and values are kept
  uint64_t draft_tokens = 0;              // RAG_DRAFT_TOKENS; guessed at once; 0: none
  std::string draft_model;                // RAG_DRAFT_MODEL; a name or a GGUF file; "": none
  double draft_min_probability = 0.5;     // RAG_DRAFT_MIN_PROBABILITY
  uint64_t kv_bytes = 0;                  // RAG_KV_BYTES; of all of them; 0: as memory allows
  std::string kv_cache;                   // RAG_KV_CACHE; a file that keeps them; "": none
  bool mapped_weights = false;            // RAG_MAPPED_WEIGHTS; left in the decoder's file
  uint64_t threads = 0;                   // RAG_THREADS; 0: every processor
  std::string isa;                        // RAG_ISA
  std::string device;                     // RAG_DEVICE
  std::string collection = "default";     // RAG_COLLECTION
  std::string log_level = "info";         // RAG_LOG_LEVEL; debug, info, warning or error
  std::string log_format = "text";        // RAG_LOG_FORMAT; text or json
  // RAG_SPARSE_CACHE_BYTES; lists of sparse vectors that are kept in memory
  uint64_t sparse_cache_bytes = uint64_t{256} << 20;

  struct Chunk {
    std::string strategy = "structure";  // RAG_CHUNK_STRATEGY
    uint64_t tokens = 256;               // RAG_CHUNK_TOKENS
    uint64_t overlap = 32;               // RAG_CHUNK_OVERLAP
  } chunk;

  struct Index {
    std::string kind = "hnsw:pca8";  // RAG_INDEX_KIND
    bool token_vectors = false;      // RAG_INDEX_TOKEN_VECTORS; by the reranker
    uint64_t m = 16;                 // RAG_INDEX_M
    uint64_t ef_construction = 200;  // RAG_INDEX_EF_CONSTRUCTION
    uint64_t ef_search = 128;        // RAG_INDEX_EF_SEARCH
  } index;

  struct Search {
    std::string mode = "hybrid";  // RAG_SEARCH_MODE
    uint64_t k = 10;              // RAG_SEARCH_K
    uint64_t rerank_top = 50;     // RAG_SEARCH_RERANK_TOP; of a search with a reranker
  } search;

  struct Ask {
    std::string strategy = "plain";  // RAG_ASK_STRATEGY
    uint64_t k = 6;                  // RAG_ASK_K; sources of an answer
    uint64_t max_tokens = 256;       // RAG_ASK_MAX_TOKENS
    double temperature = 0.0;        // RAG_ASK_TEMPERATURE
    std::string template_path;       // RAG_ASK_TEMPLATE; key `template`
    std::string examples_path;       // RAG_ASK_EXAMPLES; key `examples`
    std::string system;              // RAG_ASK_SYSTEM
  } ask;

  // Of the daemon alone.
  struct Server {
    std::string listen = "127.0.0.1:7432";  // RAG_LISTEN; HOST:PORT, or "none"
    std::string socket;                     // RAG_SOCKET; path of a Unix domain socket; "": none
    std::string api_key;                    // RAG_API_KEY; in no file: see api_key_file
    std::string api_key_file;               // RAG_API_KEY_FILE
    bool insecure_no_auth = false;          // RAG_INSECURE_NO_AUTH
    bool read_only = false;                 // RAG_READ_ONLY; beside a process that writes the store
    double refresh_seconds = 5;             // RAG_REFRESH_SECONDS; with read_only; 0: never
    std::string backups;                    // RAG_BACKUPS; folder that /v1/admin/backup fills
    uint64_t max_body_bytes = 32u << 20;    // RAG_MAX_BODY_BYTES
    uint64_t max_connections = 256;         // RAG_MAX_CONNECTIONS
    uint64_t workers = 4;                   // RAG_WORKERS; requests worked on at one time
    uint64_t queue = 64;                    // RAG_QUEUE; requests that may wait for a worker
    double read_timeout_seconds = 30;       // RAG_READ_TIMEOUT_SECONDS; of one whole request
    double write_timeout_seconds = 30;      // RAG_WRITE_TIMEOUT_SECONDS; of one write
    double idle_timeout_seconds = 75;       // RAG_IDLE_TIMEOUT_SECONDS; between requests
    double drain_seconds = 20;              // RAG_DRAIN_SECONDS
  } server;
};

// The defaults, with `db` under $XDG_DATA_HOME/rag (or ~/.local/share/rag).
Settings DefaultSettings();

// The file read when none is named: $XDG_CONFIG_HOME/rag/config.toml (or ~/.config/…).
std::string DefaultConfigPath();

// The value of --config FILE or --config=FILE among the arguments (of the last one given), else
// $RAG_CONFIG, else "". To be called before the flags are parsed, since they lie over the file.
std::string ConfigFlag(int argc, const char* const* argv);

// Lays the file and then the environment over `settings`. `config_path` "": DefaultConfigPath(),
// which may be absent; a named file may not. In the file, "~/" is the home folder and a relative
// path lies beside the file. Errors leave `settings` as it was: invalid_argument
// "config.toml:12: …" for broken TOML, an unknown key (with what is known), a wrong type or a value
// out of range, and "RAG_CHUNK_TOKENS: …" for a variable; not_found; io_error.
Status LoadSettings(const std::string& config_path, Settings& settings);

// Every key with its variable, type, range and meaning, one a line: for --help and the docs.
std::string DescribeSettings();

// What the engine takes. Errors: invalid_argument naming the setting (a flag can be wrong too).
RuntimeOptions ToRuntimeOptions(const Settings& settings, LogSink* log);
Result<EngineOptions> ToEngineOptions(const Settings& settings);
// "NAME=PATH", "PATH" (called as its last part, without ".gguf"), each with ":SCALE" at its end or
// without. Errors: invalid_argument naming the text.
Result<std::vector<AdapterOptions>> ParseAdapters(const std::vector<std::string>& lora);
Result<CollectionOptions> ToCollectionOptions(const Settings& settings);

}  // namespace rag
