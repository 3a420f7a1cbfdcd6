// ragd: the engine behind HTTP/1.1 on TCP and a Unix domain socket.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <optional>

#include "apps/common/config.h"
#include "apps/common/flags.h"
#include "apps/common/log.h"
#include "apps/ragd/listener.h"
#include "apps/ragd/refresher.h"
#include "apps/ragd/server.h"
#include "apps/ragd/service.h"
#include "engine/engine.h"

namespace rag {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr size_t kMaxWaitingThreads = 256;

constexpr const char* kExamples = R"(Examples:
  ragd --db notes.db                                 on 127.0.0.1:7432, this machine only
  ragd --db notes.db --socket /run/user/1000/rag.sock --listen none
  ragd --db notes.db --llm model.gguf --listen 0.0.0.0:7432 --api-key-file key.txt
  curl 127.0.0.1:7432/v1/search -d '{"query":"rotate the key","collection":"notes"}'
  curl --unix-socket /run/user/1000/rag.sock http://localhost/healthz

Settings are taken from the flags, then RAG_* variables, then the configuration file
($XDG_CONFIG_HOME/rag/config.toml), then the defaults. SIGTERM and SIGINT let requests
in flight finish; a second one ends at once. Exit codes: 0 done, 1 failed, 2 usage.)";

// How clients name a model: the folder's or the file's name, or the name it was given by.
std::string ModelName(const std::string& name_or_path) {
  std::filesystem::path path(name_or_path);
  if (!path.has_filename()) path = path.parent_path();
  return path.extension() == ".gguf" ? path.stem().string() : path.filename().string();
}

// The key of the innermost place that gives one: a flag lies over a variable, that over the file.
Result<std::string> FindKey(const Settings& settings, bool key_flag, bool file_flag) {
  const Settings::Server& server = settings.server;
  const bool file_first = file_flag && !key_flag;
  if (!server.api_key.empty() && !file_first) return server.api_key;
  if (!server.api_key_file.empty()) return ReadKeyFile(server.api_key_file);
  return server.api_key;
}

ServerOptions ToServerOptions(const Settings& settings, bool allow_remote) {
  const Settings::Server& server = settings.server;
  ServerOptions options;
  options.listen = server.listen == "none" ? "" : server.listen;
  options.socket = server.socket;
  options.allow_remote = allow_remote;
  options.max_body_bytes = server.max_body_bytes;
  options.max_connections = server.max_connections;
  options.read_timeout_seconds = server.read_timeout_seconds;
  options.write_timeout_seconds = server.write_timeout_seconds;
  options.idle_timeout_seconds = server.idle_timeout_seconds;
  options.drain_seconds = server.drain_seconds;
  options.workers = server.workers;
  options.queue = server.queue;
  options.generate_workers = (server.workers + 1) / 2;
  options.generate_queue = server.queue;
  if (!settings.llm.empty()) {
    // A generation keeps a thread waiting for it, and those whose turn has not come wait in the
    // decoder's own queue, which knows their priorities.
    const size_t waiting = std::min<size_t>(server.queue, kMaxWaitingThreads);
    options.generate_workers = std::max<size_t>(options.generate_workers, settings.parallel);
    options.generate_workers += waiting;
    options.generate_queue -= waiting;
  }
  return options;
}

// Requests name decoder and adapters in one member.
Status CheckAdapterNames(const Service& service) {
  const auto is_model = [&](std::string_view name) {
    return name == service.decoder_name || name == service.encoder_name ||
           name == service.reranker_name || name == service.sparse_name ||
           name == service.classifier_name || name == service.reader_name ||
           name == kExtractiveModel;
  };
  for (const AdapterInfo& adapter : service.adapters) {
    if (!is_model(adapter.name)) continue;
    return InvalidArgumentError("lora: adapter '", adapter.name, "' has the name of a model");
  }
  return OkStatus();
}

Status Serve(const Settings& settings, const std::string& key, AppLog& log) {
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<Runtime> runtime,
                       Runtime::Create(ToRuntimeOptions(settings, &log)));
  RAG_ASSIGN_OR_RETURN(const CollectionOptions create, ToCollectionOptions(settings));
  RAG_ASSIGN_OR_RETURN(EngineOptions engine_options, ToEngineOptions(settings));
  engine_options.store.read_only = settings.server.read_only;
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                       Engine::Open(engine_options, *runtime));
  // All at once, so that a writer cannot save one anew before it is opened.
  if (settings.server.read_only) RAG_RETURN_IF_ERROR(engine->ListCollections().status());
  Metrics metrics;
  Service service{*engine, metrics, log, settings, create};
  service.has_key = !key.empty();
  service.started_at = static_cast<int64_t>(std::time(nullptr));
  // Loaded now, so that a wrong model is told at the start and not to the first client.
  if (settings.encoder != "none") {
    RAG_ASSIGN_OR_RETURN(const EncoderInfo encoder, engine->GetEncoderInfo());
    service.encoder_name = ModelName(settings.encoder);
    service.encoder_dim = encoder.dim;
  }
  RAG_ASSIGN_OR_RETURN(const std::optional<SparseEncoderInfo> sparse,
                       engine->GetSparseEncoderInfo());
  if (sparse.has_value()) service.sparse_name = ModelName(settings.sparse);
  RAG_ASSIGN_OR_RETURN(const std::optional<RerankerInfo> reranker, engine->GetRerankerInfo());
  if (reranker.has_value()) service.reranker_name = ModelName(settings.reranker);
  RAG_ASSIGN_OR_RETURN(const std::optional<GeneratorInfo> decoder, engine->GetGeneratorInfo());
  if (decoder.has_value()) {
    service.decoder_name = ModelName(settings.llm);
    service.adapters = decoder->adapters;
  }
  RAG_ASSIGN_OR_RETURN(const std::optional<ClassifierInfo> classifier, engine->GetClassifierInfo());
  if (classifier.has_value()) {
    service.classifier_name = ModelName(settings.classifier);
    service.classifier = *classifier;
  }
  RAG_RETURN_IF_ERROR(engine->LoadReader());
  if (!settings.reader.empty()) service.reader_name = ModelName(settings.reader);
  RAG_RETURN_IF_ERROR(CheckAdapterNames(service));

  const bool open_to_all = key.empty() && settings.server.insecure_no_auth;
  Router router(Gatekeeper(key, key.empty() && !open_to_all));
  RAG_ASSIGN_OR_RETURN(
      const std::unique_ptr<Server> server,
      Server::Create(ToServerOptions(settings, !key.empty() || open_to_all), router, metrics, log));
  AddSystemRoutes(
      service, [&server] { return server->queue_length(); }, router);
  AddEmbeddingRoutes(service, router);
  AddClassifyRoutes(service, router);
  AddChatRoutes(service, router);
  AddDocumentRoutes(service, router);
  AddCollectionRoutes(service, router);
  AddRerankRoutes(service, router);
  AddQuestionRoutes(service, router);
  AddAdminRoutes(service, router);
  RAG_RETURN_IF_ERROR(server->Listen());
  log.Write(LogLevel::kInfo, "listening",
            Value::Object{{"addresses", server->addresses()},
                          {"db", settings.db},
                          {"encoder", service.encoder_name},
                          {"reranker", service.reranker_name},
                          {"decoder", service.decoder_name},
                          {"auth", key.empty() ? "none" : "key"},
                          {"device", runtime->device_name()}});
  NotifySystemd("READY=1");
  std::optional<Refresher> refresher;
  if (settings.server.read_only && settings.server.refresh_seconds > 0) {
    refresher.emplace(*engine, settings.server.refresh_seconds, log);
  }
  server->Run();
  refresher.reset();
  RAG_RETURN_IF_ERROR(engine->Close());
  log.Write(LogLevel::kInfo, "stopped");
  return OkStatus();
}

int Main(int argc, char** argv) {
  Settings settings = DefaultSettings();
  const Status loaded = LoadSettings(ConfigFlag(argc, argv), settings);
  CLI::App app{
      "The rag engine as a daemon: OpenAI-shaped endpoints, documents, search and answers."};
  app.footer(kExamples);
  app.set_version_flag("--version", "ragd " RAG_VERSION);
  std::string config;  // read by ConfigFlag already
  app.add_option("--config", config, "configuration file (TOML)");
  AddEngineFlags(app, settings);
  AddFlag(app, settings, "reranker", "--rerank");
  for (const char* const key :
       {"search.rerank_top", "index.token_vectors", "classifier", "reader", "llm", "lora",
        "context_tokens", "parallel", "draft_tokens", "draft_model", "draft_min_probability",
        "kv_type", "kv_bytes", "kv_cache", "mapped_weights", "collection", "server.listen",
        "server.socket"}) {
    AddFlag(app, settings, key);
  }
  // A string of its own: --help tells the defaults, and must not tell $RAG_API_KEY.
  std::string given_key;
  CLI::Option* key_flag =
      app.add_option("--api-key", given_key,
                     "key that requests must bear; a process list shows it, a file does not");
  CLI::Option* file_flag = AddFlag(app, settings, "server.api_key_file");
  key_flag->excludes(file_flag);
  for (const char* const key :
       {"server.insecure_no_auth", "server.read_only", "server.refresh_seconds", "server.backups",
        "server.max_body_bytes", "server.max_connections", "server.workers", "server.queue",
        "server.read_timeout_seconds", "server.write_timeout_seconds",
        "server.idle_timeout_seconds", "server.drain_seconds", "log_format"}) {
    AddFlag(app, settings, key);
  }
  RefuseNegativeCounts(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::fprintf(stderr, "ragd: %s\nRun with --help for what is known.\n",
                 DescribeParseError(app, error).c_str());
    return kUsage;
  }
  const auto fail = [](const Status& status, int code) {
    std::fprintf(stderr, "ragd: %s\n", status.message().c_str());
    return code;
  };
  if (!loaded.ok()) return fail(loaded, kUsage);
  Result<std::unique_ptr<AppLog>> log = AppLog::Create(settings.log_level, settings.log_format);
  if (!log.ok()) return fail(log.status(), kUsage);
  if (key_flag->count() > 0) {
    // As --api-key "$KEY" gives with KEY unset: it must not switch the key off.
    if (given_key.empty()) return fail(InvalidArgumentError("--api-key is empty"), kUsage);
    settings.server.api_key = given_key;
  }
  const Result<std::string> key = FindKey(settings, key_flag->count() > 0, file_flag->count() > 0);
  if (!key.ok()) return fail(key.status(), kUsage);
  settings.server.api_key.clear();  // held by the gatekeeper alone
  std::signal(SIGPIPE, SIG_IGN);
  const Status served = Serve(settings, *key, **log);
  return served.ok() ? 0 : fail(served, kFailed);
}

}  // namespace
}  // namespace rag

int main(int argc, char** argv) {
  try {
    return rag::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ragd: %s\n", error.what());
    return 1;
  }
}
